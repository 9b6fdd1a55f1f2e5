"""The decision at a glance: what to use first, then a figure per question, above the sections."""

from collections.abc import Iterator

from carsclf.report.context import Context
from carsclf.report.groups import WORDS, Group, best_by_mode
from carsclf.report.page import Figure
from carsclf.report.pairs import Pair, ahead_of, retuned, searched
from carsclf.report.published import WORKERS
from carsclf.report.studies import StudyMaterial
from carsclf.report.words import ends, hours, percent, points


def glance(context: Context) -> list[Figure]:
    """What the material can tell, in the order of the sections."""
    if not context.groups:
        return []
    questions = (_recommended, _models, _search, _cost, _parallel, _errors)
    return [figure for question in questions for figure in question(context)]


def _recommended(context: Context) -> Iterator[Figure]:
    """What to use, how right it is, what it costs, and what it is better than."""
    trained = [group for group in context.groups if group.runs]
    ahead = context.groups[0]
    if not trained:
        yield Figure(f"Retrain this: {ahead.label}", _flattering(context, ahead), "search")
        return
    best = trained[0]
    many = f"mean of {len(best.runs)} runs, " if len(best.runs) > 1 else ""
    said = [
        f"{context.split} {percent(best.accuracy, 1)}{ends(best.interval)}",
        f"{many}one training takes {hours(best.training)}{best.uncounted}",
    ]
    if len(trained) > 1:
        said.append(_lead(context, Pair(max(trained[1:], key=lambda g: g.accuracy), best)))
    if not ahead.runs:
        said.append(f"{ahead.label}: {_flattering(context, ahead)}")
    yield Figure(f"Use this: {best.label}", "; ".join(said), "models")


def _lead(context: Context, pair: Pair) -> str:
    """Over the next best, whichever it is; where a final passed over a better one, that."""
    if pair.gain < 0:
        ahead = Pair(pair.second, pair.first)
        return (
            f"{ahead.second.label} is {points(ahead.gain, 1)} points{ends(ahead.interval())} ahead "
            f"here, but its study's {context.final} did not take it for better"
        )
    interval = pair.interval()
    gain = f"{points(pair.gain, 1)} points{ends(interval)}"
    unequal = f" (not alike: {pair.unequal})" if pair.unequal else ""
    if interval and interval.low <= 0:
        return f"not settled against {pair.first.label}, the next best: {gain}{unequal}"
    return f"{gain} over {pair.first.label}, the next best{unequal}"


def _flattering(context: Context, group: Group) -> str:
    study = group.study
    assert study is not None
    return (
        f"{percent(group.accuracy, 1)} on validation is {study.best_of} "
        "on the photos the search chose by, and flatters until it is retrained"
    )


def _models(context: Context) -> Iterator[Figure]:
    modes = list(best_by_mode(context.groups).values())
    if len(modes) > 1:
        first, second = modes[:2]
        over = f"{WORDS.get(first.mode, first.mode)} over {WORDS.get(second.mode, second.mode)}"
        pair = Pair(second, first)
        which = "kept" if any(ahead_of(context.groups, g) for g in modes[:2]) else "best"
        what = f"points{ends(pair.interval())}, {over}, {which} of each"
        yield Figure(points(pair.gain, 1), what, "models")


def _search(context: Context) -> Iterator[Figure]:
    for study in context.material.studies:
        if study.summary.final and study.keeps_incumbent:
            yield Figure("nothing better", _kept(context, study), "search")
        elif pair := searched(context.groups, str(study.folder)):
            over = f"over {pair.first.label}, the best known without it"
            trial = "" if pair.second.runs else ", not retrained"
            what = (
                f"points{ends(pair.interval())} from the search, {pair.second.kind}{trial}, {over}"
            )
            yield Figure(points(pair.gain, 1), what, "search")


def _kept(context: Context, study: StudyMaterial) -> str:
    """That a final kept the incumbent, and how its rival does here."""
    pair = retuned(context.groups, str(study.folder))
    if pair is None:
        return f"than its incumbent, by the final of {study.name}"
    return (
        f"than {pair.first.label}, by the final of {study.name}; {pair.second.label}: "
        f"{points(pair.gain, 1)} points{ends(pair.interval())} on {context.split}"
    )


def _cost(context: Context) -> Iterator[Figure]:
    for group in best_by_mode([g for g in context.groups if g.runs]).values():
        what = f"one training, {group.label}{group.uncounted}"
        yield Figure(hours(group.training), what, "cost")


def _parallel(context: Context) -> Iterator[Figure]:
    for study in context.material.studies:
        if study.scaling is not None and study.summary.trials > 1:
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
