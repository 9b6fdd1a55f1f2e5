"""1. Fine-tuning or feature extractor?"""

import math
from collections.abc import Callable
from typing import Any

import pandas as pd

from carsclf.figures.accuracy import draw_accuracies
from carsclf.figures.learning_curves import draw_learning_curves
from carsclf.report.context import Context
from carsclf.report.groups import WORDS, Group, best_by_mode
from carsclf.report.page import Section, Show
from carsclf.report.pairs import Pair, ahead_of, pair_table
from carsclf.report.published import PROTOCOL, any_published, published_accuracy
from carsclf.report.repeat import to_get_a_run
from carsclf.report.words import INTERVAL, count, listed, p_value, percent, points, span, tenths

PAIRED = (
    "Gain in points with a 95 % interval from 10,000 bootstrap draws of the photos (seeds "
    "averaged per photo); McNemar's mid-p for the two runs of median accuracy. Not adjusted for "
    "the number of comparisons."
)


def section(context: Context) -> Section:
    """Accuracy by model and mode, each with its interval, and a paired test for each pair."""
    made = Section("models", "Fine-tuning or feature extractor?")
    groups = context.groups
    if not groups:
        made.answer = "No runs were given, so there is nothing to compare."
        made.commands(to_get_a_run(context, "freeze", None))
        return made
    made.answer = _answer(context)
    table = accuracy_table(context)
    draw = lambda path: draw_accuracies(table, path)  # noqa: E731
    made_of = "Dots: mean over seeds; small dots: seeds; bars: 95 % Wilson intervals"
    hollow = (
        "; hollow diamonds: published" if bool(table["published"].notna().to_numpy().any()) else ""
    )
    context.desk.figure(made, "accuracy", f"{made_of}{hollow}. {context.judged}.", draw)
    caption = (
        f"Top-1, {context.judged}. The interval is Wilson's (95 %) for the mean over seeds: it "
        "tells of the photos; the standard deviation tells of the training."
    )
    context.desk.table(made, "accuracy", table.drop(columns="seeds"), caption, _columns(table))
    if any_published(context.material, groups):
        made.note(PROTOCOL[0].upper() + PROTOCOL[1:] + ".")
    if context.pairs:
        table = pair_table(context.pairs)
        context.desk.table(made, "comparisons", table, PAIRED, pair_columns(table))
        if any(pair.p_value() is None for pair in context.pairs):
            made.note(
                "A dash in place of a test: the two were not judged on the same photos, or "
                "without predictions; data.split_seed=0 trains all seeds on one split, "
                "evaluate.py writes predictions."
            )
    _curves(context, made)
    if len({g.mode for g in groups}) == 1:
        best = groups[0]
        other = "finetune" if best.mode == "freeze" else "freeze"
        lines = to_get_a_run(context, other, best.model)
        made.commands(lines, "Only one mode was given. To compare:")
    return made


PAIR_COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "from": ("from", str),
    "to": ("to", str),
    "gain, points": ("gain", points),
    "95 % from": ("low", points),
    "to ": ("high", points),  # a heading, once more
    "less error": ("less_error", tenths),
    "McNemar p": ("mcnemar_p", p_value),
}


def pair_columns(table: pd.DataFrame) -> Show:
    """The columns to show; where two were not treated alike, in what."""
    unequal = (
        {"not alike in": ("unequal", str)} if table["unequal"].astype(bool).to_numpy().any() else {}
    )
    return PAIR_COLUMNS | unequal


def accuracy_table(context: Context) -> pd.DataFrame:
    """One row per configuration, best first."""
    rows = []
    for group in sorted(context.groups, key=lambda g: -g.accuracy):
        interval = group.interval
        beside = published_accuracy(context.material, group)
        rows.append(
            {
                "label": group.label,
                "model": group.model,
                "mode": group.mode,
                "role": group.role,
                "split": group.split,
                "protocol": context.material.protocol,
                "runs": len(group.runs),
                "images": group.images or math.nan,
                "accuracy": group.accuracy,
                "sd": group.deviation,
                "low": interval.low,
                "high": interval.high,
                "published": math.nan if beside is None else beside,
                "final": _final(group),
                "seeds": group.seeds,
            }
        )
    return pd.DataFrame(rows)


def _columns(table: pd.DataFrame) -> dict:
    columns = {
        "configuration": ("label", str),
        "runs": ("runs", lambda n: str(n) if n else "as the search saw it"),
        "photos": ("images", count),
        "top-1": ("accuracy", percent),
        "± sd": ("sd", lambda v: percent(v).removesuffix(" %")),
        **INTERVAL,
    }
    if bool(table["published"].notna().to_numpy().any()):
        columns["published"] = ("published", percent)
    if table["final"].astype(bool).to_numpy().any():
        columns["its study's final"] = ("final", lambda v: v or "–")
    return columns


def _final(group: Group) -> str:
    """What the final made of it; empty for what was in none."""
    return "" if group.trial is None else "passed over" if group.passed_over else "kept"


def _answer(context: Context) -> str:
    groups = context.groups
    best, by_mode = groups[0], best_by_mode(groups)
    which = {g.mode: "kept" if ahead_of(groups, g) else "best" for g in by_mode.values()}
    if len(by_mode) == 1:
        answer = (
            f"Only {WORDS.get(best.mode, best.mode)} models were given: the {which[best.mode]}, "
            f"{best.label}, is right on {percent(best.accuracy)} ({context.judged})."
        )
    else:
        first, second = list(by_mode.values())[:2]
        pair = Pair(second, first)
        interval, p = pair.interval(), pair.p_value()
        sure = f" (95 % interval {span(interval)}" if interval else ""
        sure += f"; McNemar p {_p(p)})" if interval and p is not None else ")" if interval else ""
        unsettled = ", which these photos do not settle" if interval and interval.low <= 0 else ""
        one, other = (f"{which[g.mode]} {WORDS.get(g.mode, g.mode)}" for g in (first, second))
        answer = (
            f"The {one} model, {first.label}, is right on {percent(first.accuracy)} and the "
            f"{other} one, {second.label}, on {percent(second.accuracy)}: {points(pair.gain)} "
            f"points{sure}{unsettled}; {context.judged}."
        )
    rivals = [rival for g in by_mode.values() if (rival := ahead_of(groups, g))]
    if rivals:
        each = [f"{rival.label} reaches {percent(rival.accuracy)}" for rival in rivals]
        answer += f" Passed over by a {context.final.rstrip(',')}: {listed(each)}."
    lowest, highest = (end(groups, key=lambda g: g.accuracy) for end in (min, max))
    if lowest.accuracy < highest.accuracy:
        apart = Pair(lowest, highest)
        answer += (
            f" Between best and worst ({lowest.label}, {percent(lowest.accuracy)}) lie "
            f"{points(apart.gain).lstrip('+')} points, {percent(apart.less_error, 1)} less error."
        )
    return answer


def _p(p: float) -> str:
    text = p_value(p)
    return text if text.startswith("<") else f"= {text}"


def _curves(context: Context, made: Section) -> None:
    shown = {
        g.label: (g.mode, g.role, run.curves)
        for g in context.groups
        for run in [g.typical or (g.runs[0] if g.runs else None)]
        if run is not None and run.curves is not None and "val/top1" in run.curves
        if len(run.curves) > 1  # one epoch is no curve
    }
    if shown:
        caption = "Learning curves on validation, the run of median accuracy of each configuration."
        context.desk.figure(
            made, "learning_curves", caption, lambda path: draw_learning_curves(shown, path)
        )
