"""3. Is it as right as it says?"""

# a table's column, row and part are one type to pyright
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportCallIssue=false

import pandas as pd

from carsclf.analysis.calibration import expected_calibration_error, reliability
from carsclf.analysis.comparison import wilson
from carsclf.figures.accuracy import draw_calibration
from carsclf.figures.served import literal
from carsclf.report.page import Section, Show
from carsclf.report.served.material import Material
from carsclf.report.served.scan import BANDS
from carsclf.report.words import INTERVAL, count, percent, tenths

MOST = 4  # versions in the figure


def section(material: Material) -> Section:
    """Said probability against accuracy, by tenths of confidence."""
    made = Section("confidence", "Is it as right as it says?")
    if material.lacks_evaluations(made):
        return made
    bands = by_band(material)
    versions = [v for v in material.versions if (bands["version"] == v).any()][::-1]
    made.answer = _answer(material, versions[0])
    drawn = bands.rename(columns={"evaluated": "images"})
    few = {literal(v): ("", "", drawn[drawn["version"] == v]) for v in versions[:MOST]}
    caption = (
        "Reliability: accuracy in ten bands of confidence, dots by number evaluated; on the "
        "diagonal a model is as right as it says."
    )
    material.desk.figure(made, "reliability", caption, lambda path: draw_calibration(few, path))
    show: Show = {
        "version": ("version", str),
        "confidence": ("band", str),
        "predictions": ("predictions", count),
        "evaluated": ("evaluated", count),
        "said": ("confidence", tenths),
        "right": ("accuracy", tenths),
        **INTERVAL,
    }
    caption = (
        "By band of confidence, the newest version first; bands without an evaluation are left out."
    )
    material.desk.table(made, "confidence", bands, caption, show)
    return made


def by_band(material: Material) -> pd.DataFrame:
    """A row per version, newest first, and band with evaluations."""
    rows = []
    for version in reversed(material.versions):
        own = material.evaluated[material.evaluated["version"] == version]
        if own.empty:
            continue
        table = reliability(own["right"].to_numpy(float), own["probability"].to_numpy(float), BANDS)
        for row in table.to_dict("records"):
            many, place = int(row["images"]), round(row["low"] * BANDS)
            right = wilson(round(row["accuracy"] * many), many)
            rows.append(
                {
                    "version": version,
                    "band": f"{row['low']:.1f} to {row['high']:.1f}",
                    "predictions": int(material.scan.bands[version][place]),
                    "evaluated": many,
                    "confidence": row["confidence"],
                    "accuracy": right.value,
                    "low": right.low,
                    "high": right.high,
                }
            )
    return pd.DataFrame(rows)


def _answer(material: Material, version: str) -> str:
    own = material.evaluated[material.evaluated["version"] == version]
    right, sure = own["right"].to_numpy(float), own["probability"].to_numpy(float)
    gap, interval = sure.mean() - right.mean(), wilson(int(right.sum()), len(right))
    manner = (
        "which is within what chance allows"
        if interval.low <= sure.mean() <= interval.high
        else f"so it is {'overconfident' if gap > 0 else 'too modest'}"
    )
    error = percent(expected_calibration_error(right, sure, BANDS), 1)
    return (
        f"Of what was evaluated, {version} says {percent(float(sure.mean()), 1)} on average and is "
        f"right on {percent(interval.value, 1)}, {manner} (expected calibration error {error}, "
        f"ten bands, {len(own):,} evaluated; with few it is above 0 by chance alone)."
    )
