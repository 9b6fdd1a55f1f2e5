"""A schedule gone through without a training, to be looked at before one."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig
from torch.optim import Optimizer

from carsclf.figures.rates import draw_schedule
from carsclf.training.averaging import Average
from carsclf.training.configuration import WHOLE, option_of
from carsclf.training.modules import TransferModule
from carsclf.training.schedule_free import warmed
from carsclf.training.schedules import Schedule

MOST = 5000  # steps: more than a figure has room for


def look_at_schedule(config: DictConfig, module: TransferModule, folder: Path) -> None:
    """Writes `look/schedule.png`: the rate in each step; nothing for an optimizer without a rate.

    A plateau moves by what it is told in a training: it is drawn as if it never had to.
    """
    if option_of(config.optimizer) in WHOLE or not module.horizon:
        return
    each = module.steps_each
    table = curve(
        module.new_optimizer(), module.make_schedule, module.horizon, module.steps, each,
        module.average,
    )  # fmt: skip
    steps = " to ".join(map(str, sorted({min(each), max(each)})))
    title = f"schedule={option_of(config.schedule)}, {steps} steps in an epoch"
    if monitor := config.schedule.get("monitor"):
        title += f", as long as {monitor} gets better"
    draw_schedule(table, title, folder / "look" / "schedule.png")


def curve(
    optimizer: Optimizer,
    make_schedule: Callable[..., Schedule],
    epochs: int,
    steps: int,
    steps_each: Sequence[int] = (),
    average: Average | None = None,
) -> pd.DataFrame:
    """Columns epoch (where each step begins), group, lr, and momentum (or beta1) where it moves.

    steps_each: of each epoch, where they differ; average: which may hold the rate. Of long
    trainings not all steps, but at least MOST of them.
    """
    # before a schedule moves them
    own: list[Any] = [group.get("lr") for group in optimizer.param_groups]
    schedule, rows = make_schedule(optimizer, epochs, steps), []
    each = list(steps_each) or [steps] * epochs
    every = max(1, sum(each) // MOST)
    begins = ((epoch, step, n) for epoch, n in enumerate(each) for step in range(n))
    with warnings.catch_warnings():  # of torch, which takes steps without an optimizer's for a slip
        warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*before.*optimizer.step.*")
        for i, (epoch, step, n) in enumerate(begins):
            held = average is not None and average.holds(epoch)
            if average is not None:
                average.hold_rates(optimizer, own, epoch)
            if i % every == 0:
                rows += [
                    (epoch + step / n, group["name"], warmed(group, i), _momentum(group))
                    for group in optimizer.param_groups
                ]
            if not held:
                schedule.after_step(steps / n)
            if step + 1 == n and schedule.monitor is None:
                schedule.after_epoch({})
    table = pd.DataFrame(rows, columns=["epoch", "group", "lr", "momentum"])
    moves = len(set(table["momentum"])) > 1
    return table if moves else table.drop(columns="momentum")


def _momentum(group: dict[str, Any]) -> float:
    return group["betas"][0] if "betas" in group else group.get("momentum", 0.0)
