"""A study's wall-clock time on other numbers of workers, from its recorded events.

Assumptions, all of which the page repeats. Decisions are held fixed: every trial runs the epochs
it ran, in the recorded order of starts. A *segment* is what one trial ran between two pauses. A
first segment may start as soon as a worker is free: proposing costs nothing and needs no result,
which flatters large numbers of workers (a search that must propose 100 trials at once knows less).
A later segment is a promotion: it waits for every segment that had ended when the record starts
it, for the decision may rest on any of them, which is the longest such a wait can be. So do the
trainings of a final, for all that had ended when it was lined up. A worker's seconds are those of
the epochs it ran; starting up, saving and sending are left out.
"""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Segment:
    """What one trial ran in one go; `start`: place among starts, `end`: place among ends."""

    trial: int
    seconds: float
    promoted: bool
    """Whether it waits for others: a paused trial goes on, or the final begins."""
    before: int
    """Segments that had ended when it started; what a promotion waits for."""
    end: int


def segments(events: Iterable[dict[str, Any]]) -> list[Segment]:
    """The segments of a study's events.jsonl, in the order of their starts.

    A worker that was lost leaves its trial's segment open: it goes on when the trial does.
    """
    order: list[dict[str, Any]] = []
    running: dict[int, dict[str, Any]] = {}
    seen: set[int] = set()
    final: dict[int, int] = {}
    ended = 0
    for event in events:
        kind, trial = event["kind"], event.get("trial", -1)
        if kind == "suggest" and event.get("role") == "final":
            final[trial] = ended
        elif kind == "start" and trial not in running:
            before = ended if trial in seen else final.get(trial, ended)
            waits = trial in seen or trial in final
            running[trial] = {"trial": trial, "seconds": 0.0, "promoted": waits, "before": before}
            order.append(running[trial])
            seen.add(trial)
        elif kind == "result" and trial in running:
            running[trial]["seconds"] += event["seconds"]
        elif trial in running and (
            kind == "reject" or (kind == "decision" and event["decision"] != "CONTINUE")
        ):
            running.pop(trial)["end"] = ended
            ended += 1
    for segment in running.values():  # of a study that was interrupted
        segment["end"] = ended
        ended += 1
    return [Segment(**segment) for segment in order]


def schedule(parts: Sequence[Segment], workers: int) -> float:
    """Seconds until all segments are done: list scheduling, the earliest start in the record first.

    Between sum / workers and sum. Whoever is free takes the first segment that may start. That
    only the next new trial and the next promotion need looking at is because a promotion that
    starts later in the record never waits for less.
    """
    fresh = [i for i, part in enumerate(parts) if not part.promoted]
    later = [i for i, part in enumerate(parts) if part.promoted]
    done = np.zeros(len(parts), bool)
    finished, now, a, b = 0, 0.0, 0, 0
    busy: list[tuple[float, int]] = []
    while a < len(fresh) or b < len(later) or busy:
        while len(busy) < workers:
            ready = [fresh[a]] if a < len(fresh) else []
            if b < len(later) and parts[later[b]].before <= finished:
                ready.append(later[b])
            if not ready:
                break
            i = min(ready)
            a, b = (a, b + 1) if parts[i].promoted else (a + 1, b)
            heapq.heappush(busy, (now + parts[i].seconds, i))
        now, i = heapq.heappop(busy)
        done[parts[i].end] = True
        while finished < len(parts) and done[finished]:
            finished += 1
    return now


def scaling(parts: Sequence[Segment], most: int = 100) -> pd.DataFrame:
    """Columns: workers (1 to `most`), hours, idle (share of workers' time in [0, 1)), division.

    division: hours of one worker / workers, what it would take if nobody ever waited.
    """
    total = sum(part.seconds for part in parts)
    counts = np.arange(1, most + 1)
    hours = np.array([schedule(parts, int(n)) for n in counts]) / 3600
    alone = total / 3600 / counts
    idle = 1 - np.divide(alone, hours, out=np.ones(most), where=hours > 0)
    return pd.DataFrame(
        {"workers": counts, "hours": hours, "idle": idle.clip(0, 1), "division": alone}
    )


def most_at_once(events: Iterable[dict[str, Any]]) -> int:
    """The largest number of trials that ran at the same time."""
    running: set[int] = set()
    most = 0
    for event in events:
        kind, trial = event["kind"], event.get("trial", -1)
        if kind == "start":
            running.add(trial)
            most = max(most, len(running))
        elif kind in ("error", "reject") or (
            kind == "decision" and event["decision"] != "CONTINUE"
        ):
            running.discard(trial)
    return most
