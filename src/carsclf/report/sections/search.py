"""2. What does the search add?"""

import pandas as pd

from carsclf.analysis.importance import ENOUGH, importances
from carsclf.figures.accuracy import draw_spending
from carsclf.figures.study import draw_fidelities, draw_importance
from carsclf.figures.style import shade
from carsclf.report.context import Context
from carsclf.report.groups import called
from carsclf.report.material import METRIC, StudyMaterial
from carsclf.report.page import Section
from carsclf.report.pairs import Pair, pair_table, retuned, searched
from carsclf.report.repeat import retrained, to_get_a_study
from carsclf.report.sections.models import PAIRED, pair_columns
from carsclf.report.words import listed, percent, plain, points

RATES = ("lr", "learning_rate")


def section(context: Context) -> Section:
    """Winner against the best known without it, per study, and how the search went."""
    made = Section("search", "What does the search add?")
    studies = context.material.studies
    if not studies:
        made.answer = "No study was given, so nothing can be said of a search."
        made.commands(to_get_a_study(context), "To get one:")
        return made
    pairs = {s.name: searched(context.groups, str(s.folder)) for s in studies}
    made.answer = _answer(context, pairs)
    found = [pair for pair in pairs.values() if pair]
    own = [p for s in studies if (p := retuned(context.groups, str(s.folder))) and p not in found]
    if found:
        table = pair_table([*found, *own])
        context.desk.table(made, "gains", table, PAIRED, pair_columns(table))
    for study in studies:
        made.note(judgement(context, study, pairs[study.name]))
    _spending(context, made, pairs)
    for study in studies:
        _study(context, made, study)
    return made


def _answer(context: Context, pairs: dict[str, Pair | None]) -> str:
    said = []
    for name, pair in pairs.items():
        if pair is None:
            said.append(
                f"what study {name} adds is unknown, for want of a {_lacking(context, name)}"
            )
            continue
        gain = f"{points(pair.gain)} points" if pair.gain > 0 else f"nothing ({points(pair.gain)})"
        less = f", {percent(pair.less_error, 1)} less error" if pair.gain > 0 else ""
        what = f"{percent(pair.first.accuracy)} → {percent(pair.second.accuracy)}{less}"
        known = f"from {pair.first.label}, the best known without it, to its winner"
        trial = "" if pair.second.runs else ", a trial that was not retrained"
        if (interval := pair.interval()) and interval.low <= 0 < pair.gain:
            trial += "; these photos do not settle it"
        said.append(f"the search adds {gain} to {pair.first.kind} ({what}: {known}{trial})")
    text = listed(said)
    answer = f"{text[0].upper()}{text[1:]}; {context.judged}."
    behind = [pair for pair in pairs.values() if pair and pair.gain < 0]
    better = [
        f"{p.first.label} reaches {percent(p.first.accuracy)} ({points(-p.gain)} over the winner)"
        for p in behind
    ]
    return f"{answer} What no search proposed does better: {listed(better)}." if better else answer


def _lacking(context: Context, name: str) -> str:
    winner = any(g.role == "winner" and g.study and g.study.name == name for g in context.groups)
    return "run beside it" if winner else "retrained winner"


def judgement(context: Context, study: StudyMaterial, pair: Pair | None) -> str:
    """How cleanly a study's winner was judged, in words."""
    name, best = study.name, study.summary
    if pair is None:
        reached = percent(best.best) if best.metric == METRIC else plain(best.best)
        return (
            f"Study {name}: its best trial reached {reached} ({best.metric}) in the search's own "
            f"validation, but no {_lacking(context, name)} on {context.judged} is among the runs."
        )
    one, two = len(pair.second.runs), len(pair.first.runs)
    seeds = "one run each" if one == two == 1 else f"{one} and {two} runs"
    if not pair.second.runs:
        return (
            f"Study {name}: the winner was NOT retrained. {percent(best.best)} is the best of "
            f"{best.trials} trials on the very photos the search chose by, so it flatters: train "
            f"it with several seeds on data with a test split ({retrained(study)}) and "
            "evaluate.py split=test."
        )
    if context.material.clean:
        return (
            f"Study {name}: its winner was retrained, it and {pair.first.label} ({seeds}) were "
            "judged on test, which the search never saw."
        )
    return (
        f"Study {name}: its winner was retrained, but it and {pair.first.label} ({seeds}) are "
        "judged on validation, by which the search chose: the gain flatters the winner. "
        "evaluate.py split=test for each run gives a clean judgement."
    )


def _spending(context: Context, made: Section, pairs: dict[str, Pair | None]) -> None:
    shown = {}
    for study in context.material.studies:
        if study.metric not in study.curves or "spent" not in study.curves:
            continue
        table = study.curves[["trial", "spent"]].assign(value=study.curves[study.metric])
        if study.metric == METRIC and len(set(table["trial"])) > 1:
            shown[study.name] = (study.mode, table, _on_validation(pairs[study.name]))
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


def _study(context: Context, made: Section, study: StudyMaterial) -> None:
    made.heading(f"Study {study.name}: {study.summary.search} on {called(study.model, study.mode)}")
    if not study.summary.finished:
        made.note(f"Interrupted: go on with python tune.py resume={study.name}'s folder.")
    scored = study.trials.dropna(subset="best")
    colour, name = shade(study.mode), study.name
    rate = next((k for k in study.searched if k.split(".")[-1] in RATES), None)
    rated = scored.dropna(subset=f"values.{rate}") if rate else scored  # L-BFGS has none
    if rate and len(set(rated[f"values.{rate}"])) > 1:
        percents = study.summary.metric == METRIC
        best = 100 * rated["best"] if percents else rated["best"]
        placed = rated.assign(value=rated[f"values.{rate}"], best=best)
        log = _log(study, rate)
        metric = "top-1 on validation (%)" if percents else study.summary.metric
        draw = lambda p: draw_fidelities(placed, rate, log, metric, p, colour=colour)  # noqa: E731
        caption = f"Where each fidelity sampled {rate}: cheap trials map, long ones settle."
        context.desk.figure(made, f"fidelities_{name}", caption, draw)
    varied = [key for key in study.searched if len(set(scored[f"values.{key}"])) > 1]
    if len(scored) >= ENOUGH and len(varied) > 1:
        table = importance_table(study)
        draw = lambda p: draw_importance(table, len(scored), p, colour=colour)  # noqa: E731
        caption = (
            "Importance of the hyperparameters: what a random forest of the trials' results loses "
            "when one of them is shuffled. It tells what mattered among the values tried."
        )
        context.desk.figure(made, f"importance_{name}", caption, draw)
    elif len(scored) < ENOUGH:
        made.note(f"{len(scored)} trials are too few for importances ({ENOUGH} needed).")
    columns = [c for c in study.trials if c not in ("overrides", "error", "folder")]
    _best(context, made, study, study.trials.filter(columns))


def _best(context: Context, made: Section, study: StudyMaterial, trials: pd.DataFrame) -> None:
    summary = study.summary
    chosen = trials[trials["trial"] == summary.best_trial].iloc[0]
    rows = [(k, plain(chosen[f"values.{k}"]), _own(study, k)) for k in study.searched]
    table = pd.DataFrame(rows, columns=["key", "best", "study's own"])
    told = percent(summary.best) if summary.metric == METRIC else plain(summary.best)
    caption = (
        f"Best configuration: trial {summary.best_trial} of {summary.trials}, "
        f"{told} ({summary.metric}) after {summary.best_epochs} of "
        f"{summary.horizon} epochs; {summary.spent:.1f} of {summary.budget:g} full trainings spent."
    )
    show = {
        "hyperparameter": ("key", str),
        "best": ("best", str),
        "unsearched": ("study's own", str),
    }
    context.desk.table(made, f"best_{study.name}", table, caption, show)


def _log(study: StudyMaterial, key: str) -> bool:
    """Whether a key was searched on a logarithmic scale, under any choice of another."""
    return any(
        value is True
        for name, value in study.config.items()
        if name.startswith(f"space.{key}.") and name.endswith(".log")
    )


def _own(study: StudyMaterial, key: str) -> str:
    """The study's own value; of a group such as schedule, the option."""
    if key in study.config:
        return plain(study.config[key])
    return plain(study.config.get(f"{key}._target_")).rpartition(".")[2]


def importance_table(study: StudyMaterial) -> pd.DataFrame:
    """Of every searched key; words become codes, which is enough for trees."""
    scored = study.trials.dropna(subset="best")
    places = scored[[f"values.{key}" for key in study.searched]].copy()
    for column in places:
        if places[column].dtype.kind not in "fiu":
            places[column] = pd.factorize(places[column].astype(str), sort=True)[0]
    values, epochs = scored["best"].to_numpy(float), scored["epochs"].to_numpy(float)
    return importances(places.to_numpy(float), epochs, values, study.searched)
