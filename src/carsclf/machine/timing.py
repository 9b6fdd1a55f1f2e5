"""How long a step takes on a device, when several candidates take turns."""

import time
from collections.abc import Callable
from statistics import median
from typing import TypeVar

import torch

BUDGET = 3.0  # seconds after which no further round begins
LONGEST = 1.0  # seconds a step of the measurement should take at most, on a CPU
ROUNDS = 5
HOPELESS = 1.3  # times the fastest: not measured again

Step = Callable[[], object]
T = TypeVar("T")


def timings(steps: dict[T, Step], device: torch.device) -> dict[T, float]:
    """Milliseconds per step: medians over rounds in which the candidates take turns."""
    times: dict[T, list[float]] = {choice: [] for choice in steps}
    for step in steps.values():
        _warm_up(step, device)
    racing, began = list(steps), time.perf_counter()
    for turn in range(1 + ROUNDS):
        for choice in racing:
            times[choice].append(_timed(steps[choice], device))
        spent = time.perf_counter() - began
        if turn or spent > BUDGET / 2:  # short first steps tell little
            limit = HOPELESS * min(_median(times[choice]) for choice in racing)
            racing = [choice for choice in racing if _median(times[choice]) <= limit]
        if spent > BUDGET:
            break
    return {choice: 1000 * _median(each) for choice, each in times.items()}


def affordable(most: int, step: Step, device: torch.device) -> int:
    """Pictures per step: few where one takes long, many where the update would else outweigh it.

    What bfloat16 gains grows with the batch, as weights are cast and updated once per step.
    """
    seconds, pictures = _timed(step, device) / 2, 2
    while 2 * pictures <= most and (device.type != "cpu" or 2 * pictures * seconds <= LONGEST):
        pictures *= 2
    return pictures


def pace(step: Step, device: torch.device, seconds: float) -> float:
    """Seconds per step as a clock on the wall has them, neighbours included: what plans need.

    The median of as many as fit into `seconds`, and of three where no more would, behind a first
    one that pays for allocations; fewer where even these would take three times as long.
    """
    times: list[float] = []
    _warm_up(step, device)
    while len(times) < 4 or sum(times) < seconds:
        if sum(times) > 3 * seconds:
            break
        began = time.perf_counter()
        _done(step, device)
        times.append(time.perf_counter() - began)
    return _median(times)


def _warm_up(step: Step, device: torch.device) -> None:
    """An accelerator's first step loads and compiles its kernels: tens of seconds, only once."""
    if device.type != "cpu":
        _done(step, device)


def _done(step: Step, device: torch.device) -> None:
    """What was asked of an accelerator is not done when the call returns."""
    step()
    if device.type != "cpu":
        torch.accelerator.synchronize(device)  # else of the current one, which is the first


def _timed(step: Step, device: torch.device) -> float:
    # on one thread, as in a study with a core per trial, what the neighbours do must not count
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    began = clock()
    _done(step, device)
    return clock() - began


def _median(times: list[float]) -> float:
    """Without the first, which pays for allocations, unless it is all there is: it took long."""
    return median(times[1:] or times)
