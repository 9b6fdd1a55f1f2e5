"""What each trick is worth alone, at equal training budget: see README.md.

    python experiments/tricks/measure.py <cars> <scenes> <weights> <out.csv> [--seeds 0 1]

Each row is one `train.py` and one `evaluate.py split=test` of its run, in processes of their own,
whose processor time the system tells (one thread each, so that other jobs beside it hardly
count). Rows that are there are not made again.
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
COMMON = [
    *("model=tf_efficientnet_lite0", "data.image_size=96", "data.split_seed=0", "data.workers=0"),
    *("model.channels_last=true", "trainer.precision=32-true", "look=false"),
]
DATA = {
    "cars": [
        *("data=stanford_cars", "data.protocol=fractions", "data.test_fraction=0.2"),
        "trainer.max_epochs=8",
    ],
    "scenes": ["data=folder", "trainer.max_epochs=4"],
}
TRICKS = {
    "none": [],
    "mixup": ["mixing=mixup", "mixing.alpha=0.1"],
    "cutmix": ["mixing=cutmix"],
    "trivial": ["augmentation=trivial"],
    "rand": ["augmentation=rand"],
    "erasing": ["augmentation=erasing"],
    "recoloured": ["augmentation=recoloured"],
    "no augmentation": ["augmentation=none"],
    "ema": ["averaging=ema", "averaging.decay=0.99"],
    "swa": ["averaging=swa"],
    "restarts": ["schedule=restarts", "schedule.cycle_epochs=1", "schedule.multiplier=1"],
    "cyclical": ["schedule=cyclical", "schedule.cycle_epochs=4"],
    "stable_decay": ["schedule=stable_decay"],
    "lr_finder": ["callbacks=lr_finder", "lr_finder.use=valley"],
    "gem": ["mode.pool=gem"],
    "balanced": ["data.sampling=balanced"],
}
COLUMNS = (
    *("data", "trick", "seed", "val_top1", "test_top1", "seconds", "cpu_seconds"),
    "recorded_in",
)


def used_by(*arguments: str) -> float:
    """Runs a command of the project; its process's seconds of processor."""
    child = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(arguments)}: exit status {status}")
    return usage.ru_utime + usage.ru_stime


def measure(data: str, trick: str, seed: int, runs: Path, given: list[str]) -> dict[str, Any]:
    """One training and its evaluation, as a row."""
    folder = runs / f"{data}-{trick.replace(' ', '-')}-{seed}"
    own = [f"seed={seed}", f"runs={folder.parent}", f"name={folder.name}"]
    files = RunFolder(folder)
    cpu = used_by("train.py", *COMMON, *DATA[data], *given, *TRICKS[trick], *own)
    used_by("evaluate.py", f"run={folder}", "split=test", "worst=0")
    run, said = Run.read(files.run), Predictions.read(files.predictions("test"))
    return {
        "data": data,
        "trick": trick,
        "seed": seed,
        "val_top1": round(run.metrics["val/top1"], 4),
        "test_top1": round(float((said.predicted == said.targets).mean()), 4),
        "seconds": round(run.seconds, 1),
        "cpu_seconds": round(cpu),
        "recorded_in": str(run.git_commit)[:7],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("cars", "scenes", "weights", "out"):
        parser.add_argument(name, type=lambda text: Path(text).resolve())
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--tricks", nargs="+", default=list(TRICKS))
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    done = set()
    if asked.out.is_file():
        with asked.out.open() as lines:
            done = {(row["data"], row["trick"], int(row["seed"])) for row in csv.DictReader(lines)}
    writing = threading.Lock()

    def one(data: str, trick: str, seed: int) -> None:
        given = [f"data.root={getattr(asked, data)}", f"model.weights={asked.weights}"]
        row = measure(data, trick, seed, asked.out.parent / "runs", given)
        with writing, asked.out.open("a", newline="") as out:
            table = csv.DictWriter(out, COLUMNS)
            if not out.tell():
                table.writeheader()
            table.writerow(row)
        print(row, flush=True)

    left = [
        (data, trick, seed)
        for seed, data, trick in product(asked.seeds, DATA, asked.tricks)
        if (data, trick, seed) not in done
    ]
    with ThreadPoolExecutor(asked.jobs) as pool:
        for task in [pool.submit(one, *each) for each in left]:
            task.result()


if __name__ == "__main__":
    main()
