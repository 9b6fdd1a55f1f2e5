"""4. Which classes does it get wrong?"""

# a table's column, row and part are one type to pyright
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportCallIssue=false

from collections import Counter

import numpy as np
import pandas as pd

from carsclf.analysis.comparison import wilson
from carsclf.analysis.metrics import per_class
from carsclf.report.page import Section, Show
from carsclf.report.served.material import Material
from carsclf.report.words import INTERVAL, count, listed, percent, tenths

FEW = 5  # evaluated of a class, below which it is not named as the worst


def section(material: Material) -> Section:
    """Of the newest version that was evaluated, by true class; what it is taken for."""
    made = Section("classes", "Which classes does it get wrong?")
    if material.lacks_evaluations(made):
        return made
    evaluated = set(material.evaluated["version"])
    version = next(v for v in reversed(material.versions) if v in evaluated)
    table = by_class(material, version)
    made.answer = _answer(table, version)
    show: Show = {
        "true class": ("class", str),
        "evaluated": ("evaluated", count),
        "right": ("accuracy", tenths),
        **INTERVAL,
        "right where said": ("precision", tenths),
        "said": ("predictions", count),
        "most often taken for": ("taken_for", str),
    }
    caption = (
        f"{version}, the least accurate first. Right where said: of the evaluated predictions of "
        "this class; said: all predictions of this class."
    )
    material.desk.table(made, "classes", table, caption, show)
    named = {n for c in _said(material, version) for n in c}
    if silent := named - set(table.loc[table["evaluated"] > 0, "class"]):
        made.note(
            f"{len(silent):,} of the {len(named):,} classes that it predicts have no evaluated "
            "picture: nothing is known of them."
        )
    made.note("With many classes some look bad by chance: mind the intervals, which are not "
              "adjusted for the number of classes.")  # fmt: skip
    return made


def by_class(material: Material, version: str) -> pd.DataFrame:
    """A row per class that was told or said of an evaluated picture, the least accurate first."""
    own = material.evaluated[material.evaluated["version"] == version]
    names = sorted({*own["truth"], *own["predicted"]})
    place = {name: i for i, name in enumerate(names)}
    targets, predicted = (own[c].map(place).to_numpy(int) for c in ("truth", "predicted"))
    table = per_class(targets, predicted, names).rename(columns={"images": "evaluated"})
    said = sum(_said(material, version), Counter())
    wrong = own[~own["right"]].groupby("truth")["predicted"]
    taken = {name: Counter(values).most_common(1)[0] for name, values in wrong}
    ends = [
        wilson(int((targets[targets == i] == predicted[targets == i]).sum()), n) if n else None
        for i, n in enumerate(table["evaluated"])
    ]
    table["low"], table["high"] = (
        [getattr(e, end) if e else np.nan for e in ends] for end in ("low", "high")
    )
    table["predictions"] = [said[name] for name in names]
    table["taken_for"] = [
        f"{taken[name][0]} ({taken[name][1]})" if name in taken else "" for name in names
    ]
    return table.sort_values(["accuracy", "evaluated", "class"], ascending=[True, False, True],
                             ignore_index=True)  # fmt: skip


def _said(material: Material, version: str) -> list[Counter[str]]:
    return [classes for (_, v), classes in material.scan.classes.items() if v == version]


def _answer(table: pd.DataFrame, version: str) -> str:
    enough = table[table["evaluated"] >= FEW]
    there = int((table["evaluated"] > 0).sum())
    worst = enough[enough["accuracy"] < 1].head(3)
    if worst.empty:
        return (
            f"{there:,} classes have evaluated pictures of {version}; none with {FEW} or more "
            "has an error."
        )
    told = [f"{row['class']} ({percent(row['accuracy'], 0)} of {row['evaluated']:,})"
            for row in worst.to_dict("records")]  # fmt: skip
    return (
        f"Of the {there:,} classes with evaluated pictures of {version}, {len(enough):,} have "
        f"{FEW} or more; lowest among these: {listed(told)}."
    )
