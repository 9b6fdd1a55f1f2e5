"""The time to 85 % of held-out photos, by several ways to fine-tune: see README.md.

    python experiments/time_to_85/measure.py <cars> <weights> <out.csv> [--seeds 0 1 2] [--ways ...]

One training at a time, with two threads, in a process of its own; the machine should do nothing
else. Each row is an epoch: wall-clock seconds since its process began, validation included, and how
many of the held-out photos were right then. Trainings that are there are not made again. fastai's
row needs `pip install -e '.[bench]'`.
"""

import argparse
import csv
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import accumulate, product
from pathlib import Path
from typing import Any

import pandas as pd

from carsclf.records import Run, RunFolder
from carsclf.training.finish import git_commit

ROOT, HERE = Path(__file__).parents[2], Path(__file__).parent
PROTOCOL = [
    *("data=stanford_cars", "data.protocol=fractions", "data.val_fraction=0.2"),
    *("data.split_seed=0", "data.image_size=160", "data.workers=0", "reported=last"),
    *("model=tf_efficientnet_lite0", "model.channels_last=true", "trainer.precision=32-true"),
    "look=false",
]
WAYS = {
    "plain": ["trainer.max_epochs=12"],
    "resized": [
        *("resizing=progressive", "resizing.sizes=[112]", "resizing.epochs=[5]"),
        *("trainer.max_epochs=6", "data.batch_size=16", "optimizer.lr=1.4e-3"),
    ],
}
FASTAI = "fastai"
COLUMNS: Sequence[str] = ("way", "seed", "epoch", "seconds", "top1", "recorded_in")
Row = dict[str, Any]


def timed(*command: str) -> float:
    """Runs it; wall-clock seconds of its process."""
    began = time.perf_counter()
    subprocess.run(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "2"}, check=True)
    return time.perf_counter() - began


def ours(way: str, seed: int, folder: Path, given: list[str]) -> Iterator[Row]:
    """Epochs of a run. What its process takes beside them (start, libraries) counts before."""
    own = [f"seed={seed}", f"runs={folder.parent}", f"name={folder.name}"]
    whole = timed(sys.executable, "train.py", *PROTOCOL, *given, *WAYS[way], *own)
    files = RunFolder(folder)
    commit = str(Run.read(files.run).git_commit)[:7]
    epochs: Any = pd.read_csv(files.metrics)
    beside = whole - epochs["seconds"].sum()
    ends = accumulate(epochs["seconds"].tolist(), initial=beside)
    next(ends)
    for epoch, seconds, top1 in zip(epochs["epoch"], ends, epochs["val/top1"], strict=True):
        yield {"way": way, "seed": seed, "epoch": epoch, "recorded_in": commit} | {
            "seconds": round(seconds, 1), "top1": round(top1, 4)
        }  # fmt: skip


def fastai(seed: int, folder: Path, cars: Path, weights: Path) -> Iterator[Row]:
    """Epochs of fastai's `fine_tune`, as its own script wrote them."""
    out = folder.with_suffix(".csv")
    timed(sys.executable, str(HERE / "fine_tune.py"), str(cars), str(weights), str(seed), str(out))
    commit = str(git_commit())[:7]
    with out.open() as lines:
        for row in csv.DictReader(lines):
            yield {"way": FASTAI, "seed": seed, "recorded_in": commit, **row}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("cars", "weights", "out"):
        parser.add_argument(name, type=lambda text: Path(text).resolve())
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ways", nargs="+", default=[*WAYS, FASTAI])
    asked = parser.parse_args()
    done = set()
    if asked.out.is_file():
        with asked.out.open() as lines:
            done = {(row["way"], int(row["seed"])) for row in csv.DictReader(lines)}
    given = [f"data.root={asked.cars}", f"model.weights={asked.weights}"]
    for seed, way in product(asked.seeds, asked.ways):
        if (way, seed) in done:
            continue
        folder = asked.out.parent / "runs" / f"{way}-{seed}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = (
            fastai(seed, folder, asked.cars, asked.weights)
            if way == FASTAI
            else ours(way, seed, folder, given)
        )
        rows = list(made)
        with asked.out.open("a", newline="") as out:
            table = csv.DictWriter(out, COLUMNS)
            if not out.tell():
                table.writeheader()
            table.writerows(rows)
        print(rows[-1], flush=True)


if __name__ == "__main__":
    main()
