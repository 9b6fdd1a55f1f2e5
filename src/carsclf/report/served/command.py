"""`report.py log=...`: a prediction log in, one page out."""

from collections.abc import Sequence
from pathlib import Path

from carsclf.figures.style import look
from carsclf.files import AnyPath
from carsclf.report.page import Page
from carsclf.report.served import (
    accuracy,
    classes,
    confidence,
    drift,
    method,
    openness,
    use,
    versions,
)
from carsclf.report.served.glance import glance
from carsclf.report.served.material import read_material
from carsclf.report.served.periods import window
from carsclf.serving.reading import open_log

ORDER = (use, accuracy, confidence, classes, versions, drift, openness)


def write_log_report(
    log: str,
    *,
    folder: AnyPath,
    period: str = "auto",
    since: str | None = None,
    until: str | None = None,
    options: Sequence[str] = (),
) -> Path:
    """The page of a prediction log, with tables and figures beside it; returns its path.

    log: a path or URL; period: day, week, month or auto; since, until: moments in UTC, the later
    one left out; options: as typed, for the command on the page. The memory it takes does not grow
    with the number of predictions, only (about 100 bytes each) with that of the evaluated.
    Raises ConfigError and DataError in one line, before anything is written.
    """
    window(since, until)  # before a database is asked
    with open_log(log) as opened:
        material = read_material(opened, Path(folder).expanduser(), period, since, until)
    with look():
        sections = [part.section(material) for part in ORDER]
        sections.append(method.section(material, options))
    evaluated = len(material.evaluated)
    facts = (
        f"{material.shown}; {material.scan.total:,} predictions from {material.first} to "
        f"{material.last} (UTC), {evaluated:,} of them evaluated"
    )
    title = f"What came of it: {material.deployed.partition('@')[0]} in use"
    page = Page(title, facts, [], glance(material), sections)
    return material.desk.write(page)
