"""The figures above the sections."""

# a table's column, row and part are one type to pyright
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportCallIssue=false

from collections.abc import Iterator

from carsclf.analysis.comparison import wilson
from carsclf.report.page import Figure
from carsclf.report.served import drift
from carsclf.report.served.material import Material
from carsclf.report.served.versions import paired
from carsclf.report.words import count, ends, percent, points


def glance(material: Material) -> list[Figure]:
    """What the log can tell, in the order of the sections."""
    return [f for question in (_use, _accuracy, _sure, _better, _drift) for f in question(material)]


def _use(material: Material) -> Iterator[Figure]:
    scan, kind = material.scan, material.kind
    yield Figure(
        f"Deployed: {material.deployed}",
        f"the newest of {len(material.models)} version{'s' * (len(material.models) > 1)} in this "
        f"time; {count(scan.of_version(material.deployed))} of {count(scan.total)} predictions",
        "method",
    )
    yield Figure(count(scan.total), f"predictions in {len(scan.names)} {kind}s", "use")


def _accuracy(material: Material) -> Iterator[Figure]:
    own = material.of_deployed
    if own.empty:
        yield Figure("–", "accuracy unknown: nothing of it was evaluated", "accuracy")
        return
    right = wilson(int(own["right"].sum()), len(own))
    what = f"right{ends(right)} of {len(own):,} evaluated"
    yield Figure(percent(right.value, 1), what, "accuracy")


def _sure(material: Material) -> Iterator[Figure]:
    own = material.of_deployed
    if len(own):
        gap = float(own["probability"].mean() - own["right"].mean())
        yield Figure(points(gap, 1), "points of confidence above accuracy", "confidence")


def _better(material: Material) -> Iterator[Figure]:
    if len(material.models) > 1 and len(same := paired(material)):
        row = same.iloc[0]
        what = f"points over {row['old']} on {row['photos']:,} photos that both saw"
        yield Figure(points(row["gain"], 1), what, "versions")


def _drift(material: Material) -> Iterator[Figure]:
    table = drift.by_period(material)
    if len(table):
        shifts = int((table["shift"] != "none").sum())
        yield Figure(f"{shifts} of {len(table)}", "comparisons show a drift", "drift")
