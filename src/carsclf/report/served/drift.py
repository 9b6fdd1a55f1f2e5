"""6. Do its answers drift? Confidence and predicted classes, each version against its beginning."""

# a table's column, row and part are one type to pyright
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportCallIssue=false

from collections import Counter

import numpy as np
import pandas as pd

from carsclf.analysis.drift import (
    LARGE,
    MODERATE,
    adjusted,
    shift_of_classes,
    shift_of_numbers,
    verdict,
)
from carsclf.figures.served import draw_drift
from carsclf.report.page import Section, Show
from carsclf.report.served.material import Material
from carsclf.report.words import count, p_value

ENOUGH = 100  # predictions of a period that is compared
RULE = (
    f"PSI: population stability index, over tenths of the first period's confidence or over "
    f"classes (those too rare to expect 5 pictures together). Rule of thumb: below {MODERATE} no "
    f"shift, to {LARGE} a moderate one, above a large one. By chance: the index that equal "
    "distributions exceed in 5 % of samples of these sizes. Apart: the Kolmogorov-Smirnov distance "
    "of the confidence, or half the sum of the differences of the classes' shares. p: of "
    "Kolmogorov-Smirnov's or the chi-squared test, adjusted for all {tests} tests of this table "
    "(Benjamini-Hochberg: of those below 0.05 about one in twenty is expected to be false; without "
    "it {false} would come out below 0.05 where nothing changed). A shift is told where all three "
    "say so: the index above the rule, above chance, and p below 0.05."
)


def section(material: Material) -> Section:
    """Later periods against the first of the same version."""
    made = Section("drift", "Do its answers drift?")
    table = by_period(material)
    if table.empty:
        made.answer = (
            f"No version answered in two {material.kind}s with {ENOUGH} predictions or more, so "
            "there is nothing to compare; period=day, week or month changes what is compared."
        )
        return made
    made.answer = _answer(material, table)
    newest = table[table["version"] == table["version"].iloc[-1]]
    if newest["period"].nunique() > 1:
        caption = f"{newest['version'].iloc[0]}, each {material.kind} against the first."
        material.desk.figure(
            made, "drift", caption, lambda path: draw_drift(newest, (MODERATE, LARGE), path)
        )
    show: Show = {
        material.kind: ("period", str),
        "version": ("version", str),
        "against": ("against", str),
        "of": ("what", str),
        "predictions": ("predictions", count),
        "PSI": ("psi", lambda v: f"{v:.3f}"),
        "by chance": ("chance", lambda v: f"{v:.3f}"),
        "apart": ("distance", lambda v: f"{v:.3f}"),
        "p": ("p_adjusted", p_value),
        "shift": ("shift", str),
    }
    rule = RULE.format(tests=f"{len(table):,}", false=f"{0.05 * len(table):.1f}")
    material.desk.table(made, "drift", table, "Later periods against the first.", show)
    made.note(rule)
    made.note(
        f"Each version is compared with its own first {material.kind} of {ENOUGH} predictions or "
        "more, as another model is another ruler. A shift says that the answers changed, not that "
        "they are wrong: a new client or season does it too. The tests take predictions for "
        "independent, so many pictures of one thing make p too small; and what was there from the "
        "first is no drift."
    )
    if max(material.scan.counts.values()) > (most := material.scan.most):
        made.note(f"Confidence: of at most {most:,} predictions of each {material.kind} and "
                  "version, drawn evenly.")  # fmt: skip
    return made


def by_period(material: Material) -> pd.DataFrame:
    """Two rows, of confidence and of classes, per version and later period."""
    scan, rows = material.scan, []
    for version in material.versions:
        periods = [name for name in scan.names if scan.counts[name, version] >= ENOUGH]
        for period in periods[1:]:
            first, later = (periods[0], version), (period, version)
            values = (scan.confidence[cell].values for cell in (first, later))
            counts = _counts(scan.classes[first], scan.classes[later])
            found = {"confidence": shift_of_numbers(*values), "classes": shift_of_classes(*counts)}
            about = {"period": period, "version": version, "against": periods[0],
                     "predictions": scan.counts[later]}  # fmt: skip
            rows += [about | {"what": what} | vars(s) | {"_": s} for what, s in found.items()]
    table = pd.DataFrame(rows)
    if rows:
        table["p_adjusted"] = adjusted(table["p"].to_numpy(float))
        pairs = zip(table.pop("_"), table["p_adjusted"], strict=True)
        table["shift"] = [verdict(s, p) for s, p in pairs]
    return table


def _counts(first: Counter[str], later: Counter[str]) -> tuple[np.ndarray, np.ndarray]:
    names = sorted({*first, *later})
    one, two = (np.array([counts[name] for name in names]) for counts in (first, later))
    return one, two


def _answer(material: Material, table: pd.DataFrame) -> str:
    tests, kind = f"{len(table):,} comparisons", material.kind
    told = table[table["shift"] != "none"]
    if told.empty:
        return (
            f"None of {tests} of a later {kind} with the first shows a shift by the rule below, "
            "neither in confidence nor in the predicted classes."
        )
    newest = told.iloc[-1]
    large = int((told["shift"] == "large").sum())
    return (
        f"{len(told):,} of {tests} of a later {kind} with the first show a shift ({large:,} "
        f"large); the last is one of {newest['what']}, {newest['version']} from "
        f"{newest['period']} (PSI {newest['psi']:.2f})."
    )
