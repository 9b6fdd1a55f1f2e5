"""Learning-rate schedules, stepped by the module itself.

Lightning drops one ReduceLROnPlateau step at every resume, and counts batches rather than optimizer
steps; so none of them is handed to it.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CyclicLR, LambdaLR, OneCycleLR, ReduceLROnPlateau, StepLR

from carsclf.errors import ConfigError

TINY = 1e-6  # of a step
MOMENTA = (0.85, 0.95)  # at the highest and the lowest rate: torch's for OneCycleLR


@dataclass
class Schedule:
    """A torch scheduler, when it moves (after every step, or every epoch), and what."""

    scheduler: Any  # None for a constant rate
    per_step: bool = False
    monitor: str | None = None  # the metric a plateau is seen in
    moves: tuple[str, ...] = ("lr",)  # the settings of the optimizer that it moves

    def after_step(self, length: float = 1) -> None:
        """length: of the steps that it was made for, as many as this one takes of an epoch."""
        if self.scheduler is None or not self.per_step:
            return
        if length != 1:
            # an epoch ends on a whole step, whatever its parts add up to
            there = self.scheduler.last_epoch + length
            whole = round(there)
            self.scheduler.last_epoch = (whole if abs(there - whole) < TINY else there) - 1
        self.scheduler.step()

    def after_epoch(self, metrics: dict[str, float]) -> None:
        if self.scheduler is None or self.per_step:
            return
        if self.monitor is None:
            self.scheduler.step()
        elif self.monitor in metrics:
            self.scheduler.step(metrics[self.monitor])
        else:
            raise ConfigError(f"schedule.monitor={self.monitor}: expected one of {sorted(metrics)}")

    def state_dict(self) -> dict[str, Any]:
        state = {} if self.scheduler is None else self.scheduler.state_dict()
        return {k: v for k, v in state.items() if k != "lr_lambdas"}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.scheduler is not None:
            # how long it is, is what it was made for: a training may have been shortened since
            there = {k: v for k, v in state.items() if k not in ("total_steps", "_schedule_phases")}
            self.scheduler.__dict__.update(there)


def constant(optimizer: Optimizer, epochs: int, steps: int) -> Schedule:
    """The learning rate stays as it is."""
    return Schedule(None)


def step(optimizer: Optimizer, epochs: int, steps: int, *, factor: float, every: int) -> Schedule:
    """Multiplies by `factor` after every `every` epochs."""
    return Schedule(StepLR(optimizer, step_size=every, gamma=factor))


def plateau(
    optimizer: Optimizer, epochs: int, steps: int, *, factor: float, patience: int, monitor: str
) -> Schedule:
    """Multiplies by `factor` when `monitor` has not fallen for `patience` epochs.

    The study watches the training loss (`train/loss`).
    """
    if not 0 <= factor < 1:
        raise ConfigError(f"schedule.factor={factor}: expected a share in [0, 1)")
    mode = "min" if monitor.endswith("loss") else "max"
    scheduler = ReduceLROnPlateau(optimizer, mode, factor=factor, patience=patience)
    return Schedule(scheduler, monitor=monitor)


def cosine(
    optimizer: Optimizer, epochs: int, steps: int, *, warmup_epochs: float, final_factor: float
) -> Schedule:
    """Linear warm-up, then half a cosine down to `final_factor` of the rate, per step.

    Loshchilov and Hutter 2017 (SGDR), without restarts. `steps` is per epoch.
    """
    total, warmup = epochs * steps, round(warmup_epochs * steps)

    def factor(done: int) -> float:
        if done < warmup:
            return (done + 1) / warmup
        return _cosine(min(1.0, (done - warmup) / max(1, total - warmup)), final_factor)

    return Schedule(LambdaLR(optimizer, factor), per_step=True)


def one_cycle(
    optimizer: Optimizer, epochs: int, steps: int, *, warmup_share: float, momentum: bool
) -> Schedule:
    """Up to the optimizer's rate, then down to nearly nothing, per step (Smith and Topin 2018).

    `momentum` lets momentum (or beta1) move against the rate, as in the paper.
    """
    peaks = [group["lr"] for group in optimizer.param_groups]
    scheduler = OneCycleLR(
        optimizer,
        max_lr=peaks,
        total_steps=epochs * steps + 1,  # torch steps once when it is made
        pct_start=warmup_share,
        cycle_momentum=momentum and _has_momentum(optimizer),
    )
    return Schedule(scheduler, per_step=True)


def cyclical(
    optimizer: Optimizer,
    epochs: int,
    steps: int,
    *,
    policy: str,
    low: float,
    cycle_epochs: float,
    factor: float,
    momentum: bool,
) -> Schedule:
    """From `low` of the rate up to it and back in each cycle, in straight lines, per step.

    policy: triangular; triangular2, half as high in each further cycle; exp_range, `factor` as high
    after a cycle's steps, falling with each of them. Smith 2017 (CLR). `momentum` lets momentum (or
    beta1) move against the rate, between the values of one_cycle.
    """
    length = _cycle(cycle_epochs, steps)
    peaks = [group["lr"] for group in optimizer.param_groups]
    scheduler = CyclicLR(
        optimizer,
        base_lr=[low * peak for peak in peaks],
        max_lr=peaks,
        step_size_up=length / 2,  # type: ignore[arg-type]  # torch makes a float of it
        mode=policy,  # type: ignore[arg-type]
        gamma=factor ** (1 / length),
        cycle_momentum=momentum and _has_momentum(optimizer),
        base_momentum=MOMENTA[0],
        max_momentum=MOMENTA[1],
    )
    return Schedule(scheduler, per_step=True)


def restarts(
    optimizer: Optimizer,
    epochs: int,
    steps: int,
    *,
    cycle_epochs: float,
    multiplier: float,
    final_factor: float,
) -> Schedule:
    """Half a cosine down to `final_factor` of the rate, again and again, per step (SGDR).

    Each cycle is `multiplier` times as long as the one before. Loshchilov and Hutter 2017. torch's
    own has one lowest rate for all groups, where ours is a share of each group's.
    """
    first = _cycle(cycle_epochs, steps)

    def factor(done: int) -> float:
        since, length = float(done), first
        while since >= length:
            since, length = since - length, length * multiplier
        return _cosine(since / length, final_factor)

    return Schedule(LambdaLR(optimizer, factor), per_step=True)


def stable_decay(
    optimizer: Optimizer,
    epochs: int,
    steps: int,
    *,
    warmup_epochs: float,
    decay_share: float,
    decay: str,
    final_factor: float,
) -> Schedule:
    """Linear warm-up, the rate as it is, and a decay over the last `decay_share`, per step (WSD).

    decay: linear; sqrt, which is 1 - sqrt(done). Hu et al. 2024 (MiniCPM), Haegele et al. 2024. The
    rates before the decay do not depend on `epochs`.
    """
    total, warmup = epochs * steps, round(warmup_epochs * steps)
    start = total - round(decay_share * total)

    def factor(done: int) -> float:
        if done < warmup:
            return (done + 1) / warmup
        progress = min(1.0, max(0, done - start) / max(1, total - start))
        left = 1 - (math.sqrt(progress) if decay == "sqrt" else progress)
        return final_factor + (1 - final_factor) * left

    return Schedule(LambdaLR(optimizer, factor), per_step=True)


def _cycle(epochs: float, steps: int) -> float:
    """Steps of a cycle; raises ConfigError for fewer than two, of which each begins anew."""
    length = epochs * steps
    if length < 2:
        raise ConfigError(
            f"schedule.cycle_epochs={epochs} is a cycle of {length:.3g} steps, of {steps} in an "
            "epoch: expected 2 or more"
        )
    return length


def _has_momentum(optimizer: Optimizer) -> bool:
    return "betas" in optimizer.defaults or optimizer.defaults["momentum"] > 0


def _cosine(progress: float, last: float) -> float:
    """Half a cosine from 1, at progress 0, to `last`, at 1."""
    return last + (1 - last) * (1 + math.cos(math.pi * progress)) / 2


def penalties(
    optimizer: Optimizer, epochs: int, steps: int, *, low: float, high: float
) -> Schedule:
    """One penalty (weight_decay) an epoch, from `high` down to `low` in equal ratios.

    Where a row holds several vectors, the epochs are shared out among each alone and all of them.
    """
    if not 0 < low < high:
        raise ConfigError(f"schedule.low={low}, schedule.high={high}: expected 0 < low < high")
    vectors = getattr(optimizer, "vectors", 1)
    turns = [*range(1, vectors + 1), 0] if vectors > 1 else [0]
    if epochs < len(turns):
        raise ConfigError(
            f"trainer.max_epochs={epochs}: {len(turns)} kinds of heads (each of {vectors} pooled "
            f"vectors alone, and all of them) need at least {len(turns)} epochs"
        )
    scheduler = FallingPenalty(optimizer, epochs, low, high, turns)
    return Schedule(scheduler, moves=("weight_decay", "vector")[: min(vectors, 2)])


class FallingPenalty:
    """Sets each group's weight_decay and vector, at once and at each step."""

    def __init__(
        self, optimizer: Optimizer, count: int, low: float, high: float, turns: list[int]
    ) -> None:
        shares = [len(range(i, count, len(turns))) for i in range(len(turns))]
        self._values = [
            (penalty, vector)
            for vector, share in zip(turns, shares, strict=True)
            for penalty in np.geomspace(high, low, share).tolist()
        ]
        self._optimizer, self.done = optimizer, 0
        self._set()

    def _set(self) -> None:
        for group in self._optimizer.param_groups:
            now = self._values[min(self.done, len(self._values) - 1)]
            group["weight_decay"], group["vector"] = now

    def step(self) -> None:
        self.done += 1
        self._set()

    def state_dict(self) -> dict[str, int]:
        return {"done": self.done}
