"""A schedule that writes down every epoch that is really trained, whoever trains it."""

import time
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from carsclf.training import schedules


def plateau(
    optimizer: Optimizer, epochs: int, steps: int, *, log: str, pause: float = 0.0, **options: Any
) -> schedules.Schedule:
    """The project's plateau schedule, one line in `log` and `pause` seconds per epoch."""
    schedule = schedules.plateau(optimizer, epochs, steps, **options)
    step = schedule.after_epoch

    def after_epoch(metrics: dict[str, float]) -> None:
        step(metrics)
        with Path(log).open("a") as file:
            file.write("epoch\n")
        time.sleep(pause)

    schedule.after_epoch = after_epoch  # type: ignore[method-assign]
    return schedule
