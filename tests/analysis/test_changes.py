"""From one model to another, by hand: four photos of each of two classes."""

import numpy as np
import pandas as pd

from carsclf.analysis.changes import by_class, by_kind
from carsclf.analysis.mistakes import split_errors

NAMES = ["BMW M5 Sedan 2010", "BMW M5 Sedan 2012", "Audi S4 Sedan 2007"]
TARGETS = np.array([0, 0, 0, 0, 2, 2, 2, 2])
FIRST = np.array([0, 1, 1, 2, 2, 2, 2, 0])
SECOND = np.array([0, 0, 2, 0, 2, 2, 0, 0])


def test_by_class() -> None:
    table = by_class(TARGETS, FIRST, SECOND, NAMES).set_index("class")
    assert table.index.tolist() == [NAMES[0], NAMES[2]]  # none of the second has a photo
    assert table["photos"].tolist() == [4, 4]
    assert table["before"].tolist() == [0.25, 0.75]
    assert table["after"].tolist() == [0.75, 0.5]
    assert table["change"].tolist() == [0.5, -0.25]
    assert table["vanish"].tolist() == [2, 0]
    assert table["appear"].tolist() == [0, 1]


def test_by_kind() -> None:
    """Of two taken for another year one is right now, and one taken for another make."""
    table = by_kind(TARGETS, FIRST, SECOND, NAMES)
    assert table is not None
    table = table.set_index("kind")
    assert table.loc["other year"].tolist() == [2, 0, 1, 0]
    assert table.loc["other make"].tolist() == [2, 3, 1, 1]
    assert table.loc["other model"].tolist() == [0, 0, 0, 0]
    for column, said in (("before", FIRST), ("after", SECOND)):
        known = split_errors(TARGETS, said, NAMES)
        assert known is not None
        assert table[column].tolist() == known["errors"].tolist()
    assert by_kind(TARGETS, FIRST, SECOND, ["a", "b", "c"]) is None


def test_the_largest_change_comes_first_whichever_way() -> None:
    targets = np.repeat([0, 1], 10)
    first = np.where(np.arange(20) < 10, 0, 1)
    second = np.where(np.arange(20) % 10 < np.where(targets == 0, 9, 4), targets, 1 - targets)
    table = by_class(targets, first, second, ["a", "b"])
    assert table["class"].tolist() == ["b", "a"]
    assert isinstance(table, pd.DataFrame)
