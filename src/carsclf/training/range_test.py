"""A range test of the learning rate: one step at each of many rates, on a copy of the module.

Lightning's own finder has one rate for all groups, steps through the trainer (and knows nothing of
a module that steps by itself), and tests the module that is to be trained.
"""

import copy
import math
from collections.abc import Iterator
from itertools import count, islice
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.seed import isolate_rng

from carsclf.analysis.range_test import Smoothed
from carsclf.data.loaders import Item, SplitLoaders
from carsclf.machine.precision import autocast
from carsclf.training.modules import TransferModule
from carsclf.training.schedule_free import at_rate_itself

EXPLODED = 4  # times the lowest smoothed loss, as fastai's


def range_test(
    module: TransferModule,
    inputs: SplitLoaders,
    trainer: pl.Trainer,
    *,
    lr: float,
    low: float,
    high: float,
    steps: int,
) -> pd.DataFrame:
    """Columns lr, loss (of the step's pictures, before it), smoothed; a row per rate tried.

    lr: the rate that the module's optimizer has, for which the tried ones stand in: each group
    moves in its ratio to it. Ends where the smoothed loss explodes or is no number. Leaves module,
    inputs and random state as they were. Smith 2017.
    """
    rows: list[tuple[float, float, float]] = []
    smoothed, lowest = Smoothed(), math.inf
    with isolate_rng():
        torch.manual_seed(module.seed)
        steps_at = _Steps(module, inputs, trainer, lr)
        for rate in np.geomspace(low, high, steps).tolist():
            loss = steps_at(rate)
            if not math.isfinite(loss):
                break
            rows.append((rate, loss, smoothed(loss)))
            lowest = min(lowest, rows[-1][2])
            if rows[-1][2] > EXPLODED * lowest:
                break
    return pd.DataFrame(rows, columns=["lr", "loss", "smoothed"])


class _Steps:
    """Steps of a copy of the module, as its training makes them, each at a rate of its own."""

    def __init__(
        self, module: TransferModule, inputs: SplitLoaders, trainer: pl.Trainer, lr: float
    ) -> None:
        self.device, self.precision = trainer.strategy.root_device, str(trainer.precision)
        self.module = copy.deepcopy(module).to(self.device)
        self.module.begin(0)
        self.optimizer = at_rate_itself(self.module.new_optimizer())
        self.ratios = [group["lr"] / lr for group in self.optimizer.param_groups]
        self.parameters = [p for g in self.optimizer.param_groups for p in g["params"]]
        self.together = trainer.accumulate_grad_batches
        self.scaler = torch.GradScaler(self.device.type, enabled=self.precision == "16-mixed")
        self.batches = _batches(inputs.train_dataloader(), module.mini_batch)

    def __call__(self, rate: float) -> float:
        for group, ratio in zip(self.optimizer.param_groups, self.ratios, strict=True):
            group["lr"] = rate * ratio
        self.optimizer.zero_grad()
        loss = sum(self._backward(batch) for batch in islice(self.batches, self.together))
        self.scaler.unscale_(self.optimizer)
        self.module.clip_by_itself(self.parameters)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return float(loss)

    def _backward(self, batch: Item) -> torch.Tensor:
        """This batch's part of the step's loss; its gradients are added to what is there."""
        batch = {name: tensor.to(self.device) for name, tensor in batch.items()}
        if self.module.mixing is not None:
            batch = self.module.mixing(batch)
        with autocast(self.precision, self.device):
            logits = self.module(batch).float()
        loss = self.module.loss(logits, batch["targets"]) / self.together
        self.scaler.scale(loss).backward()
        return loss.detach()


def _batches(loader: Any, mini_batch: int | None) -> Iterator[Item]:
    """Training batches without an end, epoch by epoch; mini_batch: of chunks their parts."""
    for epoch in count():
        loader.batch_sampler.set_epoch(epoch)
        for batch in loader:
            size = mini_batch or len(batch["targets"])
            parts = [tensor.split(size) for tensor in batch.values()]
            for part in zip(*parts, strict=True):
                yield dict(zip(batch, part, strict=True))
