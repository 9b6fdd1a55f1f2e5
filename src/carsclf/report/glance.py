"""The decision at a glance: one figure per question, above the sections."""

from collections.abc import Iterator
from statistics import fmean

from carsclf.report.context import Context
from carsclf.report.groups import WORDS, best_by_mode
from carsclf.report.page import Figure
from carsclf.report.pairs import Pair, searched
from carsclf.report.published import WORKERS
from carsclf.report.words import hours, percent, points


def glance(context: Context) -> list[Figure]:
    """What the material can tell, in the order of the sections."""
    if not context.groups:
        return []
    questions = (_models, _search, _cost, _parallel, _errors)
    return [figure for question in questions for figure in question(context)]


def _models(context: Context) -> Iterator[Figure]:
    best = context.groups[0]
    yield Figure(percent(best.accuracy, 1), f"top-1 of {best.label}", "models")
    modes = list(best_by_mode(context.groups).values())
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
    for group in best_by_mode([g for g in context.groups if g.runs]).values():
        yield Figure(hours(fmean(group.hours)), f"one training, {group.kind}", "cost")


def _parallel(context: Context) -> Iterator[Figure]:
    for study in context.material.studies:
        if study.scaling is not None:
            took = study.scaling["hours"].to_numpy(float)  # of 1, 2, ... workers
            what = f"{WORKERS} workers for {study.name} (simulated), {hours(took[0])} for one"
            yield Figure(hours(took[WORKERS - 1]), what, "parallel")


def _errors(context: Context) -> Iterator[Figure]:
    for group in context.predicted[:1]:
        kinds = group.error_kinds
        if kinds is not None and kinds["errors"].to_numpy().any():
            near = 1 - kinds.set_index("kind").loc["other make", "share"]  # type: ignore[operator]
            yield Figure(
                percent(near, 0), f"of the errors of {group.label} name the right make", "errors"
            )
