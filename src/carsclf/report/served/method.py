"""8. What this page was made from, and the command that makes it anew."""

from collections.abc import Sequence

import pandas as pd

from carsclf.options.command_line import argument
from carsclf.report.page import Section, Show
from carsclf.report.served.material import Material
from carsclf.report.words import count


def section(material: Material, options: Sequence[str]) -> Section:
    """The models of the log, and the command. options: besides the log, as typed."""
    made = Section("method", "How was this page made?")
    made.answer = (
        f"From {material.shown}, read only, in one state of the log; all times are UTC, and a "
        "prediction belongs to the time at which it was made."
    )
    table = pd.DataFrame(
        [
            {
                "version": model.version,
                "first_served": "unknown" if model.time is None else f"{model.time:%Y-%m-%d %H:%M}",
                "classes": len(model.classes),
                "predictions": material.scan.of_version(model.version),
            }
            for model in material.models
        ]
    )
    show: Show = {
        "version": ("version", str),
        "first served": ("first_served", str),
        "classes": ("classes", count),
        "predictions": ("predictions", count),
    }
    material.desk.table(made, "models", table, "Versions: run and weights (SHA-256).", show)
    line = " ".join(["python report.py", argument("log", material.shown), *options])
    made.commands([line], "The same page, with what was logged since:")
    if "***" in material.shown:
        made.note("The password (***) is not kept: it is to be typed again.")
    return made
