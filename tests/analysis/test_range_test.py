"""The rules of a learning-rate finder against values worked by hand and plain definitions."""

from itertools import combinations, pairwise

import numpy as np
import pandas as pd
import pytest

from carsclf.analysis.range_test import RULES, Smoothed, judged, suggestions
from carsclf.errors import CarsclfError

LOSSES = [5, 5, 5, 5, 4, 2, 1.5, 1, 0.9, 1.2, 2, 4, 9]  # at 1e-8, 1e-7 ... 1e4


def table_of(losses: list[float]) -> pd.DataFrame:
    """A range test of 20 rates from 1e-10, of which the rules look at 13 from 1e-8 on."""
    whole = [9.0, 9.0, *losses, *[99.0] * 5]
    rates = [10.0 ** (i - 10) for i in range(len(whole))]
    return pd.DataFrame({"lr": rates, "loss": 0.0, "smoothed": whole})


def test_suggestions_worked_by_hand() -> None:
    found = suggestions(table_of(LOSSES), 20)
    assert judged(table_of(LOSSES), 20)["smoothed"].tolist() == LOSSES
    assert found["steepest"] == 1e-4  # from 4 to 2
    assert found["minimum"] == 0.1  # a tenth of where it is 0.9
    # six fall in turn, the last in place 8: as fastai counts, from place 2; and half of six further
    assert found["valley"] == 1e-3


def longest(losses: list[float]) -> tuple[int, int]:
    """The length of the longest falling subsequence and the first place where one ends."""
    best = (1, 0)
    for size in range(2, len(losses) + 1):
        for places in combinations(range(len(losses)), size):
            falls = all(losses[a] > losses[b] for a, b in pairwise(places))
            if falls and (size > best[0] or places[-1] < best[1]):
                best = (size, places[-1])
    return best


@pytest.mark.parametrize("seed", range(8))
def test_valley_is_two_thirds_through_the_longest_fall(seed: int) -> None:
    losses = np.random.default_rng(seed).permutation(10).tolist()
    size, end = longest(losses)
    place = max(0, end - size + int(size / 3) + int(size / 6))
    table = table_of(losses)
    assert suggestions(table, 20)["valley"] == pytest.approx(table["lr"][2 + place])


def test_smoothing_is_that_of_pandas() -> None:
    losses = np.random.default_rng(0).normal(size=30)
    smoothed = Smoothed()
    expected = pd.Series(losses).ewm(alpha=0.02, adjust=True).mean()
    assert [smoothed(loss) for loss in losses.tolist()] == pytest.approx(expected.tolist())


@pytest.mark.parametrize(
    ("losses", "said"),
    [([1, 2, 3], "exploded before"), ([1, 2, 3, 4, 5, 6], "fell at none")],
)
def test_nothing_is_suggested_where_nothing_was_seen(losses: list[float], said: str) -> None:
    with pytest.raises(CarsclfError, match=said):
        suggestions(table_of(losses), 20)


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_suggested_where_the_loss_falls_less_than_batches_differ(seed: int) -> None:
    """Batches differ by 0.1; a fall of 0.5 is no chance, and the explosion at the end no fall."""
    noise = np.random.default_rng(seed).normal(0, 0.1, 400)
    explodes = np.where(np.arange(400) > 340, (np.arange(400) - 340) * 0.2, 0)

    def found(losses: np.ndarray) -> dict[str, float]:
        smoothed = Smoothed()
        means = [smoothed(loss) for loss in losses.tolist()]
        table = {"lr": np.geomspace(1e-7, 10, 400), "loss": losses, "smoothed": means}
        return suggestions(pd.DataFrame(table), 400)

    assert not found(5 + noise + explodes)
    assert set(found(5 - np.linspace(0, 0.5, 400) + noise + explodes)) == set(RULES)
