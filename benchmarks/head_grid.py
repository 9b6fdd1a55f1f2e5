"""A grid of 64 linear heads against one head by L-BFGS, and against 64 of those.

    python benchmarks/head_grid.py [--rows 5349] [--width 1280] [--classes 196] [--few 4]

Synthetic rows: class means with noise of falling spread, mixed and rectified as pooled activations
are; a fifth as many to validate on. Whole trainings by `pl.Trainer` with the module: validation,
metrics and checkpoints of each epoch in it. L-BFGS runs its default 12 epochs at --few penalties
over the grid's range, for its best and for what 64 would take. Seconds are of the processor, on one
thread, so that other processes hardly count.
"""

import argparse
import logging
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import nn

from carsclf.data.loaders import SplitLoaders
from carsclf.data.samples import Sample
from carsclf.features.datamodule import FeatureDataModule
from carsclf.models.heads import Head
from carsclf.models.pixels import Normalise
from carsclf.records import RunFolder
from carsclf.training.callbacks import EpochEnd, EpochProgress
from carsclf.training.modules import TransferModule
from carsclf.training.optimizers import head_grid, lbfgs
from carsclf.training.run import quiet
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


def as_data(parts: dict[str, tuple[torch.Tensor, torch.Tensor]], classes: int) -> FeatureDataModule:
    splits = {
        name: [Sample(str(i), Path(str(i)), int(target)) for i, target in enumerate(y)]
        for name, (_, y) in parts.items()
    }
    names, size = [str(i) for i in range(classes)], len(splits["train"])
    pictures = SplitLoaders(splits, names, batch_size=size, seed=0)
    features = {name: x for name, (x, _) in parts.items()}
    return FeatureDataModule(pictures, features, batch_size=size, chunked=True)


def train(data: FeatureDataModule, optimizer: Any, schedule: Any, epochs: int) -> dict[str, float]:
    """The best epoch's row of metrics, with the whole training's `seconds`."""
    torch.manual_seed(0)
    network, classes = nn.Sequential(), len(data.class_names)
    network.fc = nn.Linear(data.rows["train"].shape[1], classes)
    module = TransferModule(
        Head(network, ("fc",)),
        heads=("fc",),
        num_classes=classes,
        normalise=Normalise([0.0], [1.0]),
        optimizer=optimizer,
        schedule=schedule,
        horizon=epochs,
        steps=1,
        seed=0,
        mini_batch=data.batch_size,
    )
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        progress = EpochProgress(epochs)
        end = EpochEnd(RunFolder(folder), progress)
        trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=epochs,
            callbacks=[progress, end],
            default_root_dir=folder,
            logger=False,
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        trainer.fit(module, data)
    return end.best | {"seconds": time.process_time() - began}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=5349)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--classes", type=int, default=196)
    parser.add_argument("--few", type=int, default=4)
    options = parser.parse_args()
    quiet()
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = as_data(rows(options.rows, options.width, options.classes), options.classes)
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
