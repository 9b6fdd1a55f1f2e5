"""Several models as one, on predictions small enough to be combined by hand."""

import numpy as np
import pytest

from carsclf.analysis.ensembles import agreement, align, fit_weights, mean, vote
from carsclf.errors import DataError
from carsclf.records import Predictions


def said(
    rows: list[list[float]], targets: list[int] | None = None, names: str = "xyz", ids: str = ""
) -> Predictions:
    """Predictions of photos that are called by letters."""
    ids = ids or "abcdefghijklmnopqrstuvwxyz"[: len(rows)]
    given = np.array(targets if targets is not None else [0] * len(rows))
    return Predictions(list(ids), list(ids), given, np.array(rows), list(names))


def test_members_meet_by_the_names_of_photos_and_classes() -> None:
    one = said([[0.5, 0.3, 0.2], [0.1, 0.7, 0.2], [0.2, 0.2, 0.6]], [0, 1, 2], "xyz", "abc")
    two = said([[0.6, 0.1, 0.3], [0.0, 0.8, 0.2]], [0, 2], "zxy", "cb")  # z x y
    first, second = align({"one": one, "two": two})
    assert first.ids == second.ids == ["b", "c"]
    assert first.class_names == second.class_names == ["x", "y", "z"]
    assert first.targets.tolist() == second.targets.tolist() == [1, 2]
    assert first.probabilities.tolist() == [[0.1, 0.7, 0.2], [0.2, 0.2, 0.6]]
    assert second.probabilities.tolist() == [[0.8, 0.2, 0.0], [0.1, 0.3, 0.6]]


def test_of_partly_different_classes_the_common_ones_are_kept() -> None:
    """Photo c is of a class that only one knows; 0.5 and 0.3 of 0.8 are 0.625 and 0.375."""
    one = said([[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.2, 0.2, 0.6]], [0, 1, 2])
    two = said([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5]], [0, 1, 1], "xy", "abd")
    first, second = align({"one": one, "two": two})
    assert first.ids == ["a", "b"]
    np.testing.assert_allclose(first.probabilities, [[0.625, 0.375], [1 / 7, 6 / 7]])
    assert second.probabilities.tolist() == [[0.9, 0.1], [0.4, 0.6]]


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (said([[0.5, 0.5]], [0], "uv"), "two shares 0 classes"),
        (said([[0.5, 0.5]], [0], "xu"), "two shares 1 classes"),
        (said([[0.5, 0.3, 0.2]], [0], ids="q"), "two shares no photo .*data.split_seed=0"),
        (said([[0.5, 0.3, 0.2]], [1]), r"two was trained with another label of a .*\(x\)"),
    ],
)
def test_what_does_not_go_together_is_named(other: Predictions, told: str) -> None:
    with pytest.raises(DataError, match=told):
        align({"one": said([[0.5, 0.3, 0.2]]), "two": other})


def test_mean_and_weighted_mean() -> None:
    members = [said([[0.6, 0.4]], names="xy"), said([[0.2, 0.8]], names="xy")]
    np.testing.assert_allclose(mean(members).probabilities, [[0.4, 0.6]])
    np.testing.assert_allclose(mean(members, [0.75, 0.25]).probabilities, [[0.5, 0.5]])


def test_the_majority_wins_whatever_the_shares() -> None:
    sure, unsure = [0.0, 0.0, 1.0], [0.4, 0.3, 0.3]
    whole = vote([said([sure]), said([unsure]), said([unsure])], seed=0)
    assert whole.predicted.tolist() == [0]
    np.testing.assert_allclose(whole.probabilities, [[2 / 3, 0, 1 / 3]])


def test_ties_are_drawn_by_the_seed_alone() -> None:
    """Two of three classes have a vote each: either wins about half of 400 photos, never z."""
    ids = [f"{i:03}" for i in range(400)]

    def always(row: list[float]) -> Predictions:
        return Predictions(ids, ids, np.zeros(400, int), np.tile(row, (400, 1)), list("xyz"))

    members = [always([1.0, 0.0, 0.0]), always([0.0, 1.0, 0.0])]
    one, same, other = (vote(members, seed).predicted for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert set(one) == {0, 1}
    assert 150 < one.sum() < 250
    np.testing.assert_allclose(vote(members, 1).probabilities.sum(axis=1), 1)


def test_weights_are_where_the_derivative_of_the_log_loss_vanishes() -> None:
    """3/4 ln(0.1 + 0.8 w) + 1/4 ln(0.9 - 0.8 w) is the greatest at w = 2.6 / 3.2."""
    right, wrong = [0.9, 0.1], [0.1, 0.9]
    one = said([right, right, right, wrong], names="xy")
    two = said([wrong, wrong, wrong, right], names="xy")
    np.testing.assert_allclose(fit_weights([one, two]), [0.8125, 0.1875], atol=1e-4)


def test_a_member_that_only_harms_gets_no_weight() -> None:
    good, bad = said([[0.9, 0.1]] * 3, names="xy"), said([[0.2, 0.8]] * 3, names="xy")
    np.testing.assert_allclose(fit_weights([bad, good, bad]), [0, 1, 0], atol=1e-6)


def test_agreement_counts_equal_answers() -> None:
    x, y = [0.9, 0.1], [0.1, 0.9]
    members = [said([x, x, y, y], names="xy"), said([x, y, y, y], names="xy")]
    assert agreement(members).tolist() == [[1, 0.75], [0.75, 1]]
