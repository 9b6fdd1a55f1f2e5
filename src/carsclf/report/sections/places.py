"""What a study found of two things one looks at: where to freeze, and what augmentation does."""

import pandas as pd

from carsclf.analysis.appearance import MEASURES, compared, in_words
from carsclf.analysis.boundary import KEY, by_boundary, told
from carsclf.data.augmented import sheet
from carsclf.figures.boundary import draw_boundaries
from carsclf.figures.contact_sheet import contact_sheet
from carsclf.figures.style import shade
from carsclf.report.augmented import augmented_pairs
from carsclf.report.context import Context
from carsclf.report.page import Section, Show
from carsclf.report.studies import METRIC, StudyMaterial
from carsclf.report.words import hours, percent, plain


def show_boundaries(context: Context, made: Section, study: StudyMaterial) -> None:
    """Accuracy and cost by boundary, where the study searched it."""
    if f"values.{KEY}" not in study.trials:
        return
    trials = told(study.trials)
    if len(set(trials["boundary"])) < 2:
        return
    summary, percents = study.summary, study.summary.metric == METRIC
    table = by_boundary(trials, summary.horizon, 1 if summary.mode == "max" else -1)
    scale, metric = (100, "top-1 on validation (%)") if percents else (1, summary.metric)
    shown = (t.assign(best=scale * t["best"]) for t in (trials, table))
    points, line = (pd.DataFrame(t) for t in shown)
    caption = (
        "Where to freeze: every trial (hollow: not trained to the end), the line through the best "
        "of each boundary; below, the seconds of a training to its end. What is kept of frozen "
        "parts is computed once and not counted."
    )
    draw = lambda p: draw_boundaries(  # noqa: E731
        points, line, metric, summary.horizon, p, colour=shade(study.mode)
    )
    context.desk.figure(made, f"boundaries_{study.name}", caption, draw)
    value = percent if percents else plain
    show: Show = {
        "frozen": ("boundary", str),
        "trials": ("trials", str),
        "to the end": ("full", str),
        "best": ("best", value),
        "mean of those to the end": ("mean", value),
        "one training": ("seconds", lambda s: hours(s / 3600)),
    }
    context.desk.table(
        made, f"boundaries_{study.name}", table, f"Boundaries of {study.name}.", show
    )


def show_augmentation(context: Context, made: Section, study: StudyMaterial) -> None:
    """What the winner's augmentation does, where the study searched it."""
    if not any(key.partition(".")[0] == "augmentation" for key in study.searched):
        return
    winner = study.proposed if study.summary.winner is None else study.summary.winner
    group = next((g for g in context.groups if g.trial_in(str(study.folder)) == winner), None)
    if group is None or group.predictions is None:
        made.note("What the augmentation does is not shown: no run of the final has predictions.")
        return
    pairs = augmented_pairs(group.config, group.predictions, context.root)
    if not pairs:
        made.note("What the augmentation does is not shown: it changes nothing, or no photo is at "
                  "hand (root=...).")  # fmt: skip
        return
    table = compared(pairs)
    caption = (
        f"What the augmentation of {group.label} does, photos of {context.split} beside a changed "
        f"version; on average {in_words(table)}."
    )
    draw = lambda p: contact_sheet(*sheet(pairs), p)  # noqa: E731
    context.desk.figure(made, f"augmented_{study.name}", caption, draw, suffix=".png")
    show: Show = {
        "picture": ("picture", str),
        "version": ("version", str),
        **{m.replace("_", " "): (m, plain) for m in MEASURES},
    }
    caption = (
        "Colourfulness of Hasler and Suesstrunk (2003); saturation of HSV; edge energy: the mean "
        "Sobel gradient, in grey levels per pixel; colours: different ones."
    )
    context.desk.table(made, f"augmented_{study.name}", table, caption, show)
