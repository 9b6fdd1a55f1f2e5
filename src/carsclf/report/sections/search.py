"""2. What does the search add?"""

import pandas as pd

from carsclf.figures.accuracy import draw_spending
from carsclf.report.context import Context
from carsclf.report.groups import Group
from carsclf.report.page import Section
from carsclf.report.pairs import Pair, adopted, group_of, pair_table, retuned, searched
from carsclf.report.repeat import retrained, to_get_a_study, to_judge_on_test
from carsclf.report.sections.models import PAIRED, pair_columns
from carsclf.report.sections.study import show_study
from carsclf.report.studies import METRIC, StudyMaterial
from carsclf.report.words import ends, listed, percent, plain, points

Told = list[tuple[StudyMaterial, Pair | None]]
"""Each study, with the best known without it and what it proposes."""


def section(context: Context) -> Section:
    """What each study proposes against the best known without it, and how the search went."""
    made = Section("search", "What does the search add?")
    studies = context.material.studies
    if not studies:
        made.answer = "No study was given, so nothing can be said of a search."
        made.commands(to_get_a_study(context), "To get one:")
        return made
    told: Told = [(s, searched(context.groups, str(s.folder))) for s in studies]
    made.answer = _answer(context, told)
    found = [pair for _, pair in told if pair]
    own = [p for s in studies if (p := retuned(context.groups, str(s.folder))) and p not in found]
    if found:
        table = pair_table([*found, *own])
        context.desk.table(made, "gains", table, PAIRED, pair_columns(table))
    for study, pair in told:
        for note in (*study.summary.notes, verdict(study), judgement(context, study, pair)):
            made.note(f"Study {study.name}: {note}")
    if not context.material.clean and (lines := to_judge_on_test(context)):
        made.commands(lines, "To have all of them judged on test, and then this page again:")
    _spending(context, made, told)
    for study in studies:
        show_study(context, made, study)
    return made


def _answer(context: Context, told: Told) -> str:
    text = listed([_found(context, study, pair) for study, pair in told])
    answer = f"{text[0].upper()}{text[1:]}; {context.judged}."
    kept = (adopted(context.groups, str(study.folder)) for study, _ in told)
    better = [
        f"{p.first.label} reaches {percent(p.first.accuracy)} ({points(-p.gain)} over the winner)"
        for p in kept
        if p and p.gain < 0 and not p.first.passed_over
    ]
    return f"{answer} What no search proposed does better: {listed(better)}." if better else answer


def _found(context: Context, study: StudyMaterial, pair: Pair | None) -> str:
    if study.summary.final and study.keeps_incumbent:
        return _nothing_better(context, study)
    if pair is None:
        return f"what study {study.name} adds is unknown, for want of {_lacking(context, study)}"
    gain = f"{points(pair.gain)} points" if pair.gain > 0 else f"nothing ({points(pair.gain)})"
    less = f", {percent(pair.less_error, 1)} less error" if pair.gain > 0 else ""
    what = f"{percent(pair.first.accuracy)} → {percent(pair.second.accuracy)}{less}"
    known = f"from {pair.first.label}, the best known without it, to {pair.second.label}"
    told = "" if pair.second.runs else ", a trial that was not retrained"
    interval = pair.interval()
    if pair.gain <= 0 or (interval and interval.low <= 0):
        told += "; these photos do not settle it" if pair.gain > 0 else ""
        own = pair.second.trial is not None and context.material.clean
        told += ", though its final, on validation, found it better" if own else ""
    return f"the search adds {gain} to {pair.first.kind} ({what}: {known}{told})"


def _nothing_better(context: Context, study: StudyMaterial) -> str:
    """Of a study that keeps its incumbent, whatever its best proposal reaches here."""
    pair = retuned(context.groups, str(study.folder))
    if pair is None:
        return f"the search of study {study.name} found nothing better than its incumbent"
    known, rival = pair.first, pair.second
    return (
        f"the search found nothing better than {known.label} ({percent(known.accuracy)}), which "
        f"study {study.name} keeps; what it proposes, {rival.label}, reaches "
        f"{percent(rival.accuracy)}, {points(pair.gain)} points{ends(pair.interval())}"
    )


def _sides(context: Context, study: StudyMaterial) -> list[Group | None]:
    return [group_of(context.groups, str(study.folder), r) for r in ("baseline", "searched")]


def _lacking(context: Context, study: StudyMaterial) -> str:
    known, proposal = _sides(context, study)
    if not study.proposes:
        return "a trial beside the incumbent"
    if proposal is None:
        return "a retrained winner"
    return "a run beside it" if known is None else "a comparison"


def verdict(study: StudyMaterial) -> str:
    """The study's own words, and what its best.yaml holds."""
    summary, holds = study.summary, ""
    if study.keeps_incumbent:
        holds = (
            " best.yaml keeps the incumbent, the configuration that the study was composed with."
        )
    elif summary.winner is not None:
        holds = f" best.yaml holds trial {summary.winner:04d}."
    return f"its verdict: {summary.verdict}.{holds}"


def judgement(context: Context, study: StudyMaterial, pair: Pair | None) -> str:
    """How cleanly what a study proposes was judged, in words."""
    best, clean = study.summary, context.material.clean
    if study.finals:
        many = f"its final trained {len(study.finals)} configurations anew, over the same new seeds"
        if clean:
            return f"{many}; here they are judged on test, which neither search nor final saw."
        return (
            f"{many}, but judged on the validation photos by which the search had chosen: that "
            "flatters what it proposes. evaluate.py split=test gives a clean judgement."
        )
    if not study.proposes:
        return "no trial but its incumbent has a score, so it proposes nothing."
    if pair is None:
        reached = percent(study.reached) if best.metric == METRIC else plain(study.reached)
        return (
            f"its best trial reached {reached} ({best.metric}) in the search's own "
            f"validation, but no {_lacking(context, study).removeprefix('a ')} on "
            f"{context.judged} is among the runs."
        )
    one, two = len(pair.second.runs), len(pair.first.runs)
    seeds = "one run each" if one == two == 1 else f"{one} and {two} runs"
    if not pair.second.runs:
        return (
            f"what it proposes was NOT retrained. {percent(study.reached)} is "
            f"{study.best_of} on the very photos the search chose by, so it flatters: train "
            f"it with several seeds on data with a test split ({retrained(study)}) and "
            "evaluate.py split=test."
        )
    if clean:
        return (
            f"what it proposes was retrained, it and {pair.first.label} ({seeds}) were "
            "judged on test, which the search never saw."
        )
    return (
        f"what it proposes was retrained, but it and {pair.first.label} ({seeds}) are "
        "judged on validation, by which the search chose: the gain flatters it. "
        "evaluate.py split=test for each run gives a clean judgement."
    )


def _spending(context: Context, made: Section, told: Told) -> None:
    shown = {}
    for study, pair in told:
        if study.metric not in study.curves or "spent" not in study.curves:
            continue
        curves = pd.DataFrame(study.curves[study.curves["trial"].isin(study.trials["trial"])])
        table = curves[["trial", "spent"]].assign(value=curves[study.metric])
        if study.metric == METRIC and len(set(table["trial"])) > 1:
            shown[study.name] = (study.mode, table, _on_validation(pair))
    if not shown:
        return
    caption = (
        "Best accuracy so far over the budget spent; dots: the best of each trial, where it ended; "
        "dashed: the best known without it, on validation too (the search knows nothing else)."
    )
    context.desk.figure(made, "spending", caption, lambda path: draw_spending(shown, path))


def _on_validation(pair: Pair | None) -> float | None:
    """Mean accuracy of the best known without the search."""
    if pair is None:
        return None
    known = [r.run.metrics[METRIC] for r in pair.first.runs if METRIC in r.run.metrics]
    return sum(known) / len(known) if known else None
