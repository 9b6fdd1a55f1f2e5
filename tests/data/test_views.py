"""Views of a picture for test-time augmentation, on pictures whose pixels say where they lay."""

import numpy as np
import pytest

from carsclf.data.transforms import EvalTransform
from carsclf.data.views import CUTS, Views
from carsclf.errors import ConfigError

LARGER = EvalTransform("center_crop", 4, 6)


def numbered(height: int, width: int) -> np.ndarray:
    """(height, width, 3): a pixel's row, its column, and 0."""
    rows, columns = np.indices((height, width))
    return np.stack([rows, columns, 0 * rows], axis=2).astype(np.uint8)


def test_ten_crop_is_five_places_of_the_middle_square_and_their_mirrors() -> None:
    """A picture 8 wide and 6 high: its middle square begins in column 1."""
    views = Views(LARGER, "ten_crop").finish(numbered(6, 8), ())
    assert views.shape == (10, 4, 4, 3) == Views(LARGER, "ten_crop").shape
    places = [(0, 1), (0, 3), (2, 1), (2, 3), (1, 2)]
    mirrors = [1, 0, 3, 2, 4]  # the mirrored picture's left corner shows the right one
    for i, (top, left) in enumerate(places):
        assert views[i, :, :, 0].tolist() == [[top + y] * 4 for y in range(4)]
        assert views[i, :, :, 1].tolist() == [[left + x for x in range(4)]] * 4
        assert views[5 + mirrors[i], :, :, 1].tolist() == [[left + 3 - x for x in range(4)]] * 4
    assert np.array_equal(Views(LARGER, "crops").finish(numbered(6, 8), ()), views[:5])


@pytest.mark.parametrize("rule", [LARGER, EvalTransform("squash", 6, 6)])
def test_flip_and_scales_begin_with_the_plain_view(rule: EvalTransform) -> None:
    picture = numbered(6, 6 if rule.rule == "squash" else 9)
    plain = rule.finish(picture, ())
    for kind in ("flip", "scales"):
        views = Views(rule, kind).finish(picture, ())
        assert np.array_equal(views[0], plain)
        assert len(views) == Views(rule, kind).count
    assert np.array_equal(Views(rule, "flip").finish(picture, ())[1], plain[:, ::-1])


def test_scales_enlarge_the_middle() -> None:
    """A white square on black that is 3/4 as wide as the view fills the last one."""
    rule = EvalTransform("squash", 16, 16)
    picture = np.zeros((16, 16, 3), np.uint8)
    picture[2:14, 2:14] = 255
    first, second, third = (view > 127 for view in Views(rule, "scales").finish(picture, ()))
    assert first.mean() == (12 / 16) ** 2
    assert second.mean() == pytest.approx((12 / 14) ** 2, abs=0.08)  # of whole pixels
    assert third.all()


@pytest.mark.parametrize("kind", ["crops", "ten_crop"])
@pytest.mark.parametrize("rule", ["squash", "center_crop"])
def test_crops_need_a_larger_picture(kind: str, rule: str) -> None:
    with pytest.raises(ConfigError, match=f"tta={kind} cuts views of 224 .*resized to 224.*flip"):
        Views(EvalTransform(rule, 224, 224), kind)


def test_each_kind_makes_as_many_views_as_it_says() -> None:
    for kind, (count, _) in CUTS.items():
        assert len(Views(LARGER, kind).finish(numbered(6, 6), ())) == count
