"""What each way to train a network costs and reaches: see README.md.

    python experiments/adapt/measure.py <cars> <weights> <out.csv> [--seeds 0 1 2] [--jobs 2]

Each row is one `train.py` and one `evaluate.py split=test` of its run, in processes of their own,
whose processor time and peak of resident memory the system tells (one thread each, so that other
jobs beside it hardly count). Rows that are there are not made again.
"""

import argparse
import csv
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

from carsclf.records import Predictions, Run, RunFolder

ROOT = Path(__file__).parents[2]
PROTOCOL = [
    *("data=stanford_cars", "data.protocol=fractions", "data.test_fraction=0.2"),
    *("data.split_seed=0", "data.image_size=96", "data.workers=0", "model=mobilenetv2_100"),
    *("model.channels_last=true", "trainer.precision=32-true", "look=false"),
]
EPOCHS = "trainer.max_epochs=6"
LOWER = ["optimizer.lr=0.0005", "optimizer.head_lr_factor=10", EPOCHS]  # rates.csv
ADAPT = ["mode=adapt", *LOWER]
WAYS = {
    "freeze": ["mode=freeze"],
    "partial, 4 stages frozen": ["mode=partial", "mode.boundary=4", EPOCHS],
    "biases": [*ADAPT, "mode.method=bias"],
    "scale and shift": [*ADAPT, "mode.method=scale_shift"],
    "LoRA": [*ADAPT, "mode.method=lora"],
    "LoRA, 4 stages frozen": [*ADAPT, "mode.method=lora", "mode.boundary=4", "augmentation=none"],
    "finetune": ["mode=finetune", *LOWER],
    "finetune, default rate": ["mode=finetune", EPOCHS],
}
COLUMNS = (
    *("way", "seed", "val_top1", "test_top1", "trained", "network", "seconds"),
    *("cpu_seconds", "peak_mib", "evaluation_mib", "recorded_in"),
)


def used_by(*arguments: str) -> tuple[float, float]:
    """Runs a command of the project; its process's seconds of processor, and most resident MiB."""
    child = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(arguments)}: exit status {status}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def measure(way: str, seed: int, runs: Path, given: list[str]) -> dict[str, Any]:
    """One training and its evaluation, as a row."""
    folder = runs / f"{way.replace(',', '').replace(' ', '-')}-{seed}"
    own = [f"seed={seed}", f"runs={folder.parent}", f"name={folder.name}"]
    cpu, peak = used_by("train.py", *PROTOCOL, *given, *WAYS[way], *own)
    _, without = used_by("evaluate.py", f"run={folder}", "split=test")
    files = RunFolder(folder)
    run, said = Run.read(files.run), Predictions.read(files.predictions("test"))
    return {
        "way": way,
        "seed": seed,
        "val_top1": round(run.metrics["val/top1"], 4),
        "test_top1": round(float((said.predicted == said.targets).mean()), 4),
        "trained": run.parameters["trained"],
        "network": run.parameters["network"],
        "seconds": round(run.seconds, 1),
        "cpu_seconds": round(cpu),
        "peak_mib": round(peak),
        "evaluation_mib": round(without),  # libraries, photos and a forward pass
        "recorded_in": str(run.git_commit)[:7],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("cars", "weights", "out"):
        parser.add_argument(name, type=lambda text: Path(text).resolve())
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    done = set()
    if asked.out.is_file():
        with asked.out.open() as lines:
            done = {(row["way"], int(row["seed"])) for row in csv.DictReader(lines)}
    given = [f"data.root={asked.cars}", f"model.weights={asked.weights}"]
    writing = threading.Lock()

    def one(way: str, seed: int) -> None:
        row = measure(way, seed, asked.out.parent / "runs", given)
        with writing, asked.out.open("a", newline="") as out:
            table = csv.DictWriter(out, COLUMNS)
            if not out.tell():
                table.writeheader()
            table.writerow(row)
        print(row, flush=True)

    left = [(way, seed) for seed, way in product(asked.seeds, WAYS) if (way, seed) not in done]
    with ThreadPoolExecutor(asked.jobs) as pool:
        for task in [pool.submit(one, *pair) for pair in left]:
            task.result()


if __name__ == "__main__":
    main()
