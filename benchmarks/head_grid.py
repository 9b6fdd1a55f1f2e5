"""A grid of 64 linear heads against one head by L-BFGS, and against 64 of those.

    python -m benchmarks.head_grid [--rows 5349] [--width 1280] [--classes 196] [--few 4]

Synthetic rows: class means with noise of falling spread, mixed and rectified as pooled activations
are; a fifth as many to validate on. Whole trainings by `pl.Trainer` with the module: validation,
metrics and checkpoints of each epoch in it. L-BFGS runs its default 12 epochs at --few penalties
over the grid's range, for its best and for what 64 would take. Seconds are of the processor, on one
thread, so that other processes hardly count.
"""

import argparse
import tempfile
import time
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.head_training import head_module, rows_as_data, settle, silent_trainer
from carsclf.features.datamodule import FeatureDataModule
from carsclf.records import RunFolder
from carsclf.training.callbacks import EpochEnd, EpochProgress
from carsclf.training.optimizers import head_grid, lbfgs
from carsclf.training.schedules import constant, penalties

HEADS, LOW, HIGH, EPOCHS, DECAY = 64, 1e-6, 0.1, 12, 3e-4  # as in conf/


def rows(n: int, width: int, classes: int) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """(features, targets) to train on and to validate on."""
    spread = torch.arange(1, width + 1) ** -0.5
    mix, means = torch.randn(width, width) / width**0.5, 0.5 * torch.randn(classes, width)

    def draw(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        y = torch.randint(classes, (count,))
        hidden = (means[y] + torch.randn(count, width)) * spread
        return torch.relu(6 * hidden @ mix + 0.3), y

    return {"train": draw(n), "val": draw(n // 5)}


def train(data: FeatureDataModule, optimizer: Any, schedule: Any, epochs: int) -> dict[str, float]:
    """The best epoch's row of metrics, with the whole training's `seconds`."""
    torch.manual_seed(0)
    module = head_module(data, optimizer, schedule, epochs)
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        progress = EpochProgress(epochs)
        end = EpochEnd(RunFolder(folder), progress)
        silent_trainer(folder, epochs, [progress, end], num_sanity_val_steps=0).fit(module, data)
    return end.best | {"seconds": time.process_time() - began}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=5349)
    parser.add_argument("--few", type=int, default=4)
    options = settle(parser)
    parts = rows(options.rows, options.width, options.classes)
    data = rows_as_data(parts, options.classes, options.rows, chunks=True)
    one = train(data, partial(lbfgs, weight_decay=DECAY), constant, EPOCHS)
    grid = train(data, head_grid, partial(penalties, low=LOW, high=HIGH), HEADS)
    few = [
        train(data, partial(lbfgs, weight_decay=decay), constant, EPOCHS)
        for decay in np.geomspace(LOW, HIGH, options.few + 2)[1:-1]
    ]
    best = max([one, *few], key=lambda row: row["val/top1"])
    mean = np.mean([row["seconds"] for row in few])
    print(f"{options.rows:,} x {options.width} -> {options.classes}, one thread")
    print("| training | seconds | of one head | best top-1 on validation | its loss |")
    print("|---|---|---|---|---|")
    told = {
        f"one head, L-BFGS, penalty {DECAY:g}": one,
        f"grid of {HEADS} heads": grid,
        f"{HEADS} by L-BFGS, from {options.few}": best | {"seconds": HEADS * mean},
    }
    for name, row in told.items():
        cells = f"{row['seconds']:.1f} | {row['seconds'] / one['seconds']:.2f}"
        print(f"| {name} | {cells} | {row['val/top1']:.2%} | {row['val/loss']:.3f} |")


if __name__ == "__main__":
    main()
