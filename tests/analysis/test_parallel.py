"""Schedules of recorded segments, small enough to draw on paper."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carsclf.analysis.parallel import Segment, most_at_once, scaling, schedule, segments


def ran(trial: int, seconds: list[float], decision: str) -> list[dict[str, Any]]:
    """The events of one segment."""
    events: list[dict[str, Any]] = [{"kind": "start", "trial": trial, "epoch": 0}]
    for i, second in enumerate(seconds):
        events.append({"kind": "result", "trial": trial, "seconds": second})
        last = i == len(seconds) - 1
        events.append(
            {"kind": "decision", "trial": trial, "decision": decision if last else "CONTINUE"}
        )
    return events


HALVING = [  # three trials pause after a second, the best goes on for four
    *ran(0, [1], "PAUSE"),
    *ran(1, [1], "PAUSE"),
    *ran(2, [1], "STOP"),
    *ran(0, [2, 2], "STOP"),
]


def test_segments_of_a_record() -> None:
    parts = segments(HALVING)
    assert [p.trial for p in parts] == [0, 1, 2, 0]
    assert [p.seconds for p in parts] == [1, 1, 1, 4]
    assert [p.promoted for p in parts] == [False, False, False, True]
    assert parts[3].before == 3
    assert most_at_once(HALVING) == 1


def test_a_promotion_waits_for_what_it_rests_on() -> None:
    parts = segments(HALVING)
    assert [schedule(parts, n) for n in (1, 2, 3, 50)] == [7, 6, 5, 5]
    table = scaling(parts, most=3)
    assert table["division"].tolist() == pytest.approx([7 / 3600, 3.5 / 3600, 7 / 3 / 3600])
    assert table["idle"].tolist() == pytest.approx([0, 1 - 3.5 / 6, 1 - 7 / 15])


def test_a_lost_worker_leaves_the_segment_open() -> None:
    lost = {"kind": "error", "trial": 0, "error": "gone", "lost": True}
    first, second = ran(0, [1, 1], "CONTINUE"), ran(0, [3], "STOP")
    parts = segments([*first, lost, *second])
    assert [(p.seconds, p.promoted) for p in parts] == [(5, False)]


def test_trials_side_by_side_are_counted() -> None:
    starts = [{"kind": "start", "trial": i, "epoch": 0} for i in range(3)]
    ends = [{"kind": "decision", "trial": i, "decision": "STOP"} for i in range(3)]
    assert most_at_once([*starts[:2], ends[0], starts[2], *ends[1:]]) == 2


@given(
    st.lists(st.tuples(st.floats(0.1, 10), st.integers(0, 3)), min_size=1, max_size=25),
    st.integers(1, 8),
)
def test_bounds(trials: list[tuple[float, int]], workers: int) -> None:
    """Between the longest wait-free schedule and one worker's; nothing is left out."""
    events = [e for i, (s, _) in enumerate(trials) for e in ran(i, [s], "PAUSE")]
    for i, (seconds, rounds) in enumerate(trials):
        for _ in range(rounds):
            events += ran(i, [seconds], "PAUSE")
    parts = segments(events)
    total = sum(p.seconds for p in parts)
    took = schedule(parts, workers)
    assert total / workers - 1e-9 <= took <= total + 1e-9
    assert took >= max(p.seconds for p in parts)
    assert schedule(parts, 1) == pytest.approx(total)


def test_an_empty_study() -> None:
    assert segments([]) == []
    assert schedule([], 4) == 0
    assert schedule([Segment(0, 2.0, False, 0, 0)], 4) == 2


def test_a_final_begins_when_its_search_has_ended() -> None:
    """Searched for 10 s and 30 s, then two trainings of 20 s: 80 s alone, 30 + 20 s for two."""
    events: list[dict[str, Any]] = []
    for trial, seconds in enumerate((10.0, 30.0, 20.0, 20.0)):
        if trial == 2:  # both are lined up before the first of them starts
            events += [{"kind": "suggest", "trial": n, "role": "final"} for n in (2, 3)]
        events += ran(trial, [seconds], "STOP")
    parts = segments(events)
    assert [schedule(parts, workers) for workers in (1, 2, 9)] == [80, 50, 50]
