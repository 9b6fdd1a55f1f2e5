"""Policies follow the photo's draws alone; colours are what PIL and colorsys make of them."""

import colorsys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from carsclf.data.augment import GREY, Augmentation, draws
from carsclf.data.policies import Policy, Recoloured
from tests.data.test_augment import smooth

COPY = Recoloured(share=1.0)


def changed(augmentation: Augmentation, picture: np.ndarray, seeds: int = 40) -> list[np.ndarray]:
    return [augmentation(picture, each) for each in draws(range(seeds))]


@pytest.mark.parametrize(
    "policy",
    [Policy(policy="trivial"), Policy(policy="rand", flip=0.5), Policy(erasing=1.0)],
    ids=["trivial", "rand", "erasing"],
)
def test_what_happens_is_the_draws_and_nothing_elses(policy: Policy) -> None:
    picture, before = smooth(24, 32), smooth(24, 32)
    torch.manual_seed(1)
    first, state = changed(policy, picture), torch.random.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(torch.random.get_rng_state(), state)  # nobody else's draws are used up
    torch.manual_seed(2)
    again = changed(policy, picture)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert np.array_equal(picture, before)
    assert {p.shape for p in first} == {(24, 32, 3)}
    assert {p.dtype for p in first} == {np.dtype("uint8")}
    assert sum(not np.array_equal(p, picture) for p in first) > 20  # and they differ
    assert len({p.tobytes() for p in first}) > 15


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")  # as in training
def test_a_read_only_picture_is_not_written_to() -> None:
    picture = smooth(24, 32)
    picture.flags.writeable = False
    changed(Policy(flip=0.5, policy="trivial", erasing=0.5), picture)
    changed(Recoloured(contrast=2.0, mirrored=True), picture)


def test_a_box_is_erased_in_its_share_of_pictures() -> None:
    picture = np.full((40, 40, 3), 200, np.uint8)
    areas = np.array(
        [(p == GREY).all(2).mean() for p in changed(Policy(erasing=0.5), picture, 400)]
    )
    erased = areas > 0
    assert 0.42 < erased.mean() < 0.58  # three deviations
    assert areas[erased].min() > 0.01
    assert 0.25 < areas[erased].max() < 0.35
    for after in changed(Policy(erasing=1.0), picture, 20):
        inside = (after == GREY).all(2)
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        box = inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert box.all()  # one box
        assert (after[~inside] == 200).all()


@pytest.mark.parametrize(
    ("name", "enhance", "apart"),
    [
        ("brightness", ImageEnhance.Brightness, 1),
        ("contrast", ImageEnhance.Contrast, 2),  # PIL rounds the mean grey
        ("saturation", ImageEnhance.Color, 2),  # and each pixel's grey
    ],
)
@pytest.mark.parametrize("factor", [0.0, 0.4, 1.7])
def test_a_copys_colours_are_pils(name: str, enhance: type, apart: int, factor: float) -> None:
    picture = smooth(24, 32)
    ours = replace(COPY, **{name: factor})(picture, draws([0])[0])
    theirs = np.asarray(enhance(Image.fromarray(picture)).enhance(factor))
    assert np.abs(ours.astype(int) - theirs).max() <= apart


def test_a_hue_is_a_turn_of_the_colour_circle() -> None:
    picture = smooth(6, 6)
    ours = replace(COPY, hue=0.25)(picture, draws([0])[0])
    for y, x in ((0, 0), (2, 3), (5, 5)):
        h, s, v = colorsys.rgb_to_hsv(*(picture[y, x] / 255))
        theirs = 255 * np.array(colorsys.hsv_to_rgb((h + 0.25) % 1, s, v))
        assert np.abs(ours[y, x] - theirs).max() < 3


def test_a_share_of_the_pictures_are_copies_all_alike() -> None:
    picture = smooth(24, 32)
    found = changed(replace(COPY, share=0.3, saturation=2.0, mirrored=True), picture, 600)
    copies = [p for p in found if not np.array_equal(p, picture)]
    assert 0.24 < len(copies) / 600 < 0.36
    assert len({p.tobytes() for p in copies}) == 1
    mirrored = replace(COPY, mirrored=True)(picture, draws([0])[0])
    assert np.array_equal(mirrored, picture[:, ::-1])


def test_what_changes_nothing_is_not_random() -> None:
    assert not Policy().random
    assert not Recoloured(share=0.0).random
    assert Policy(erasing=0.1).random
    assert COPY.random


def test_a_picture_reseeds_no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch.manual_seed does, and dropout there would follow the photos that were read."""
    monkeypatch.setattr(torch, "manual_seed", lambda seed: pytest.fail("seeds every device"))
    before = torch.random.get_rng_state()
    Policy(policy="trivial")(smooth(24, 32), draws([5])[0])
    assert torch.equal(torch.random.get_rng_state(), before)
