"""2. How often is it right? Over time, and by version."""

# a table's column, row and part are one type to pyright
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportCallIssue=false

import math

import pandas as pd

from carsclf.analysis.comparison import wilson
from carsclf.figures.accuracy import draw_accuracies
from carsclf.figures.served import draw_accuracy_over_time, literal
from carsclf.report.page import Section, Show
from carsclf.report.served.evaluated import RULE, accuracies, reweighted
from carsclf.report.served.material import Material
from carsclf.report.words import INTERVAL, count, percent, span, tenths

SHARES: Show = {
    "evaluated": ("evaluated", count),
    "right": ("right", count),
    "accuracy": ("accuracy", tenths),
    **INTERVAL,
}
CHOICE = (
    "Which predictions were evaluated decides what these figures mean: they are the accuracy of "
    "all predictions only where the evaluated ones are a random draw of them. Where people look at "
    "doubtful answers, or at complaints, the model is better than it seems; where they confirm "
    "what is plainly right, it is worse. The table compares how sure the model was of the "
    "evaluated and of all; weighted means that each tenth of confidence counts as often as it "
    "occurs among all predictions, which undoes a choice by confidence, and no other."
)


def section(material: Material) -> Section:
    """Accuracy of what was evaluated, never without its number and interval."""
    made = Section("accuracy", "How often is it right?")
    if material.lacks_evaluations(made):
        return made
    made.answer = _answer(material)
    over_time = by_time(material)
    caption = (
        f"Accuracy of the evaluated predictions of each {material.kind} (when they were made, not "
        "when they were evaluated), with 95 % Wilson intervals."
    )
    material.desk.figure(
        made, "accuracy", caption, lambda path: draw_accuracy_over_time(over_time, path)
    )
    show: Show = {material.kind: ("period", str), "version": ("version", str)} | dict(SHARES)
    material.desk.table(made, "accuracy", over_time, caption, show)
    made.heading("By version")
    versions = by_version(material)
    if len(versions) > 1:
        shown = versions.assign(
            label=versions["version"].map(literal), mode="", role="", published=math.nan
        )
        shown["seeds"] = [[] for _ in range(len(shown))]
        material.desk.figure(
            made, "versions", "Accuracy of each version on what was evaluated of it, with 95 % "
            "Wilson intervals; they were asked different pictures.",
            lambda path: draw_accuracies(shown, path),
        )  # fmt: skip
    caption = "First served last. Mean confidence of the evaluated against that of all predictions."
    columns: Show = {"version": ("version", str)} | dict(SHARES) | {
        "sure of these": ("confidence", tenths),
        "sure of all": ("confidence_of_all", tenths),
        "weighted": ("weighted", tenths),
        "which covers": ("covered", lambda v: percent(v, 0)),
    }  # fmt: skip
    material.desk.table(made, "versions", versions, caption, columns)
    made.note(CHOICE)
    disputed = int(material.evaluated["disputed"].sum())
    made.note(f"{RULE}; {disputed:,} of {len(material.evaluated):,} were disputed. A photo that "
              "was asked and evaluated twice counts twice.")  # fmt: skip
    return made


def by_time(material: Material) -> pd.DataFrame:
    """A row per period and version with evaluations."""
    parts = [
        accuracies(part, "period").assign(version=version)
        for version, part in material.evaluated.groupby("version", sort=False)
    ]
    table = pd.concat(parts, ignore_index=True)
    order = {version: i for i, version in enumerate(material.versions)}
    table = table.sort_values(["version"], key=lambda c: c.map(order), kind="stable")
    return table.sort_values("period", kind="stable", ignore_index=True)


def by_version(material: Material) -> pd.DataFrame:
    """A row per version with evaluations, in the order in which they were served."""
    scan, rows = material.scan, material.evaluated
    table = accuracies(rows, "version").set_index("version")
    table = table.loc[[v for v in material.versions if v in table.index]].reset_index()
    more = []
    for version in table["version"]:
        own = rows[rows["version"] == version]
        right, sure = own["right"].to_numpy(float), own["probability"].to_numpy(float)
        weighted, covered = reweighted(right, sure, scan.bands[version])
        more.append(
            {
                "predictions": scan.of_version(version),
                "confidence": float(sure.mean()),
                "confidence_of_all": scan.sums[version] / scan.of_version(version),
                "weighted": weighted,
                "covered": covered,
            }
        )
    return pd.concat([table, pd.DataFrame(more)], axis=1)


def _answer(material: Material) -> str:
    own = material.of_deployed
    if own.empty:
        return (
            f"{material.deployed}, the newest version, was not evaluated yet; of earlier ones "
            f"{len(material.evaluated):,} predictions were."
        )
    hits = int(own["right"].sum())
    right = wilson(hits, len(own))
    share = len(own) / material.scan.of_version(material.deployed)
    seen = "under 0.1 %" if share < 0.001 else percent(share, 1)
    return (
        f"{material.deployed} is right on {percent(right.value, 1)} of the {len(own):,} of its "
        f"predictions that were evaluated (95 % interval {span(right)}); that is {seen} of what "
        "it was asked, and whoever chose them chose the figure too (see below)."
    )
