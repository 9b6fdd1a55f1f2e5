"""What a study costs beside its trials' own work: 50 one-epoch trainings of a tiny network.

    python benchmarks/orchestration.py [--trials 50] [--repetitions 5] [--out <folder>]

A study of one worker is timed by its own journal, from the first trial's start to the last event
(start-up is told apart). The trials' own work is the same trainings, from the same configurations,
called one after another in one process. The difference per trial is what proposing, composing,
handing over, journalling and showing cost.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from carsclf.training.run import fit

ROOT = Path(__file__).parents[1]


def draw(root: Path) -> None:
    """root/<class>/*.png: 3 classes of 20 small pictures."""
    rng = np.random.default_rng(0)
    for target in range(3):
        (root / f"class {target}").mkdir(parents=True)
        for i in range(20):
            pixels = rng.integers(80 * target, 80 * target + 90, (30, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / f"class {target}" / f"{i:02}.png")


def study(pictures: Path, folder: Path, trials: int) -> tuple[float, float]:
    """Seconds of start-up, and seconds from the first trial's start to the last event."""
    began = time.time()
    command = [sys.executable, str(ROOT / "tune.py"), "search=random", f"search.budget={trials}"]
    command += [f"runs={folder.parent}", f"name={folder.name}", "resources.workers=1"]
    command += ["data=folder", f"data.root={pictures}", "data.image_size=32", "data.workers=0"]
    command += ["model.name=test_resnet", "model.weights=none", "trainer.max_epochs=1"]
    command += ["trainer.accelerator=cpu", "space.data.batch_size={low: 3, high: 5}"]
    subprocess.run(command, check=True, capture_output=True)
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    started = next(e["time"] for e in events if e["kind"] == "start")
    assert sum(e["kind"] == "result" for e in events) == trials
    return started - began, events[-1]["time"] - started


def alone(study_folder: Path, folder: Path) -> float:
    """Seconds of the same trainings without a study around them."""
    configs = [OmegaConf.load(p) for p in sorted(study_folder.glob("trials/*/config.yaml"))]
    for config in configs:
        OmegaConf.set_struct(config, True)
    began = time.perf_counter()
    for i, config in enumerate(configs):
        assert isinstance(config, DictConfig)
        fit(config, folder / str(i), resume=True, on_epoch=lambda *_: True)
    return time.perf_counter() - began


def main() -> None:
    """Parses the command line, measures in turns, prints and writes the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--out", type=Path, help="folder for orchestration.csv")
    args = parser.parse_args()
    torch.set_num_threads(1)  # as a study's worker of one core
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        os.environ["CARSCLF_CACHE"] = str(root / "cache")
        draw(root / "pictures")
        for i in range(args.repetitions + 1):  # the first is a rehearsal
            startup, seconds = study(root / "pictures", root / f"study{i}", args.trials)
            own = alone(root / f"study{i}", root / f"alone{i}")
            rows.append(
                {
                    "startup_s": startup,
                    "study_s_per_trial": seconds / args.trials,
                    "own_s_per_trial": own / args.trials,
                    "beyond_s_per_trial": (seconds - own) / args.trials,
                }
            )
    table = pd.DataFrame(rows[1:])
    table.loc["median"] = [statistics.median(table[c]) for c in table]
    print(f"{args.trials} one-epoch trials, one worker\n{table.round(3).to_string()}")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        table.to_csv(args.out / "orchestration.csv", float_format="%.4f")


if __name__ == "__main__":
    main()
