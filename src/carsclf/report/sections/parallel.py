"""4. What does parallel running change?"""

import math

import pandas as pd

from carsclf.analysis.parallel import most_at_once
from carsclf.figures.cost import draw_workers
from carsclf.report.context import Context
from carsclf.report.page import Section
from carsclf.report.published import WORKERS
from carsclf.report.repeat import to_get_a_study
from carsclf.report.words import hours, percent, tenths

SHOWN = (1, 2, 5, 10, 20, 50, 100)
ASSUMPTION = (
    "Simulated by scheduling the recorded segments of each trial with decisions held fixed. A new "
    "trial starts as soon as a worker is free, in the recorded order (proposals are taken as free "
    "and as needing no result, which flatters many workers). A paused trial goes on only after all "
    "segments that had ended when the record promoted it (which is the longest such a wait can "
    "be), and a final begins when its whole search has ended. Counted are the seconds of epochs; "
    "starting, saving and sending are left out, so the measured time lies above the line."
)


def section(context: Context) -> Section:
    """Wall-clock time against workers, measured and simulated."""
    made = Section("parallel", "What does parallel running change?")
    studies = context.material.studies
    tables = {
        s.name: (s, t) for s in studies if (t := s.scaling) is not None and s.summary.trials > 1
    }
    if not tables:
        made.answer = (
            "No study of several trials with a journal (events.jsonl) was given, so nothing can be "
            "scheduled anew."
        )
        made.commands(to_get_a_study(context), "To get one:")
        return made
    made.answer = _answer({name: table for name, (_, table) in tables.items()})
    measured = {
        name: (most_at_once(s.events), s.summary.seconds / 3600) for name, (s, _) in tables.items()
    }
    drawn = {name: (s.mode, table, measured[name]) for name, (s, table) in tables.items()}
    caption = "Wall-clock time against workers; rings: measured; the grey line: 20 workers."
    context.desk.figure(made, "workers", caption, lambda path: draw_workers(drawn, path))
    made.note(ASSUMPTION)
    for name, (_, table) in tables.items():
        shown = table.query("workers in @SHOWN")
        workers, took = measured[name]
        caption = f"Study {name}; measured: {hours(took)} with at most {workers} at once."
        show = {
            "workers": ("workers", str),
            "wall-clock": ("hours", hours),
            "idle": ("idle", tenths),
            "mere division": ("division", hours),
        }
        context.desk.table(made, f"workers_{name}", shown, caption, show)
    return made


def _answer(tables: dict[str, pd.DataFrame]) -> str:
    said = []
    for name, table in tables.items():
        row = table.set_index("workers").loc[WORKERS]
        alone = table["hours"].iloc[0]
        least = table["hours"].min()
        enough = int(table.loc[table["hours"] <= 1.05 * least, "workers"].iloc[0])
        gain = alone / row["hours"] if row["hours"] else math.nan
        said.append(
            f"{WORKERS} workers take {hours(row['hours'])} for {name} instead of {hours(alone)} on "
            f"one ({gain:.1f} times faster, {percent(row['idle'], 0)} of their time idle), and "
            f"beyond {enough} workers hardly anything is gained"
        )
    return f"By simulation, {'; '.join(said)}."
