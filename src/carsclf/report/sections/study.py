"""One study in section 2: its final, what it proposes, and its trials."""

import math
from collections import Counter

import pandas as pd

from carsclf.analysis.importance import ENOUGH, importances
from carsclf.figures.study import draw_fidelities, draw_final, draw_importance
from carsclf.figures.style import shade
from carsclf.report.context import Context
from carsclf.report.groups import called
from carsclf.report.page import Section, Show
from carsclf.report.sections.places import show_augmentation, show_boundaries
from carsclf.report.studies import METRIC, StudyMaterial
from carsclf.report.words import hours, percent, plain, points

RATES = ("lr", "learning_rate")


def show_study(context: Context, made: Section, study: StudyMaterial) -> None:
    """Its final first, then how the search went, then every trial."""
    made.heading(f"Study {study.name}: {study.summary.search} on {called(study.model, study.mode)}")
    if not study.summary.finished:
        made.note(f"Interrupted: go on with python tune.py resume={study.name}'s folder.")
    if study.finalists:
        _final(context, made, study)
    _searched_places(context, made, study)
    _best(context, made, study)
    show_boundaries(context, made, study)
    show_augmentation(context, made, study)
    _trials(context, made, study)


def _final(context: Context, made: Section, study: StudyMaterial) -> None:
    table = final_table(context, study)
    percents = study.summary.metric == METRIC
    scores = pd.DataFrame(
        [
            {"label": label, "seed": folder.rpartition("-seed")[2], "score": score}
            for label, entry in zip(table["configuration"], study.finalists, strict=True)
            for folder, score in zip(entry.folders, entry.scores, strict=False)
        ]
    )
    if len(set(scores["seed"])) > 1:
        shown = scores.assign(score=100 * scores["score"]) if percents else scores
        metric = "top-1 on validation (%)" if percents else study.summary.metric
        caption = (
            "The final: one line per seed, strokes: means. Trained anew, the same seeds for all."
        )
        draw = lambda p: draw_final(shown, metric, p, colour=shade(study.mode))  # noqa: E731
        context.desk.figure(made, f"final_{study.name}", caption, draw)
    value, apart = (percent, points) if percents else (plain, _signed)
    show: Show = {
        "configuration": ("configuration", str),
        "trial": ("trial", lambda n: f"{n:04d}"),
        "seeds": ("seeds", str),
        f"mean {study.summary.metric}": ("mean", value),
        "ahead of the incumbent": ("difference", apart),
        "95 % from": ("low", apart),
        "to": ("high", apart),
        "better with probability": ("probability", lambda v: "–" if pd.isna(v) else f"{v:.2f}"),
    }
    if context.material.clean:
        show = {**show, "mean top-1 on test": ("test", percent)}
    caption = (
        f"The final of {study.name}, on validation. Intervals are of trainings paired by seed, "
        "their variance moderated by that over photos, adjusted for the number of candidates."
    )
    context.desk.table(made, f"final_{study.name}", table, caption, show)


def final_table(context: Context, study: StudyMaterial) -> pd.DataFrame:
    """One row per configuration of the final; differences positive where it is better."""
    groups = {g.trial_in(str(study.folder)): g for g in context.groups}
    rows = []
    for entry in study.finalists:
        group = groups.get(entry.trial)
        rows.append(
            {
                "configuration": group.label if group else f"{entry.role}, {entry.trial:04d}",
                "trial": entry.trial,
                "role": entry.role,
                "kept": entry.trial == study.summary.winner,
                "seeds": len(entry.scores),
                "mean": entry.mean,
                "difference": _number(entry.difference),
                "low": _number(entry.low),
                "high": _number(entry.high),
                "probability": _number(entry.probability),
                "test": group.accuracy if group and context.material.clean else math.nan,
            }
        )
    return pd.DataFrame(rows)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _signed(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:+.4g}".replace("-", "−")


def _searched_places(context: Context, made: Section, study: StudyMaterial) -> None:
    """Where it looked for the learning rate, and what mattered."""
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


def _best(context: Context, made: Section, study: StudyMaterial) -> None:
    summary, chosen = study.summary, study.row(study.proposed)
    rows = [(k, plain(chosen[f"values.{k}"]), _own(study, k)) for k in study.searched]
    table = pd.DataFrame(rows, columns=["key", "best", "study's own"])
    told = percent(study.reached) if summary.metric == METRIC else plain(study.reached)
    caption = (
        f"What the search proposes: trial {study.proposed:04d} of {summary.trials}, "
        f"{told} ({summary.metric}) after {chosen['epochs']} of "
        f"{summary.horizon} epochs; {spent(study)}."
    )
    show = {
        "hyperparameter": ("key", str),
        "proposed": ("best", str),
        "incumbent": ("study's own", str),
    }
    context.desk.table(made, f"best_{study.name}", table, caption, show)


def spent(study: StudyMaterial) -> str:
    """Of what it was given: full trainings, hours, or both."""
    summary = study.summary
    given = [f"{summary.budget:g}"] if summary.budget is not None else []
    given += [f"{summary.hours:g} h"] if summary.hours is not None else []
    of = f", of {' and '.join(given)} given" if given else ""
    took = f" in {hours(summary.seconds / 3600)}" if summary.hours is not None else ""
    return f"{summary.spent:.1f} full trainings spent{took}{of}"


def _trials(context: Context, made: Section, study: StudyMaterial) -> None:
    why = Counter(study.trials["ended"].map(lambda said: said or "open"))
    each = [f"{many} {reason}" for reason, many in why.most_common()]
    made.note(f"How its {len(study.trials)} trials ended: {'; '.join(each)}.")
    show: Show = {
        "trial": ("trial", lambda n: f"{n:04d}"),
        "role": ("role", str),
        study.summary.metric: ("best", percent if study.summary.metric == METRIC else plain),
        "epochs": ("epochs", str),
        "ended": ("ended", str),
        **{key: (f"values.{key}", plain) for key in study.searched},
    }
    table = study.trials.drop(columns=["overrides", "folder"])
    caption = f"Every trial of {study.name}."
    context.desk.table(made, f"trials_{study.name}", table, caption, show)


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


def _log(study: StudyMaterial, key: str) -> bool:
    """Whether a key was searched on a logarithmic scale, under any choice of another."""
    return any(
        value is True
        for name, value in study.config.items()
        if name.startswith(f"space.{key}.") and name.endswith(".log")
    )
