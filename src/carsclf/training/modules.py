"""The modes as one LightningModule: a frozen prefix, possibly empty, and a trained rest."""

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from carsclf.data.loaders import Item
from carsclf.data.mixing import Mixing, mix_each
from carsclf.data.wholes import Wholes
from carsclf.errors import CarsclfError, CheckpointError
from carsclf.features.steps import count_steps, gradients_of, train_on_chunk
from carsclf.models.adapt import merged
from carsclf.models.boundary import Prefix, join, key_of
from carsclf.models.networks import split_parameters
from carsclf.models.pixels import Normalise
from carsclf.training.averaging import Average, learns, renew_statistics
from carsclf.training.class_weights import loss_of
from carsclf.training.schedule_free import take_average, take_steps
from carsclf.training.schedules import Schedule
from carsclf.training.validation import Validation, mean_metric

CHECK_EVERY = 25  # steps between looks at the loss: each look waits for the accelerator


class TransferModule(pl.LightningModule):
    """Trains `rest` on what a frozen `prefix` says of pictures, or on the pictures where none is.

    A batch holds pictures, or features: the prefix's outputs, computed before. optimizer(backbone,
    head) and schedule(optimizer, epochs, steps) are partials; `horizon` is the schedule's length in
    epochs, `steps` the optimizer steps per epoch; steps_each: of each epoch, where they differ: a
    step then takes the schedule as much further as it takes the epoch, so that rates hang on how
    far the training is. clip: the largest gradient norm (or value).
    mini_batch: a training batch is a chunk of mini-batches of that many rows of features, and the
    module steps through them by itself. The prefix is not in checkpoints, as it never changes.
    mixing: of training batches. train/loss is then that of the mixed labels, and train/top1 counts
    the label of the larger share: how often the network says what there is most of.
    class_weights: what a training picture of each class counts in the loss.
    averaging(rest, epochs): of the weights, for all that is evaluation; train/* are of the rest.
    unfreezing(rest, heads): the epochs in which parameters begin that do not from the start.
    wholes: val/* are about them, train/* about the classes that train.
    """

    def __init__(
        self,
        rest: nn.Module,
        *,
        prefix: Prefix | None = None,
        heads: tuple[str, ...],
        wholes: Wholes,
        normalise: Normalise,
        optimizer: Callable[..., Optimizer],
        schedule: Callable[..., Schedule],
        horizon: int,
        steps: int,
        seed: int,
        steps_each: Sequence[int] = (),
        label_smoothing: float = 0.0,
        class_weights: np.ndarray | None = None,
        clip: float | None = None,
        clip_algorithm: str = "norm",
        mini_batch: int | None = None,
        mixing: Mixing | None = None,
        averaging: Callable[[nn.Module, int], Average | None] | None = None,
        unfreezing: Callable[[nn.Module, tuple[str, ...]], dict[str, int]] | None = None,
    ) -> None:
        super().__init__()
        self.prefix, self.rest, self.heads = prefix, rest, heads
        self.average = None if averaging is None else averaging(rest, horizon)
        self.begins = {} if unfreezing is None else unfreezing(rest, heads)
        self.clip, self.clip_algorithm = clip, clip_algorithm
        self.mini_batch, self.mixing = mini_batch, mixing
        self.automatic_optimization = mini_batch is None
        self.normalise: Normalise = normalise
        self.make_optimizer, self.make_schedule = optimizer, schedule
        self.horizon, self.steps, self.seed = horizon, steps, seed
        self.steps_each = list(steps_each) or [steps] * horizon
        self.loss = loss_of(class_weights, label_smoothing)
        self.train_loss, self.train_top1 = mean_metric(), mean_metric()
        self.wholes, self.validation = wholes, Validation(wholes)
        self.epoch_metrics: dict[str, float] = {}
        self._resumed_schedule: dict[str, Any] | None = None
        self._steps_seen = 0
        self.train()  # Lightning trains a module in the modes that it finds it in

    def forward(self, batch: Item) -> torch.Tensor:
        """Logits (n, classes) for a batch with `pictures` (uint8) or `features`."""
        return (self.rest if self.training else self.judged)(self._inputs(batch))

    @property
    def judged(self) -> nn.Module:
        """What is validated and exported: the average of the weights, as soon as there is one."""
        there = self.average is not None and self.average.begun
        return self.average.module if there else self.rest  # type: ignore[union-attr]

    def _inputs(self, batch: Item) -> torch.Tensor:
        """What the rest takes of a batch."""
        if "features" in batch:
            return self._cast(batch["features"])
        pictures = self.normalise(batch["pictures"])
        return pictures if self.prefix is None else self.prefix(pictures)

    def _cast(self, features: torch.Tensor) -> torch.Tensor:
        """Cached rows, possibly half, as `rest` wants them."""
        layout = torch.preserve_format
        if features.ndim == 4:
            last = self.normalise.channels_last
            layout = torch.channels_last if last else torch.contiguous_format
        return features.to(next(self.rest.parameters()).dtype, memory_format=layout)

    def training_step(self, batch: Item, batch_idx: int) -> Any:
        if self.mini_batch is not None:
            return self._train_on_chunk(batch, self.mini_batch)
        batch = batch if self.mixing is None else self.mixing(batch)
        logits = self(batch).float()  # a softmax in bfloat16 loses too much
        loss = self.loss(logits, batch["targets"])
        if batch_idx % CHECK_EVERY == 0:
            # of all ranks, so that none waits for one that gave up
            self._check(float(self.trainer.strategy.reduce(loss.detach(), reduce_op="mean")))
        self.train_loss.update(loss.detach().expand(len(logits)))
        self.train_top1.update((logits.argmax(1) == labels(batch["targets"])).float())
        return loss

    def _train_on_chunk(self, batch: Item, mini_batch: int) -> dict[str, int]:
        batch = batch if self.mixing is None else mix_each(self.mixing, batch, mini_batch)
        targets = batch["targets"]
        logits = train_on_chunk(
            gradients_of(self.rest, self.loss),
            self.loss,
            self.optimizers(use_pl_optimizer=False),  # type: ignore[arg-type]
            self._cast(batch["features"]),
            targets,
            batch_size=mini_batch,
            after_step=self._after_step,
            clip=self.clip_by_itself,
        ).float()
        loss, n = self.loss(logits, targets), len(targets)
        self._check(float(loss))
        self.train_loss.update(loss.expand(n))
        self.train_top1.update((logits.argmax(1) == labels(targets)).float())
        steps = -(-n // mini_batch)
        count_steps(self.trainer, steps)
        return {"steps": steps}

    def configure_gradient_clipping(self, optimizer: Optimizer, *_: Any, **__: Any) -> None:
        # ours in every mode: Lightning's own refuses a module that steps by itself
        if self.clip:
            self.clip_gradients(optimizer, self.clip, self.clip_algorithm)

    def clip_by_itself(self, parameters: list[nn.Parameter]) -> None:
        """Where the module steps by itself, what Lightning does elsewhere."""
        if self.clip and self.clip_algorithm == "value":
            nn.utils.clip_grad_value_(parameters, self.clip)
        elif self.clip:
            nn.utils.clip_grad_norm_(parameters, self.clip)

    def validation_step(self, batch: Item, batch_idx: int) -> None:
        self.validation.update(self(batch).float(), batch["targets"])

    def begin(self, epoch: int) -> None:
        """Lets train what does in that epoch."""
        if self.begins:
            for name, first in self.begins.items():
                self.rest.get_parameter(name).requires_grad_(epoch >= first)
            self.train()  # BatchNorm of what waits keeps its statistics

    def on_train_epoch_start(self) -> None:
        self.epoch_metrics = {}  # an epoch without validation has no figures of an earlier one
        take_steps(self.optimizers(use_pl_optimizer=False))
        self.begin(self.current_epoch)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        # dropout must not depend on what was drawn before a kill: each epoch has its own seed. Not
        # at its start: loaders draw when they begin, which after a resume is before that
        if batch_idx == 0:
            torch.manual_seed((self.seed * 1_000_003 + self.current_epoch) % 2**63)
            if self.average is not None:
                self.average.hold_rates(self.optimizers(), self._rates, self.current_epoch)

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        # batches whose gradients only add up are no steps
        if self.automatic_optimization and self.trainer.global_step > self._steps_seen:
            self._steps_seen = self.trainer.global_step
            self._after_step()
        if self.trainer.is_last_batch:
            again = (self.trainer, self._inputs, self.mini_batch)
            if self.average is not None:
                self.average.after_epoch(self.rest, *again)
            if take_average(self.optimizers(use_pl_optimizer=False)):
                renew_statistics(self.rest, self.rest, *again)
                self.train()

    def _after_step(self) -> None:
        if self.average is None or not self.average.holds(self.current_epoch):
            self.schedule.after_step(self.steps / self.steps_each[self.current_epoch])
        if self.average is not None:
            self.average.after_step(self.rest)

    def on_validation_epoch_start(self) -> None:
        self._check(float(self.train_loss.compute()))  # the cause, before what follows from it

    def on_validation_epoch_end(self) -> None:
        self._collect(self.validation.collect())
        self._check(self.epoch_metrics["val/loss"], "validation")

    def on_train_epoch_end(self) -> None:
        self._collect(
            {"train/loss": self.train_loss.compute(), "train/top1": self.train_top1.compute()}
        )
        self._check(self.epoch_metrics["train/loss"])
        self.train_loss.reset()
        self.train_top1.reset()
        groups = self.optimizers().param_groups  # type: ignore[union-attr]
        for moved in self.schedule.moves:
            self._collect({f"{moved}/{group['name']}": group[moved] for group in groups})
        self.schedule.after_epoch(self.epoch_metrics)

    def _collect(self, values: dict[str, Any]) -> None:
        # plain floats: a tensor or numpy scalar in a plateau's state would not load again
        plain = {name: float(value) for name, value in values.items()}
        self.epoch_metrics |= plain
        if not self.trainer.sanity_checking:
            self.log_dict(plain, rank_zero_only=True, batch_size=1)

    def _check(self, loss: float, kind: str = "training") -> None:
        if not math.isfinite(loss):
            raise CarsclfError(
                f"the {kind} loss became {loss} in epoch {self.current_epoch + 1}: lower "
                f"optimizer.lr (and optimizer.head_lr_factor); finished epochs are kept in "
                f"{self.trainer.default_root_dir}"
            )

    def new_optimizer(self) -> Optimizer:
        """One that has not made a step."""
        return self.make_optimizer(*split_parameters(self.rest, self.heads))

    def configure_optimizers(self) -> Optimizer:
        optimizer = self.new_optimizer()
        # before a schedule moves them; L-BFGS and grids of heads have none
        self._rates: list[Any] = [group.get("lr") for group in optimizer.param_groups]
        self.schedule: Schedule = self.make_schedule(optimizer, self.horizon, self.steps)
        return optimizer

    def train(self, mode: bool = True) -> "TransferModule":
        super().train(mode)
        for norm in self.rest.modules():  # frozen BatchNorm keeps its statistics
            if isinstance(norm, _BatchNorm) and not learns(norm):
                norm.eval()
        return self

    def whole(self) -> dict[str, torch.Tensor]:
        """The classifier's state dict under timm's names, the frozen part included."""
        rest = merged(self.judged)
        return rest if self.prefix is None else join(self.prefix, rest)

    @property
    def frozen(self) -> dict[str, torch.Tensor]:
        """What never changes, and is not in checkpoints: the prefix, what stays of the rest."""
        named = self.rest.named_parameters()
        stays = {n for n, p in named if not p.requires_grad and n not in self.begins}
        stays = {f"{place}.{name}" for place in ("rest", "average.module") for name in stays}
        state = self.state_dict()
        return {n: t for n, t in state.items() if n in stays or n.startswith("prefix.")}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["schedule"] = self.schedule.state_dict()
        if frozen := self.frozen:
            state = checkpoint["state_dict"]
            checkpoint["state_dict"] = {name: t for name, t in state.items() if name not in frozen}
            checkpoint["prefix_key"] = self._frozen_key

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._resumed_schedule = checkpoint.get("schedule")
        if not (frozen := self.frozen):
            return
        if checkpoint["prefix_key"] != self._frozen_key:
            raise CheckpointError(
                "the frozen part's weights are not those this run began with: put the same "
                "weights back in place (model.weights in its config.yaml), or start a new run"
            )
        checkpoint["state_dict"] |= frozen

    @cached_property
    def _frozen_key(self) -> str:
        stays = {name: t for name, t in self.frozen.items() if name.startswith("rest.")}
        keys = [] if self.prefix is None else [self.prefix.key]  # known: its rows are kept under it
        return "-".join([*keys, *([key_of(stays)] if stays else [])])

    def on_train_start(self) -> None:
        self._steps_seen = self.trainer.global_step
        if self._resumed_schedule is not None:  # only now does the schedule exist
            self.schedule.load_state_dict(self._resumed_schedule)


def labels(targets: torch.Tensor) -> torch.Tensor:
    """(n,) classes; of mixed ones (n, classes) those of the largest share, of equals the first."""
    return targets if targets.ndim == 1 else targets.argmax(1)
