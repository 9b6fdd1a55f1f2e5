"""The five questions on tables that were made by hand."""

import pandas as pd
import pytest

from carsclf.analysis.filters import FILTERS, Limits

SAID = pd.DataFrame(
    [
        ("0", "Audi", 0.90, 0.10, 0.10),
        ("1", "Audi", 0.50, 0.97, 0.99),  # a look-alike of Audi, and unknown
        ("2", "BMW", 0.50, 0.60, 0.70),  # medium, but near to the training's
        ("3", "BMW", 0.70, 0.40, 0.85),
        ("4", "Fiat", 0.99, 0.00, 0.00),
        ("5", "Fiat", 0.05, 0.99, 0.90),  # too low to look like a Fiat
        ("6", "Audi", 0.30, 0.94, 0.80),
        ("7", "Kia", 0.60, 0.30, 0.20),  # of which the library says nothing
    ],
    columns=["path", "predicted", "probability", "openness", "distance"],
)
LIBRARY = pd.DataFrame(
    [("Audi", 39, 0), ("BMW", 40, 40), ("Fiat", 12, 36), ("Seat", 0, 0)],
    columns=["class", "photos", "synthetic"],
)
EXPECTED = {
    "few": ["4", "5", "0", "1", "6"],  # Fiat has 12, Audi 39; BMW has 40, which is enough
    "synthetic": ["4", "5", "3", "2"],  # 3/4 of Fiat's, 1/2 of BMW's
    "look_alikes": ["1", "6", "3"],  # by class, the farthest first
    "unknown": ["5", "1"],
    "lowest": ["5", "6"],  # a quarter of eight
}


@pytest.mark.parametrize("name", FILTERS)
def test_by_hand(name: str) -> None:
    kept = FILTERS[name](SAID, LIBRARY, Limits(lowest=0.25))
    assert kept["path"].tolist() == EXPECTED[name]


@pytest.mark.parametrize("name", FILTERS)
def test_of_no_pictures(name: str) -> None:
    assert FILTERS[name](SAID.head(0), LIBRARY, Limits()).empty


def test_limits_move_the_lines() -> None:
    few = FILTERS["few"](SAID, LIBRARY, Limits(few=41))
    assert few["path"].tolist() == ["4", "5", "0", "1", "6", "3", "2"]
    assert (
        FILTERS["synthetic"](SAID, LIBRARY, Limits(synthetic=0.0))["predicted"].unique().size == 2
    )
    wide = Limits(medium=(0.0, 1.0), far=0.0)
    assert len(FILTERS["look_alikes"](SAID, LIBRARY, wide)) == len(SAID)
    assert FILTERS["lowest"](SAID, LIBRARY, Limits(lowest=0.0)).empty
    assert len(FILTERS["lowest"](SAID, LIBRARY, Limits(lowest=1.0))) == len(SAID)
