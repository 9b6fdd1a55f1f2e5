"""Which trainings fit, by hand."""

import pytest

from carsclf.advising.times import (
    MOST,
    Counts,
    Pace,
    Rates,
    best_size,
    most_epochs,
    shorter,
    split_epochs,
)

CARS = Counts(train=5000, val=1000, test=1000)
LITE0 = Rates(size=160, train=50, predict=200)  # an epoch: 100 s and 5 s


def test_an_epoch_goes_with_the_pixels():
    assert LITE0.epoch(CARS, 160) == pytest.approx(105)
    assert LITE0.epoch(CARS, 80) == pytest.approx(105 / 4)


@pytest.mark.parametrize(
    ("total", "expected"),
    [(6, (0, 0)), (7, (1, 3)), (18, (1, 14)), (36, (2, 28)), (200, (11, MOST))],
)
def test_short_trainings_leave_the_rest(total: int, expected: tuple[int, int]):
    assert split_epochs(total, 5000) == expected


def test_of_few_pictures_trainings_have_more_epochs():
    """200 pictures: 30,000 are 150 epochs, and 1,000 are 5."""
    assert most_epochs(200) == 150
    assert most_epochs(5000) == 30
    assert split_epochs(60, 200) == (5, 40)
    assert split_epochs(14, 200) == (2, 6)  # where there is no time, a seventh
    assert shorter(45, 200) == 5
    assert shorter(3, 200) == 1
    assert shorter(30, 5000) == 2


def test_a_training_is_as_large_as_it_can_be_with_enough_epochs():
    sizes = (96, 128, 160, 224)
    assert best_size(LITE0, CARS, 105 * 9, sizes) == (160, 5)  # 4 of 9 are the short ones
    assert best_size(LITE0, CARS, 105 * 8, sizes)[0] == 128  # only 4 would be left
    assert best_size(LITE0, CARS, 105 * 1.44 * 1.361 * 9 + 5, sizes)[0] == 224
    kept = best_size(LITE0, CARS, 105 * 9, sizes, before=lambda size: size)  # 160 s: 7.5 epochs
    assert kept[0] == 128


def test_where_nothing_is_enough_the_most_epochs_win():
    size, epochs = best_size(LITE0, CARS, 37.8 * 8, (96, 160))  # an epoch at 96 px: 37.8 s
    assert (size, epochs) == (96, 4)


def test_epochs_that_fit_leave_room_for_what_is_no_epoch():
    pace = Pace(epoch=10, beside=25)
    assert pace.fits(125, MOST) == 10
    assert pace.fits(124.9, MOST) == 9
    assert pace.fits(30, MOST) == 0
    assert pace.fits(10_000, MOST) == MOST
