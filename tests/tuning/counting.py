"""A schedule that writes down every epoch that is really trained, whoever trains it."""

from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from carsclf.training import schedules


def plateau(
    optimizer: Optimizer, epochs: int, steps: int, *, log: str, **options: Any
) -> schedules.Schedule:
    """The project's plateau schedule, and one line in `log` per epoch."""
    schedule = schedules.plateau(optimizer, epochs, steps, **options)
    step = schedule.after_epoch

    def after_epoch(metrics: dict[str, float]) -> None:
        step(metrics)
        with Path(log).open("a") as file:
            file.write("epoch\n")

    schedule.after_epoch = after_epoch  # type: ignore[method-assign]
    return schedule
