"""The modes as LightningModules: a frozen prefix, possibly empty, and a trained rest."""

import math
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from torch.optim import Optimizer
from torchmetrics import CatMetric, MeanMetric

from carsclf.analysis.metrics import macro_f1
from carsclf.data.datamodule import Item
from carsclf.errors import CarsclfError, CheckpointError
from carsclf.features.cache import weights_key
from carsclf.features.steps import count_steps, gradients_of, train_on_chunk
from carsclf.models.boundary import Prefix, join
from carsclf.models.networks import split_parameters
from carsclf.models.pixels import Normalise
from carsclf.training.schedules import Schedule

CHECK_EVERY = 25  # steps between looks at the loss: each look waits for the accelerator


class TransferModule(pl.LightningModule):
    """Trains `rest` on batches of pictures or of features; subclasses say how pictures enter it.

    optimizer(backbone, head) and schedule(optimizer, epochs, steps) are partials; `horizon` is the
    schedule's length in epochs, `steps` the optimizer steps per epoch.
    """

    def __init__(
        self,
        rest: nn.Module,
        *,
        head: str,
        num_classes: int,
        normalise: Normalise,
        optimizer: Callable[..., Optimizer],
        schedule: Callable[..., Schedule],
        horizon: int,
        steps: int,
        seed: int,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.rest, self.head = rest, head
        self.normalise: Normalise = normalise
        self.make_optimizer, self.make_schedule = optimizer, schedule
        self.horizon, self.steps, self.seed = horizon, steps, seed
        self.loss = nn.CrossEntropyLoss(label_smoothing=label_smoothing)
        self.train_loss, self.train_top1 = MeanMetric(), MeanMetric()
        self.val_metrics = nn.ModuleDict({name: MeanMetric() for name in ("loss", "top1", "top5")})
        # torchmetrics' own F1 takes as long as training a head does: its counts are kept instead
        self.val_targets, self.val_said, self.num_classes = CatMetric(), CatMetric(), num_classes
        self.epoch_metrics: dict[str, float] = {}
        self._resumed_schedule: dict[str, Any] | None = None

    def enter(self, pictures: torch.Tensor) -> torch.Tensor:
        """What `rest` sees of normalised pictures."""
        return pictures

    def forward(self, batch: Item) -> torch.Tensor:
        """Logits (n, classes) for a batch with `pictures` (uint8) or `features`."""
        if "features" in batch:
            return self.rest(self._cast(batch["features"]))
        return self.rest(self.enter(self.normalise(batch["pictures"])))

    def _cast(self, features: torch.Tensor) -> torch.Tensor:
        """Cached rows, possibly half, as `rest` wants them."""
        layout = torch.preserve_format
        if features.ndim == 4:
            last = self.normalise.channels_last
            layout = torch.channels_last if last else torch.contiguous_format
        return features.to(next(self.rest.parameters()).dtype, memory_format=layout)

    def training_step(self, batch: Item, batch_idx: int) -> Any:
        if not self.automatic_optimization:
            return self._train_on_chunk(batch["features"], batch["targets"])
        logits = self(batch).float()  # a softmax in bfloat16 loses too much
        loss = self.loss(logits, batch["targets"])
        if batch_idx % CHECK_EVERY == 0:
            self._check(float(loss.detach()))
        self.train_loss.update(loss.detach(), weight=len(logits))
        self.train_top1.update((logits.argmax(1) == batch["targets"]).float())
        return loss

    def _train_on_chunk(self, features: torch.Tensor, targets: torch.Tensor) -> dict[str, int]:
        logits = train_on_chunk(
            gradients_of(self.rest, self.loss),
            self.loss,
            self.optimizers(use_pl_optimizer=False),  # type: ignore[arg-type]
            self._cast(features),
            targets,
            batch_size=self.batch_size,
            after_step=self.schedule.after_step,
            clip=self.clip,
        ).float()
        loss, n = self.loss(logits, targets), len(targets)
        self._check(float(loss))
        self.train_loss.update(loss, weight=n)
        self.train_top1.update((logits.argmax(1) == targets).float().mean(), weight=n)
        steps = -(-n // self.batch_size)
        count_steps(self.trainer, steps)
        return {"steps": steps}

    def step_by_itself(self, batch_size: int, clip: float | None) -> None:
        """From now on a training batch is a chunk of mini-batches of features."""
        self.automatic_optimization = False
        self.batch_size, self.clip = batch_size, clip

    def validation_step(self, batch: Item, batch_idx: int) -> None:
        logits, targets = self(batch).float(), batch["targets"]
        ranked = logits.topk(min(5, logits.shape[1])).indices == targets[:, None]
        values = {
            "loss": nn.functional.cross_entropy(logits, targets),
            "top1": ranked[:, 0].float().mean(),
            "top5": ranked.any(1).float().mean(),
        }
        for name, value in values.items():
            metric: Any = self.val_metrics[name]
            metric.update(value, weight=len(logits))
        self.val_targets.update(targets)
        self.val_said.update(logits.argmax(1))

    def on_train_epoch_start(self) -> None:
        # dropout must not depend on what was drawn before a kill: each epoch has its own seed
        torch.manual_seed((self.seed * 1_000_003 + self.current_epoch) % 2**63)

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        if self.automatic_optimization:
            self.schedule.after_step()

    def on_validation_epoch_end(self) -> None:
        metrics: dict[str, Any] = dict(self.val_metrics)
        values = {f"val/{name}": metric.compute() for name, metric in metrics.items()}
        targets, said = (
            m.compute().long().cpu().numpy() for m in (self.val_targets, self.val_said)
        )
        self._collect(values | {"val/macro_f1": macro_f1(targets, said, self.num_classes)})
        for metric in (*metrics.values(), self.val_targets, self.val_said):
            metric.reset()

    def on_train_epoch_end(self) -> None:
        self._collect(
            {"train/loss": self.train_loss.compute(), "train/top1": self.train_top1.compute()}
        )
        self.train_loss.reset()
        self.train_top1.reset()
        self._check(self.epoch_metrics["train/loss"])
        rates = {f"lr/{g['name']}": float(g["lr"]) for g in self.optimizers().param_groups}  # type: ignore[union-attr]
        self._collect(rates)
        self.schedule.after_epoch(self.epoch_metrics)

    def _collect(self, values: dict[str, Any]) -> None:
        # plain floats: a tensor or numpy scalar in a plateau's state would not load again
        plain = {name: float(value) for name, value in values.items()}
        self.epoch_metrics |= plain
        if not self.trainer.sanity_checking:
            self.log_dict(plain, rank_zero_only=True, batch_size=1)

    def _check(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise CarsclfError(
                f"the training loss became {loss} in epoch {self.current_epoch + 1}: lower "
                f"optimizer.lr (and optimizer.head_lr_factor); finished epochs are kept in "
                f"{self.trainer.default_root_dir}"
            )

    def configure_optimizers(self) -> Optimizer:
        optimizer = self.make_optimizer(*split_parameters(self.rest, self.head))
        self.schedule: Schedule = self.make_schedule(optimizer, self.horizon, self.steps)
        return optimizer

    def whole(self) -> dict[str, torch.Tensor]:
        """The classifier's state dict under timm's names, the frozen part included."""
        return self.rest.state_dict()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["schedule"] = self.schedule.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._resumed_schedule = checkpoint.get("schedule")

    def on_train_start(self) -> None:
        if self._resumed_schedule is not None:  # only now does the schedule exist
            self.schedule.load_state_dict(self._resumed_schedule)


class FineTuneModule(TransferModule):
    """All parameters train: the prefix is empty."""


class FreezeModule(TransferModule):
    """A frozen prefix in front of the rest; it is not in checkpoints, as it never changes."""

    def __init__(self, rest: nn.Module, prefix: Prefix, **settings: Any) -> None:
        super().__init__(rest, **settings)
        self.prefix, self.prefix_key = prefix, weights_key(prefix)

    def enter(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.prefix(pictures)

    def whole(self) -> dict[str, torch.Tensor]:
        return join(self.prefix, self.rest)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {k: v for k, v in state.items() if not k.startswith("prefix.")}
        checkpoint["prefix_key"] = self.prefix_key

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        if checkpoint["prefix_key"] != self.prefix_key:
            raise CheckpointError(
                "the frozen part's weights are not those this run began with: put the same "
                "weights back in place (model.weights in its config.yaml), or start a new run"
            )
        prefix = {f"prefix.{name}": tensor for name, tensor in self.prefix.state_dict().items()}
        checkpoint["state_dict"] |= prefix
