"""Where a training's time goes: data, forward, backward, optimizer, validation."""

import time
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback


class CostMeter(Callback):
    """Adds up seconds by part; what was spent before a resume is kept in the checkpoint.

    On a CUDA device the marks are events in its stream, read when the epoch has ended: nothing
    waits for them, and "data" is the time the device had nothing to do between two steps. Elsewhere
    they are the clock's.

    A step that optimizes by itself (many mini-batches in one) has no such parts: it counts as
    "training" in one piece.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.images = 0
        self._marks: list[tuple[str | None, Any]] = []

    def _mark(self, part: str | None) -> None:
        """The time since the last mark went into `part` (None: into nothing that is counted)."""
        if self._cuda:
            mark: Any = torch.cuda.Event(enable_timing=True)
            mark.record()
        else:
            mark = time.perf_counter()
        self._marks.append((part, mark))

    def _add_up(self) -> None:
        if self._cuda:
            torch.cuda.synchronize()
        for (_, begin), (part, end) in zip(self._marks, self._marks[1:], strict=False):
            if part is not None:
                spent = begin.elapsed_time(end) / 1000 if self._cuda else end - begin
                self.seconds[part] = self.seconds.get(part, 0.0) + spent
        self._marks = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._cuda = trainer.strategy.root_device.type == "cuda"
        self._automatic = pl_module.automatic_optimization
        self._mark(None)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.images += batch["targets"].numel() * trainer.world_size
        self._mark("data")

    def on_before_backward(self, *args: Any, **kwargs: Any) -> None:
        if self._automatic:
            self._mark("forward")

    def on_after_backward(self, *args: Any, **kwargs: Any) -> None:
        if self._automatic:
            self._mark("backward")

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self._mark("optimizer" if self._automatic else "training")

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._mark(None)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._mark("validation")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._add_up()  # before the checkpoint, which keeps the sums

    @property
    def cost(self) -> dict[str, float]:
        """For run.json: `<part>_seconds`, images_per_second of training, and the share of
        training in which the device waited for data."""
        training = sum(seconds for part, seconds in self.seconds.items() if part != "validation")
        if not training:
            return {}
        return {
            **{f"{part}_seconds": seconds for part, seconds in self.seconds.items()},
            "images_per_second": self.images / training,
            "share_waited": self.seconds["data"] / training,
        }

    def __str__(self) -> str:
        if not (cost := self.cost):
            return "cost: nothing was trained"
        parts = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in self.seconds.items())
        return (
            f"cost: {parts}; {cost['images_per_second']:.1f} images/s in training; "
            f"the device waited for data {cost['share_waited']:.1%} of it"
        )

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": dict(self.seconds), "images": self.images}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seconds = dict(state_dict["seconds"])
        self.images = state_dict["images"]
