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


def test_what_an_accelerator_does_once_is_no_part_of_it(taking, monkeypatch) -> None:
    monkeypatch.setattr("torch.accelerator.synchronize", lambda device: None)
    card = torch.device("cuda")
    # on an H200 the first step of a candidate took up to 23 s, and the ones behind it milliseconds
    assert timing.pace(taking(iter([23.0, 0.2, 0.1, 0.3, 0.2, 0.2, *[9.0] * 9])), card, 1.0) == (
        pytest.approx(0.2)
    )
    slow_to_load = taking(iter([23.0, *[0.01] * 50]))
    quick_to_load = taking(iter([9.0, *[0.02] * 50]))
    found = timing.timings({"a": slow_to_load, "b": quick_to_load}, card)
    assert found == pytest.approx({"a": 10.0, "b": 20.0})
