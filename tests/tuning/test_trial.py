"""How many epochs a share of a training is."""

from carsclf.tuning.trial import length


def test_lengths_are_those_published() -> None:
    assert [length(share, 35) for share in (0.1, 0.5, 1.0)] == [4, 18, 35]


def test_whole_epochs_are_not_rounded_up() -> None:
    assert [length(share, 30) for share in (0.1, 0.7, 0.3)] == [3, 21, 9]  # 0.7 * 30 > 21
