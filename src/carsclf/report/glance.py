"""The decision at a glance: one figure per question, above the sections."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from carsclf.analysis.errors import split_errors
from carsclf.analysis.parallel import scaling, segments
from carsclf.report.context import Context
from carsclf.report.groups import WORDS, Group
from carsclf.report.pairs import Pair, searched
from carsclf.report.words import hours, percent, points

USUAL = 20
"""Workers of the published study."""


@dataclass(frozen=True)
class Figure:
    """A number, what it is, and the section that tells more."""

    value: str
    what: str
    section: str


def glance(context: Context) -> list[Figure]:
    """What the material can tell, in the order of the sections."""
    if not context.groups:
        return []
    questions = (_models, _search, _cost, _parallel, _errors)
    return [figure for question in questions for figure in question(context)]


def _models(context: Context) -> Iterator[Figure]:
    best = context.groups[0]
    yield Figure(percent(best.accuracy, 1), f"top-1 of {best.label}", "models")
    modes = list(_best_by_mode(context.groups).values())
    if len(modes) > 1:
        first, second = modes[:2]
        over = f"{WORDS.get(first.mode, first.mode)} over {WORDS.get(second.mode, second.mode)}"
        yield Figure(points(Pair(second, first).gain, 1), f"points, {over}, best of each", "models")


def _search(context: Context) -> Iterator[Figure]:
    for study in context.material.studies:
        if pair := searched(context.groups, str(study.folder)):
            what = f"points from the search, {pair.second.kind}"
            yield Figure(points(pair.gain, 1), what, "search")


def _cost(context: Context) -> Iterator[Figure]:
    for group in _best_by_mode([g for g in context.groups if g.runs]).values():
        took = sum(run.run.seconds for run in group.runs) / len(group.runs) / 3600
        yield Figure(hours(took), f"one training, {group.kind}", "cost")


def _parallel(context: Context) -> Iterator[Figure]:
    for study in context.material.studies:
        parts = segments(study.events)
        if sum(part.seconds for part in parts):
            took = scaling(parts, USUAL)["hours"]
            what = f"{USUAL} workers for {study.name} (simulated), {hours(took.iloc[0])} for one"
            yield Figure(hours(took.iloc[-1]), what, "parallel")


def _errors(context: Context) -> Iterator[Figure]:
    for group in context.predicted[:1]:
        told = group.predictions
        assert told is not None
        kinds = split_errors(told.targets, told.predicted, told.class_names)
        if kinds is not None and kinds["errors"].to_numpy().any():
            near = 1 - kinds.set_index("kind").loc["other make", "share"]  # type: ignore[operator]
            yield Figure(
                percent(near, 0), f"of the errors of {group.label} name the right make", "errors"
            )


def _best_by_mode(groups: Sequence[Group]) -> dict[str, Group]:
    best: dict[str, Group] = {}
    for group in groups:
        best.setdefault(group.mode, group)
    return best
