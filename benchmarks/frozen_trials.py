"""A frozen trial on the photos: the first, those after it, and one that recomputes its features.

    python benchmarks/frozen_trials.py <cars> [--epochs 35] [--repeat 5] [--recompute-epochs 2]

`experiment=first_cars mode=freeze` with SGD and plateau, as a tuning worker runs it: several
trainings in one process, checkpoints, metrics and exported model included. The cache is made anew.
An epoch that recomputes is measured `--recompute-epochs` times (median) and scaled to all epochs.
"""

import argparse
import os
import statistics
import tempfile
import time
from itertools import count
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pandas as pd
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from carsclf.records import RunFolder
from carsclf.training.configuration import training_part
from carsclf.training.run import fit

CONF = Path(__file__).parents[1] / "conf"
BATCHES = (16, 256)


def config_of(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF.resolve()), version_base="1.3"):
        options = ["experiment=first_cars", "mode=freeze", "optimizer=sgd", "schedule=plateau"]
        return training_part(compose("train", [*options, "look=false", *overrides]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cars", type=Path)
    parser.add_argument("--epochs", type=int, default=35)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--recompute-epochs", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    numbers = count()
    with tempfile.TemporaryDirectory() as work:
        os.environ["CARSCLF_CACHE"] = f"{work}/cache"

        def trial(*overrides: str) -> tuple[float, Path]:
            folder = Path(work) / f"trial-{next(numbers)}"
            began = time.perf_counter()
            fit(
                config_of(f"data.root={options.cars.resolve()}", *overrides),
                folder,
                resume=True,
                on_epoch=lambda *_: True,
            )
            return time.perf_counter() - began, folder

        horizon = f"trainer.max_epochs={options.epochs}"
        first, _ = trial(horizon, f"data.batch_size={BATCHES[0]}")
        later = {
            batch: [trial(horizon, f"data.batch_size={batch}")[0] for _ in range(options.repeat)]
            for batch in BATCHES
        }
        _, slow = trial("mode.cache=false", f"trainer.max_epochs={options.recompute_epochs}")
        rows = pd.read_csv(RunFolder(slow).metrics)["seconds"]
        every = options.epochs * statistics.median(rows)
        size = sum(f.stat().st_size for f in Path(work, "cache", "features").rglob("*.npy"))
    print(f"{options.epochs} epochs, one thread; cache {size / 1e6:.0f} MB; seconds")
    print("| trial | seconds | faster than recomputing |")
    print("|---|---|---|")
    print(f"| recomputing ({len(rows)} epochs, scaled) | {every:.0f} | 1 |")
    print(f"| first, batch {BATCHES[0]} | {first:.1f} | {every / first:.1f} |")
    for batch, seconds in later.items():
        middle = statistics.median(seconds)
        spread = f"{middle:.1f} ({min(seconds):.1f} to {max(seconds):.1f})"
        print(f"| after the first, batch {batch} | {spread} | {every / middle:.0f} |")


if __name__ == "__main__":
    main()
