"""Head training on cached features against its own arithmetic, and against Lightning's plain loop.

    python benchmarks/head_training.py [--rows 6598] [--width 1280] [--classes 196] [--repeat 7]

Synthetic rows. Bare: two products, the softmax gradient, and torch's fused SGD with momentum; no
autograd, no metrics, no validation. Chunks: epochs of `pl.Trainer` with the module, from one
epoch's start to the next: loading, metrics and logging in it, validation and checkpoints not.
Plain: the same with automatic optimization, a mini-batch per step.
"""

import argparse
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from carsclf.data.loaders import SplitLoaders
from carsclf.data.samples import Sample
from carsclf.features.datamodule import FeatureDataModule
from carsclf.models.heads import Head
from carsclf.models.pixels import Normalise
from carsclf.training.modules import TransferModule
from carsclf.training.optimizers import sgd
from carsclf.training.run import quiet
from carsclf.training.schedules import constant

LR, MOMENTUM = 0.01, 0.9
RATES = {
    "lr": LR,
    "momentum": MOMENTUM,
    "weight_decay": 0.0,
    "head_lr_factor": 1.0,
    "nesterov": False,
}
BATCHES = (16, 256)


def bare(x: torch.Tensor, y: torch.Tensor, classes: int, batch: int) -> Iterator[float]:
    """Seconds of one epoch after the other."""
    linear = nn.Linear(x.shape[1], classes)
    optimizer = torch.optim.SGD(linear.parameters(), LR, MOMENTUM, fused=True)
    weight, bias = linear.weight, linear.bias
    with torch.no_grad():
        while True:
            began = time.perf_counter()
            for rows, targets in zip(x.split(batch), y.split(batch), strict=True):
                slope = (rows @ weight.T + bias).softmax(1)
                slope[torch.arange(len(rows)), targets] -= 1
                slope /= len(rows)
                weight.grad, bias.grad = slope.T @ rows, slope.sum(0)
                optimizer.step()
            yield time.perf_counter() - began


class Clock(pl.Callback):
    """Seconds from one epoch's start to the next: hooks, loading and bookkeeping included."""

    def __init__(self) -> None:
        self.starts: list[float] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.starts.append(time.perf_counter())

    @property
    def epochs(self) -> list[float]:
        return [b - a for a, b in zip(self.starts, self.starts[1:], strict=False)]


def lightning(
    x: torch.Tensor, y: torch.Tensor, classes: int, batch: int, *, chunks: bool, epochs: int
) -> list[float]:
    """Seconds of each of `epochs` epochs of the project's module."""
    parts = {"train": (x, y), "val": (x[:1], y[:1])}
    data = rows_as_data(parts, classes, batch, chunks=chunks)
    module = head_module(data, partial(sgd, **RATES), constant, epochs)
    return timed_epochs(module, data, epochs)


def head_module(
    data: FeatureDataModule, optimizer: Any, schedule: Any, epochs: int
) -> TransferModule:
    """The project's module with a linear head for such rows."""
    network, classes = nn.Sequential(), len(data.class_names)
    network.fc = nn.Linear(data.rows["train"].shape[1], classes)
    return TransferModule(
        Head(network, ("fc",)),
        heads=("fc",),
        wholes=data.wholes,
        normalise=Normalise([0.0], [1.0]),
        optimizer=optimizer,
        schedule=schedule,
        horizon=epochs,
        steps=data.batches_per_epoch(),
        seed=0,
        mini_batch=data.batch_size if data.chunked else None,
    )


def timed_epochs(module: TransferModule, data: SplitLoaders, epochs: int) -> list[float]:
    """Seconds of each epoch, from its start to the next one's; no validation, no checkpoints."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        bare = {"limit_val_batches": 0, "enable_checkpointing": False}
        silent_trainer(folder, epochs + 1, [clock], **bare).fit(module, data)
    return clock.epochs


def silent_trainer(
    folder: str, epochs: int, callbacks: list[pl.Callback], **more: Any
) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=callbacks,
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **more,
    )


def rows_as_data(
    parts: dict[str, tuple[torch.Tensor, torch.Tensor]], classes: int, batch: int, *, chunks: bool
) -> FeatureDataModule:
    """(features, targets) of train and val."""
    splits = {
        name: [Sample(str(i), Path(str(i)), int(target)) for i, target in enumerate(y)]
        for name, (_, y) in parts.items()
    }
    names = [str(i) for i in range(classes)]
    pictures = SplitLoaders(splits, names, batch_size=batch, seed=0)
    rows = {name: x for name, (x, _) in parts.items()}
    return FeatureDataModule(pictures, rows, batch_size=batch, chunked=chunks)


def settle(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Adds width and classes; one thread, one seed, and nothing said but the table."""
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--classes", type=int, default=196)
    options = parser.parse_args()
    quiet()
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return options


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=6598)
    parser.add_argument("--repeat", type=int, default=7)
    options = settle(parser)
    x = torch.randn(options.rows, options.width)
    y = torch.randint(options.classes, (options.rows,))
    print(
        f"{options.rows:,} x {options.width} -> {options.classes}, one thread, median seconds per "
        f"epoch of {options.repeat} (smallest to largest)"
    )
    print("| batch | bare | chunks | plain loop | chunks / bare | plain / chunks |")
    print("|---|---|---|---|---|---|")
    for batch in BATCHES:
        floor = bare(x, y, options.classes, batch)
        seconds: dict[str, list[float]] = {"bare": [], "chunks": [], "plain": []}
        next(floor)
        for _ in range(options.repeat):  # in turns, so that a busy machine is busy for all
            seconds["bare"].append(next(floor))
            for name in ("chunks", "plain"):
                both = lightning(x, y, options.classes, batch, chunks=name == "chunks", epochs=2)
                seconds[name].append(both[-1])  # the first one warms up
        middle = {name: statistics.median(values) for name, values in seconds.items()}
        cells = [
            f"{middle[name]:.3f} ({min(values):.3f} to {max(values):.3f})"
            for name, values in seconds.items()
        ]
        ratios = middle["chunks"] / middle["bare"], middle["plain"] / middle["chunks"]
        print(f"| {batch} | {' | '.join(cells)} | {ratios[0]:.2f} | {ratios[1]:.2f} |")


if __name__ == "__main__":
    main()
