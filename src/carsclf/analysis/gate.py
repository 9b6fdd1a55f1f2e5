"""Whether a candidate passes: answers of two models on the same photos in, tables and reasons out.

A loss fails only where it is larger than what is allowed and chance does not explain it: one-sided
mid-p McNemar tests (Fagerland et al. 2013), corrected by Holm (1979) for all that are asked in one
question (sets as wholes, classes, classes that matter), so that a candidate that is as good fails
each question with a chance of `significance` at most.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from carsclf.analysis.comparison import bootstrap_difference, holm, wilson, worse

SLACK = 1e-9  # 0.8 - 0.7 is more than 0.1


@dataclass(frozen=True)
class Rules:
    """What a candidate must keep; accuracies and losses of them as shares in [0, 1]."""

    minimum: float | None = None
    worse_by: float = 0.0
    class_worse_by: float = 0.05
    significance: float = 0.05
    important: Sequence[str] = ()
    important_minimum: float | None = None
    important_worse_by: float = 0.0


@dataclass(frozen=True)
class Answers:
    """Of one reference set: (n,) classes and (n,) hits, and the classes that a model lacks."""

    name: str
    classes: np.ndarray
    candidate: np.ndarray
    deployed: np.ndarray | None = None
    lacking: Sequence[str] = ()
    deployed_lacking: Sequence[str] = ()


@dataclass(frozen=True)
class Verdict:
    """overall: a row per set; classes: a row per class and set; reasons: none where it passes."""

    overall: pd.DataFrame
    classes: pd.DataFrame
    reasons: list[str] = field(default_factory=list)
    blind: int = 0  # classes with too few photos for any loss to be told from chance


def decide(answers: Sequence[Answers], rules: Rules) -> Verdict:
    """The candidate's verdict by the rules."""
    overall = pd.DataFrame([_row(a, "", np.ones(len(a.classes), bool)) for a in answers])
    classes = pd.DataFrame(
        [_row(a, name, a.classes == name) for a in answers for name in sorted({*a.classes})]
    )
    classes["important"] = classes["class"].isin(list(rules.important))
    first = [a.deployed is None for a in answers]
    for table, part in ((overall, slice(None)), (classes, ~classes["important"].to_numpy()),
                        (classes, classes["important"].to_numpy())):  # fmt: skip
        rows = table.index[part]
        table.loc[rows, "p"] = np.nan if all(first) else holm(table.loc[rows, "p"].to_numpy(float))
    others, matter = (classes[classes["important"] == yes] for yes in (False, True))
    given = (
        (overall, rules.minimum, rules.worse_by),
        (others, None, rules.class_worse_by),
        (matter, rules.important_minimum, rules.important_worse_by),
    )
    reasons: list[str] = []
    for table, minimum, allowed in given:
        for row in _records(table):
            reasons += _reasons(row, minimum, allowed, rules.significance)
    blind = 0 if all(first) else _blind(classes, rules.significance)
    return Verdict(overall, classes, reasons, blind)


def _records(table: Any) -> list[dict[str, Any]]:
    """A table's rows."""
    return table.to_dict("records")


def _row(answers: Answers, name: str, part: np.ndarray) -> dict[str, Any]:
    """Figures of a set, or of one of its classes; p is not corrected yet."""
    hits, n = answers.candidate[part], int(part.sum())
    share = wilson(int(hits.sum()), n)
    row: dict[str, Any] = {"reference": answers.name, "class": name, "photos": n}
    row |= {"candidate": share.value, "low": share.low, "high": share.high}
    row["gone"] = name in answers.lacking and name not in answers.deployed_lacking
    row["missing"] = name in answers.lacking
    row |= dict.fromkeys(("deployed", "difference", "from", "to", "lost", "gained", "p"), np.nan)
    if answers.deployed is None:
        return row
    before = answers.deployed[part]
    difference = bootstrap_difference(before, hits)
    return row | {
        "deployed": float(before.mean()),
        "difference": difference.value,
        "from": difference.low,
        "to": difference.high,
        "lost": int((before & ~hits).sum()),
        "gained": int((~before & hits).sum()),
        "p": worse(before, hits),
    }


def _reasons(
    row: dict[str, Any], minimum: float | None, allowed: float, significance: float
) -> list[str]:
    who = f"{row['class']} on {row['reference']}" if row["class"] else f"all of {row['reference']}"
    said = []
    if row["missing"] and (row.get("important") or (row["gone"] and not np.isnan(row["deployed"]))):
        said.append(f"{who}: the candidate does not have this class")
    if minimum is not None and row["candidate"] < minimum - SLACK:
        said.append(
            f"{who}: accuracy {row['candidate']:.1%} ({row['low']:.1%} to {row['high']:.1%}, "
            f"{row['photos']} photos) is below the minimum of {minimum:.1%}"
        )
    loss = -row["difference"]
    if loss > allowed + SLACK and row["p"] <= significance:
        said.append(
            f"{who}: {100 * loss:.1f} points worse than the deployed model, where "
            f"{100 * allowed:.1f} are allowed: {row['lost']} of {row['photos']} photos lost, "
            f"{row['gained']} gained, p = {row['p']:.2g}"
        )
    return said


def _blind(classes: pd.DataFrame, significance: float) -> int:
    """Classes of which even the loss of every photo would not fail."""
    photos = classes.loc[~classes["important"], "photos"].to_numpy(int)
    return int((0.5 ** (photos + 1) * len(photos) > significance).sum())
