"""7. Do pictures come of none of its classes?"""

# a table's column, row and part are one type to pyright
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportCallIssue=false

import numpy as np
import pandas as pd

from carsclf.analysis.comparison import Interval, wilson
from carsclf.figures.served import draw_openness
from carsclf.inference.openness import EXCEEDED, THRESHOLD
from carsclf.report.page import Section, Show
from carsclf.report.served.material import Material
from carsclf.report.words import INTERVAL, count, percent, tenths


def section(material: Material) -> Section:
    """The share of pictures beyond what validation photos have, over time, where it was logged."""
    made = Section("openness", "Do pictures come of none of its classes?")
    table = by_period(material)
    if table.empty:
        made.answer = "Openness was not logged: it was not measured for the models of this log."
        made.commands(
            ["python predict.py run=<run> images=<some> openness=true"],
            "Once, for the run that is served; a running service takes it by itself:",
        )
        return made
    last = table.iloc[-1]
    made.answer = (
        f"In the last {material.kind} with it, {percent(last['beyond'], 1)} of the pictures "
        f"{last['version']} saw have an openness above {THRESHOLD:g}, where photos like those of "
        f"its validation have {percent(EXCEEDED, 0)}; how many of these are truly of no known "
        "class, it does not say."
    )
    newest = table[table["version"] == last["version"]]
    if len(newest) > 1:
        caption = f"{last['version']}: share with an openness above {THRESHOLD:g}, with 95 % Wilson intervals."  # noqa: E501
        material.desk.figure(
            made, "openness", caption, lambda path: draw_openness(newest, EXCEEDED, path)
        )
    show: Show = {
        material.kind: ("period", str),
        "version": ("version", str),
        "with openness": ("pictures", count),
        "median": ("median", lambda v: f"{v:.3f}"),
        f"above {THRESHOLD:g}": ("beyond", tenths),
        **INTERVAL,
    }
    caption = f"Of at most {material.scan.most:,} pictures of each {material.kind} and version."
    material.desk.table(made, "openness", table, caption, show)
    return made


def by_period(material: Material) -> pd.DataFrame:
    """A row per period and version with openness, in the order of periods."""
    order = {version: i for i, version in enumerate(material.versions)}
    cells = sorted(material.scan.openness, key=lambda cell: (cell[0], order[cell[1]]))
    rows = []
    for period, version in cells:
        values = material.scan.openness[period, version].values
        beyond: Interval = wilson(int((values > THRESHOLD).sum()), len(values))
        rows.append(
            {
                "period": period,
                "version": version,
                "pictures": len(values),
                "median": float(np.median(values)),
                "beyond": beyond.value,
                "low": beyond.low,
                "high": beyond.high,
            }
        )
    return pd.DataFrame(rows)
