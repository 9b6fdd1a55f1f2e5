"""Trials by boundary, by hand."""

import numpy as np
import pandas as pd

from carsclf.analysis.boundary import by_boundary, in_order, told

TRIALS = pd.DataFrame(
    {
        "values.mode.boundary": [10, 0, 2, 2, 2, np.nan, 0],
        "best": [0.3, 0.7, 0.5, 0.6, np.nan, 0.9, 0.8],
        "epochs": [4, 4, 2, 4, 1, 4, 2],
        "seconds": [4.0, 40.0, 8.0, 12.0, 9.0, 1.0, 24.0],
    }
)


def test_numbers_come_before_names_and_in_their_order() -> None:
    assert in_order(["head", "10", "2", "layer3", "2", "head"]) == ["2", "10", "head", "layer3"]


def test_by_hand() -> None:
    """Without the trial that has no score, and the one that has no boundary."""
    table = by_boundary(told(TRIALS), 4).set_index("boundary")
    assert table.index.tolist() == ["0", "2", "10"]
    assert table["trials"].tolist() == [2, 2, 1]
    assert table["full"].tolist() == [1, 1, 1]
    assert table["best"].tolist() == [0.8, 0.6, 0.3]
    assert table["mean"].tolist() == [0.7, 0.6, 0.3]
    # paces of 10 and 12, 4 and 3, 1 second an epoch
    assert table["seconds"].tolist() == [44, 14, 4]
    losses = by_boundary(told(TRIALS), 4, sign=-1)
    assert losses["best"].tolist() == [0.7, 0.5, 0.3]
    assert np.isnan(by_boundary(told(TRIALS), 9)["mean"].to_numpy()).all()
