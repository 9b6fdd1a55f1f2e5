"""6. Calibration and confidence."""

import pandas as pd

from carsclf.analysis.calibration import expected_calibration_error, refusal, reliability
from carsclf.figures.accuracy import draw_calibration, draw_refusal
from carsclf.report.context import Context
from carsclf.report.page import Section
from carsclf.report.repeat import to_get_predictions
from carsclf.report.words import percent, tenths

MOST = 4
"""Configurations in one figure."""


def section(context: Context) -> Section:
    """Reliability, expected calibration error, and accuracy when the unsure are refused."""
    made = Section("confidence", "Calibration and confidence")
    shown = context.predicted
    if not shown:
        made.answer = "No predictions were given, so nothing can be said of confidence."
        made.commands(to_get_predictions(context))
        return made
    rows, bins, curves = [], {}, {}
    for group in shown:
        told = group.predictions
        assert told is not None
        right, sure = told.right, told.probabilities.max(1)
        bins[group.label] = (group.mode, group.role, reliability(right, sure))
        curves[group.label] = (group.mode, group.role, curve := refusal(right, sure))
        left = {share: _at(curve, share) for share in (0.1, 0.2, 0.5)}
        rows.append(
            {
                "label": group.label,
                "confidence": float(sure.mean()),
                "accuracy": float(right.mean()),
                "ece": expected_calibration_error(right, sure),
                **{f"refused_{100 * share:.0f}": value for share, value in left.items()},
            }
        )
    table = pd.DataFrame(rows)
    made.answer = _answer(table, context.judged)
    few = dict(list(bins.items())[:MOST])
    context.desk.figure(
        made,
        "reliability",
        f"Reliability: accuracy in 15 bins of confidence, dots by number of photos. "
        f"{context.judged}, runs of median accuracy"
        + (f"; the first {MOST} of {len(bins)}." if len(bins) > MOST else "."),
        lambda path: draw_calibration(few, path),
    )
    chosen = dict(list(curves.items())[:MOST])
    if (table["accuracy"] < 1).to_numpy().any():  # else there is nothing to refuse
        caption = "Accuracy on the rest when the least confident photos are refused."
        context.desk.figure(made, "refusal", caption, lambda path: draw_refusal(chosen, path))
    show = {
        "configuration": ("label", str),
        "mean confidence": ("confidence", tenths),
        "accuracy": ("accuracy", tenths),
        "calibration error": ("ece", tenths),
        "10 % refused": ("refused_10", tenths),
        "20 %": ("refused_20", tenths),
        "50 %": ("refused_50", tenths),
    }
    context.desk.table(
        made, "calibration", table, "Expected calibration error, 15 equal bins.", show
    )
    return made


def _at(curve: pd.DataFrame, share: float) -> float:
    """Accuracy at the nearest recorded refused share."""
    return float(curve.loc[(curve["refused"] - share).abs().idxmin(), "accuracy"])


def _answer(table: pd.DataFrame, judged: str) -> str:
    best = table.iloc[0]
    gap = best["confidence"] - best["accuracy"]
    manner = "overconfident" if gap > 0.01 else "too modest" if gap < -0.01 else "about right"
    return (
        f"{best['label']} is {percent(best['confidence'], 1)} sure on average and right on "
        f"{percent(best['accuracy'], 1)}, so it is {manner} (expected calibration error "
        f"{percent(best['ece'], 1)}); refusing the least confident 20 % leaves "
        f"{percent(best['refused_20'], 1)} right; {judged}."
    )
