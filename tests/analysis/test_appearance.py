"""Measures of pictures, against pictures worked out by hand and against Pillow."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from carsclf.analysis.appearance import MEASURES, appearance, compared, in_words


def of(*columns: tuple[int, int, int], height: int = 4) -> np.ndarray:
    """A picture of so many columns, each of one colour."""
    return np.tile(np.array(columns, np.uint8), (height, 1, 1))


def test_a_grey_picture_has_no_colour() -> None:
    said = appearance(of((9, 9, 9), (200, 200, 200)))
    assert said["colourfulness"] == 0
    assert said["saturation"] == 0
    assert said["colours"] == 2
    assert appearance(of((0, 0, 0)))["saturation"] == 0  # black


def test_one_colour_by_hand() -> None:
    """Red 200: rg = 200, yb = 100, no deviation: 0.3 sqrt(200^2 + 100^2)."""
    said = appearance(of((200, 0, 0), (200, 0, 0)))
    assert said["colourfulness"] == pytest.approx(0.3 * math.sqrt(50_000))
    assert said["saturation"] == 1
    assert said["edge_energy"] == 0
    assert said["colours"] == 1
    assert appearance(of((200, 150, 100)))["saturation"] == pytest.approx(0.5)


def test_two_colours_by_hand() -> None:
    """Red and blue of 100, half each: rg = 100, 0 and yb = 50, -100.

    Deviations 50 and 75, means 50 and -25.
    """
    said = appearance(of((100, 0, 0), (0, 0, 100)))
    expected = math.hypot(50, 75) + 0.3 * math.hypot(50, 25)
    assert said["colourfulness"] == pytest.approx(expected)
    assert said["colours"] == 2


def test_edges_of_known_gradient() -> None:
    """A step of 80 in the middle: 40 a pixel in the two columns beside it, of six."""
    step = of(*[(20, 20, 20)] * 3, *[(100, 100, 100)] * 3)
    assert appearance(step)["edge_energy"] == pytest.approx(2 * 40 / 6)
    assert appearance(step.transpose(1, 0, 2))["edge_energy"] == pytest.approx(2 * 40 / 6)
    ramp = of(*[(5 * i, 5 * i, 5 * i) for i in range(10)])  # 5 a pixel inside, 2.5 at the ends
    assert appearance(ramp)["edge_energy"] == pytest.approx((8 * 5 + 2 * 2.5) / 10)
    red = of(*[(0, 0, 0)] * 3, *[(100, 0, 0)] * 3)  # of which luma is 29.9
    assert appearance(red)["edge_energy"] == pytest.approx(2 * 29.9 / 2 / 6)


@given(arrays(np.uint8, (5, 4, 3), elements=st.integers(0, 255)))
def test_saturation_is_pillows(picture: np.ndarray) -> None:
    """Which rounds down to 255ths."""
    theirs = np.asarray(Image.fromarray(picture).convert("HSV"))[..., 1] / 255
    assert appearance(picture)["saturation"] == pytest.approx(theirs.mean(), abs=1 / 255)


@given(arrays(np.uint8, (5, 4, 3), elements=st.integers(0, 255)))
def test_a_mirrored_or_turned_picture_looks_the_same(picture: np.ndarray) -> None:
    said = appearance(picture)
    assert said["colours"] == len({tuple(colour) for colour in picture.reshape(-1, 3).tolist()})
    for other in (picture[:, ::-1], picture[::-1], picture.transpose(1, 0, 2)):
        assert appearance(np.ascontiguousarray(other)) == pytest.approx(said)


def test_pairs_side_by_side() -> None:
    grey, red = of((100, 100, 100)), of((200, 0, 0))
    table = compared({"a": (grey, red), "b": (red, red)})
    assert table["picture"].tolist() == ["a", "a", "b", "b", "mean", "mean"]
    assert table["version"].tolist() == ["original", "augmented"] * 3
    assert set(table) == {"picture", "version", *MEASURES}
    assert table["saturation"].tolist() == [0, 1, 1, 1, 0.5, 1]
    assert in_words(table).startswith("colourfulness 34 → 67, saturation 0.50 → 1.00, edge energy")
