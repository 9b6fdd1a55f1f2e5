"""What happens at the end of an epoch: checkpoint, metrics row, progress, and whoever asked."""

import math
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning as pl
from lightning_fabric.utilities.rank_zero import rank_zero_only
from pytorch_lightning.callbacks import Callback, Checkpoint
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from carsclf.files import atomic_write
from carsclf.records import RunFolder
from carsclf.terminal import terminal

OnEpoch = Callable[[int, dict[str, float], float, Path], bool | None]


class EpochProgress(Callback):
    """A bar over the whole training with the time left, and one line per finished epoch.

    costs: what an epoch costs beside others, where they differ.
    """

    def __init__(self, epochs: int, costs: Sequence[float] = ()) -> None:
        self.epochs, self.costs = epochs, list(costs) or [1.0] * epochs
        self.console = terminal(stderr=True)

    @rank_zero_only
    def say(self, line: str) -> None:
        self.console.print(line, highlight=False, soft_wrap=True)

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        steps = [n * trainer.accumulate_grad_batches for n in pl_module.steps_each]
        self.bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} steps,"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self.console,
            transient=True,
            disable=not (self.console.is_terminal and trainer.is_global_zero),
        )
        done = trainer.current_epoch
        self.task = self.bar.add_task(
            "",
            total=sum(steps),
            completed=sum(steps[:done]),
            epoch=f"{done + 1}/{self.epochs}",
        )
        self.began, self.first = time.perf_counter(), done
        self.bar.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, *args: Any, **kwargs: Any
    ) -> None:
        # a chunk of features holds many steps
        self.bar.advance(self.task, outputs.get("steps", 1) if isinstance(outputs, dict) else 1)

    def epoch_done(self, epoch: int, metrics: dict[str, float]) -> None:
        """One line for a finished epoch; called by EpochEnd, which knows its metrics."""
        self.bar.update(self.task, epoch=f"{min(epoch + 1, self.epochs)}/{self.epochs}")
        spent = time.perf_counter() - self.began
        left = spent / sum(self.costs[self.first : epoch]) * sum(self.costs[epoch:])
        parts = [f"epoch {epoch:>3}/{self.epochs}", *self.told(metrics)]
        parts.append(f"{spent:.0f} s, {left:.0f} s left")
        self.bar.console.print("  ".join(parts), highlight=False, soft_wrap=True)

    def told(self, metrics: dict[str, float]) -> list[str]:
        """What the line says of the metrics."""
        parts = [f"train loss {metrics['train/loss']:.3f}"]
        if "val/loss" in metrics:
            parts += [f"val loss {metrics['val/loss']:.3f}", f"val top-1 {metrics['val/top1']:.2%}"]
        return parts

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.bar.stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: Any, exception: BaseException) -> None:
        if hasattr(self, "bar"):
            self.bar.stop()


class EpochEnd(Checkpoint):
    """Writes last.ckpt, best.ckpt and metrics.csv after each epoch, then tells `on_epoch`.

    best is the highest `monitor`, of a loss the lowest (the earliest of equals). `on_epoch` may
    return False to stop here; the run stays resumable. Being a Checkpoint, it runs after the
    module's own hooks. leak: marks each row of metrics.csv.
    """

    def __init__(
        self,
        folder: RunFolder,
        progress: EpochProgress,
        *,
        monitor: str = "val/top1",
        on_epoch: OnEpoch | None = None,
        leak: str | None = None,
    ) -> None:
        self.leak = leak
        self.folder, self.progress = folder, progress
        self.monitor, self.on_epoch = monitor, on_epoch
        self.rows: list[dict[str, float]] = []
        self.seconds_before = 0.0  # spent on these rows before a resume
        self._started = time.perf_counter()

    @property
    def best(self) -> dict[str, float]:
        """The row of the best epoch so far, of those that were validated; the first of equals."""
        sign = -1 if self.monitor.endswith("loss") else 1
        return max(self.rows, key=lambda row: sign * row.get(self.monitor, -sign * math.inf))

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        epoch = trainer.current_epoch + 1
        seconds = time.perf_counter() - self._started
        self.rows.append({"epoch": epoch, **pl_module.epoch_metrics, "seconds": seconds})
        trainer.save_checkpoint(self.folder.last, weights_only=False)
        if trainer.is_global_zero:
            if self.best is self.rows[-1]:
                _link(self.folder.last, self.folder.best)
            write_metrics(self.folder.metrics, self.rows, self.leak)
            self.progress.epoch_done(epoch, pl_module.epoch_metrics)
        trainer.strategy.barrier()  # after the last epoch every process reads best.ckpt
        if self.on_epoch is not None:
            go_on = self.on_epoch(epoch, dict(pl_module.epoch_metrics), seconds, self.folder.last)
            trainer.should_stop = trainer.should_stop or go_on is False

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])
        self.seconds_before = sum(row["seconds"] for row in self.rows)


def _link(source: Path, target: Path) -> None:
    """A second name for the same bytes; last.ckpt is replaced, never changed, so they stay."""
    with atomic_write(target) as temporary:
        temporary.unlink()
        try:
            os.link(source, temporary)
        except OSError:  # a file system without hard links
            shutil.copyfile(source, temporary)


def write_metrics(path: Path, rows: list[dict[str, float]], leak: str | None = None) -> None:
    """One row per epoch; the whole file is replaced, so a resumed run leaves no row twice."""
    with atomic_write(path) as temporary:
        table = pd.DataFrame(rows)
        (table.assign(leak=leak) if leak else table).to_csv(temporary, index=False)
