"""Seconds per step on a clock that each step moves on."""

from collections.abc import Callable, Iterator

import pytest
import torch

from carsclf.machine import timing


@pytest.fixture
def taking(monkeypatch: pytest.MonkeyPatch) -> Callable[[Iterator[float]], timing.Step]:
    """A step that takes as long as the next of some numbers says."""
    now = [0.0]

    def make(seconds: Iterator[float]) -> timing.Step:
        def step() -> None:
            now[0] += next(seconds)

        return step

    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    return make


@pytest.mark.parametrize(
    ("each", "expected"),
    [
        ([5.0, 1.0, 2.0, 1.0], 5.0),  # the first alone took longer than three times a second
        ([0.5, 0.1, 0.3, 0.2, 0.1], 0.2),  # the first pays for allocations, and is left out
        ([2.0, 1.5, 9.0], 1.5),
    ],
)
def test_pace_is_a_median_behind_the_first(each: list[float], expected: float, taking) -> None:
    step = taking(iter([*each, *[100.0] * 2]))
    assert timing.pace(step, torch.device("cpu"), 1.0) == pytest.approx(expected)
