"""Pairs found in blocks are those found one by one; copies are more alike than anything else."""

import numpy as np
import pytest

from carsclf.analysis import duplicates
from carsclf.analysis.duplicates import (
    equal_pairs,
    likeness,
    neighbours,
    pairs_above,
    unit_rows,
)


def test_neighbours_are_those_of_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "BLOCK_BYTES", 4 * 50 * 7)  # blocks of 7 of 50 rows
    rows = unit_rows(np.random.default_rng(0).normal(size=(50, 6)))
    where, product = neighbours(rows, rows, 4)
    for i in range(50):
        order = sorted((j for j in range(50) if j != i), key=lambda j: -float(rows[i] @ rows[j]))
        assert where[i].tolist() == order[:4]
        assert product[i] == pytest.approx([rows[i] @ rows[j] for j in order[:4]], abs=1e-6)


def test_pairs_are_named_once_and_nobody_twice() -> None:
    where = np.array([[1, 2], [0, 2], [0, 1]])
    product = np.array([[0.9, 0.2], [0.9, 0.5], [0.2, 0.5]])
    assert pairs_above(where, product, 0.5).tolist() == [[0, 1], [1, 2]]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_photos_have_few_neighbours(n: int) -> None:
    rows = unit_rows(np.eye(3)[:n])
    where, _ = neighbours(rows, rows, 5)
    assert where.shape == (n, n - 1)


def test_equal_files_each_with_the_first_of_their_kind() -> None:
    assert equal_pairs(["a", "b", "a", "", "", "b", "a"]).tolist() == [[0, 2], [1, 5], [0, 6]]
    assert equal_pairs(["a", ""]).shape == (0, 2)


def blots(seed: int, side: int = 64) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    picture = np.full((side, side), 120.0)
    for _ in range(12):
        inside = (x - rng.random()) ** 2 + (y - rng.random()) ** 2 < rng.uniform(0.03, 0.2) ** 2
        picture[inside] += rng.uniform(-80, 80)
    return picture


def halved(picture: np.ndarray) -> np.ndarray:
    return picture.reshape(32, 2, 32, 2).mean((1, 3))


def crop(picture: np.ndarray, top: int, left: int, side: int) -> np.ndarray:
    """A part of 64 x 64, brought to 32 x 32 by the nearest pixel."""
    part = picture[top : top + side, left : left + side]
    place = (np.arange(32) * side / 32).astype(int)
    return part[place][:, place]


def test_copies_are_alike_and_others_are_not() -> None:
    one, two = blots(0), blots(1)
    thumbs = np.stack(
        [
            halved(one), halved(one)[:, ::-1], 0.5 * halved(one) + 70, crop(one, 4, 9, 50),
            crop(one, 4, 9, 50)[:, ::-1], halved(two), np.full((32, 32), 99.0),
        ]
    ).astype(np.float32)  # fmt: skip
    pairs = np.array([[0, i] for i in range(1, 7)])
    scores, mirrored = likeness(thumbs, pairs)
    assert scores[:2] == pytest.approx(1, abs=1e-3)  # brightness and contrast do not count
    assert (scores[2:4] > 0.9).all()
    assert scores[4] < 0.8
    assert scores[5] == pytest.approx(0, abs=1e-3)  # flat
    assert mirrored[:4].tolist() == [True, False, False, True]
    backwards, _ = likeness(thumbs, pairs[:, ::-1])
    assert backwards == pytest.approx(scores, abs=1e-3)


def test_the_correlation_is_that_of_a_plain_loop() -> None:
    """Every size at every place, with numpy's corrcoef."""
    whole, piece = (np.random.default_rng(s).random((8, 8)) * 200 for s in (0, 1))
    best = 0.0
    for height, width in duplicates._sizes(8):
        small = duplicates._shrink(8, height) @ piece @ duplicates._shrink(8, width).T
        for top in range(9 - height):
            for left in range(9 - width):
                seen = whole[top : top + height, left : left + width]
                best = max(best, np.corrcoef(seen.ravel(), small.ravel())[0, 1])
    found = duplicates._placed(whole[None].astype(np.float32), piece[None].astype(np.float32))
    assert found[0] == pytest.approx(best, abs=1e-4)


def test_shrinking_is_the_mean_by_area() -> None:
    assert duplicates._shrink(4, 2) @ np.arange(4) == pytest.approx([0.5, 2.5])
    assert duplicates._shrink(3, 2) @ np.array([0, 3, 6]) == pytest.approx([1, 5])
