"""Random changes follow the photo's draws, and agree with torchvision's where it has them."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torchvision.transforms.v2 import InterpolationMode, RandomResizedCrop, functional

from carsclf.data.augment import (
    CROP,
    DRAWS,
    GREY,
    ROTATION,
    ZOOM,
    Augmentation,
    area_crop,
    draws,
    random_crop,
    warp,
)


def smooth(height: int, width: int) -> np.ndarray:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 255, (3, 6, 6), dtype=torch.uint8, generator=generator)
    return functional.resize(noise, [height, width]).permute(1, 2, 0).numpy()


def test_draws_are_uniform_and_unrelated() -> None:
    table = torch.tensor(draws(range(20_000)))
    assert ((table >= 0) & (table < 1)).all()
    assert (table.mean(0) - 0.5).abs().max() < 0.01
    assert (table.var(0) - 1 / 12).abs().max() < 0.005
    off_diagonal = torch.corrcoef(table.T) - torch.eye(DRAWS)
    assert off_diagonal.abs().max() < 0.04
    assert torch.corrcoef(torch.stack([table[:-1, 0], table[1:, 0]]))[0, 1].abs() < 0.03
    assert draws([7, 8])[1] == draws([8])[0]  # of the seed alone, not of the batch


def test_warp_turns_and_scales_as_torchvision_does() -> None:
    picture = smooth(48, 64)
    ours = torch.from_numpy(warp(picture, math.radians(7), 1.1, False)).permute(2, 0, 1).float()
    theirs = functional.affine(
        torch.from_numpy(picture).permute(2, 0, 1),
        angle=7,
        translate=[0, 0],
        scale=1.1,
        shear=[0, 0],
        interpolation=InterpolationMode.BILINEAR,
        fill=list(GREY),
    ).float()
    assert (ours - theirs)[:, 2:-2, 2:-2].abs().max() <= 1
    assert np.array_equal(warp(picture, 0, 1, True), picture[:, ::-1])
    assert warp(picture, math.radians(30), 1, False)[0, 0].tolist() == list(GREY)


@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (20, 200), (16, 16)])
def test_crops_stay_inside_and_reach_the_edges(shape: tuple[int, int]) -> None:
    rows, columns = np.indices(shape, dtype=np.uint8)
    picture = np.stack([rows, columns, rows], 2)
    cut = [random_crop(picture, own, size=16) for own in draws(range(2000))]
    assert all(c.shape == (16, 16, 3) for c in cut)
    for channel, side in ((0, shape[0]), (1, shape[1])):
        firsts = {int(c[0, 0, channel]) for c in cut}
        assert firsts == set(range(side - 15))
    for own in draws(range(200)):
        assert area_crop(picture, own, size=16, mode="bilinear").shape == (16, 16, 3)


def test_area_crop_without_a_fitting_attempt_takes_the_middle() -> None:
    picture = np.zeros((10, 400, 3), np.uint8)
    picture[:, 192:208] = 200
    whole = [0.999] * DRAWS  # 100 % of the area at 4/3 never fits
    assert (area_crop(picture, whole, size=8, mode="bilinear") == 200).all()


def test_flips_come_as_often_as_asked_for() -> None:
    picture = smooth(8, 8)
    flip = Augmentation(flip=0.3)
    count = sum(np.array_equal(flip(picture, own), picture[:, ::-1]) for own in draws(range(2000)))
    assert 0.25 < count / 2000 < 0.35
    assert CROP == 3  # the first three draws are the augmentation's


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_rotation_and_zoom_go_both_ways_as_far_as_asked_for(share: float) -> None:
    picture = smooth(40, 56)
    for augmentation, place in (
        (Augmentation(rotation=12), ROTATION),
        (Augmentation(zoom=0.2), ZOOM),
    ):
        own = [0.5] * DRAWS
        own[place] = share
        turned = augmentation.rotation * (2 * share - 1)
        theirs = functional.affine(
            torch.from_numpy(picture).permute(2, 0, 1),
            angle=turned,
            translate=[0, 0],
            scale=1 + augmentation.zoom * (2 * share - 1),
            shear=[0, 0],
            interpolation=InterpolationMode.BILINEAR,
            fill=list(GREY),
        ).float()
        ours = torch.from_numpy(augmentation(picture, own)).permute(2, 0, 1).float()
        assert (ours - theirs)[:, 8:-8, 8:-8].abs().max() <= 1  # grey corners are blended


def test_area_crops_are_spread_as_torchvisions() -> None:
    """Sides read off a picture whose pixels tell their place, to about a pixel."""
    height, width, size = 200, 240, 40
    rows, columns = np.indices((height, width), dtype=np.uint8)
    picture = np.stack([rows, columns, rows], 2)
    sides = []
    for own in draws(range(1500)):
        crop = area_crop(picture, own, size=size, mode="bilinear").astype(float)
        tall, wide = (
            (line[-3] - line[2]) * size / (size - 5) for line in (crop[:, 0, 0], crop[0, :, 1])
        )
        sides.append((tall, wide))
    torch.manual_seed(0)
    theirs = [
        RandomResizedCrop(size).make_params([torch.zeros(3, height, width)]) for _ in range(1500)
    ]
    ours, other = np.array(sides), np.array([(p["height"], p["width"]) for p in theirs], float)
    for measure in (lambda s: s[:, 0] * s[:, 1], lambda s: s[:, 1] / s[:, 0]):
        result: Any = ks_2samp(measure(ours), measure(other))
        assert result.pvalue > 1e-3
