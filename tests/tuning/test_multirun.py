"""The table of studies after `tune.py -m`: what each found, in a few words."""

from typing import Any

import pytest

from carsclf.tuning.multirun import found
from carsclf.tuning.study.records import StudySummary


def summary(winner: int | None, *entries: dict[str, Any], metric: str = "val/top1") -> StudySummary:
    known = {"trial": 0, "role": "incumbent", "scores": [0.5], "mean": 0.5, "folders": []}
    final = [known, *({**known, "role": "search", **entry} for entry in entries)]
    return StudySummary(
        *("a", "asha", metric, "max", 6, "prefix", 8.0, 8.0, 1.0, 9, {"finished": 9}, True),
        *(1, 0.6, 6),
        winner=winner,
        final=final if entries else [],
    )


WON = {"trial": 3, "difference": 0.021, "low": 0.004, "high": 0.038, "probability": 0.99}
WORDS = {
    "better": (summary(3, WON), "+2.1 [0.4 to 3.8]"),
    "not better": (summary(0, WON), "nothing better"),
    "a loss": (summary(3, WON, metric="val/loss"), "+0.021 [0.004 to 0.038]"),
    "no final": (summary(1), "no final"),
    "no incumbent": (summary(3, {"trial": 3}), "no incumbent to compare"),
}


@pytest.mark.parametrize("case", WORDS)
def test_what_a_study_found(case: str) -> None:
    told, expected = WORDS[case]
    assert found(told) == expected
