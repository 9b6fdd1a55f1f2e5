"""Of section 5: what changes from one configuration to another, by class and by kind of error."""

import numpy as np

from carsclf.analysis.changes import by_class, by_kind
from carsclf.report.context import Context
from carsclf.report.page import Section, Show
from carsclf.report.words import count, percent, points

SHOWN = 12


def show_changes(context: Context, made: Section) -> None:
    """For the first pair that was judged on the same photos; the files hold all classes."""
    pair = next((p for p in context.pairs if p.typical_hits() is not None), None)
    if pair is None:
        return
    one, two = pair.first.predictions, pair.second.predictions
    assert one is not None
    assert two is not None
    orders = np.argsort(one.ids), np.argsort(two.ids)
    targets = one.targets[orders[0]]
    first, second = one.predicted[orders[0]], two.predicted[orders[1]]
    if (first == second).all():
        return
    kinds = by_kind(targets, first, second, one.class_names)
    said = f"from {pair.label}, runs of median accuracy"
    if kinds is not None:
        show: Show = {"error": ("kind", str)} | {
            name: (name, count) for name in ("before", "after", "vanish", "appear")
        }
        context.desk.table(made, "kind_changes", kinds, f"Errors by kind, {said}.", show)
    table = by_class(targets, first, second, one.class_names)
    show = {
        "class": ("class", str),
        "photos": ("photos", count),
        "before": ("before", lambda v: percent(v, 0)),
        "after": ("after", lambda v: percent(v, 0)),
        "change, points": ("change", lambda v: points(v, 0)),
        "vanish": ("vanish", count),
        "appear": ("appear", count),
    }
    caption = (
        f"Accuracy by class, {said}: the {min(SHOWN, len(table))} classes that change the most. "
        "A class has few photos, so single ones of these changes are chance."
    )
    context.desk.table(made, "class_changes", table, caption, show, most=SHOWN)
