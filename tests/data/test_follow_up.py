"""The follow-up's split is the published one, and only data.leak=published has its error."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carsclf.data.augment import Augmentation
from carsclf.data.build import build_data
from carsclf.data.folder import folder
from carsclf.data.follow_up import divide
from carsclf.data.policies import Recoloured
from carsclf.data.samples import Sample
from carsclf.data.splits import split
from tests.data.test_splits import source_of

CARS = [
    89, 64, 86, 84, 81, 89, 78, 90, 82, 66, 76, 73, 82, 85, 86, 87, 81, 85, 81, 92, 84, 85, 79, 90,
    79, 68, 71, 82, 85, 83, 88, 83, 84, 89, 82, 82, 77, 81, 73, 78, 71, 69, 92, 89, 65, 87, 70, 85,
    75, 84, 86, 82, 89, 80, 79, 93, 75, 88, 89, 73, 86, 74, 88, 59, 90, 83, 77, 80, 76, 85, 70, 90,
    89, 87, 88, 87, 81, 75, 97, 86, 90, 90, 81, 84, 87, 85, 88, 79, 88, 82, 77, 80, 78, 87, 91, 82,
    84, 92, 55, 67, 84, 78, 79, 85, 87, 83, 89, 88, 89, 86, 84, 91, 85, 90, 90, 75, 85, 83, 136, 85,
    89, 80, 89, 78, 87, 84, 82, 78, 77, 82, 84, 87, 84, 67, 84, 48, 87, 79, 85, 84, 68, 65, 80, 93,
    88, 86, 89, 90, 85, 72, 87, 71, 89, 85, 85, 78, 73, 58, 72, 88, 96, 91, 73, 87, 89, 82, 95, 84,
    77, 88, 92, 88, 87, 82, 61, 77, 88, 83, 90, 85, 76, 92, 84, 81, 77, 77, 87, 87, 81, 86, 92, 85,
    83, 91, 86, 80,
]  # fmt: skip
"""Photos of each class of Stanford Cars, both official parts: 16,185."""


def told(samples: list[Sample]) -> set[str]:
    """Numbers of photos; copies with a c."""
    return {f"{s.path.stem}{'c' if s.copy else ''}" for s in samples}


TEN = [Sample(f"a/{i}.jpg", Path(f"a/{i}.jpg"), 0) for i in (7, 2, 9, 0, 4, 5, 1, 8, 3, 6)]


def test_a_class_of_ten_photos() -> None:
    """Originals 0 to 9, then their copies: the first 4 of 20 are validation."""
    train, val = divide(TEN, copies=True, leak="published")
    assert told(val) == {"0", "1", "2", "3"}
    assert told(train) == {*"456789", "0c", "1c", "2c", "3c", "4c", "5c", "6c", "7c", "8c", "9c"}
    assert len(train) == 16
    train, val = divide(TEN, copies=True)
    assert told(val) == {"0", "1", "2", "3"}
    assert told(train) == {*"456789", "4c", "5c", "6c", "7c", "8c", "9c"}
    train, val = divide(TEN, copies=False)
    assert told(val) == {"0", "1", "2", "3"}
    assert told(train) == {*"456789"}
    assert all(photo.copy is None for photo in val)


def test_counts_are_the_published_ones() -> None:
    """6,394 of 16,185 photos were held out, and a copy of each was in training."""
    assert sum(CARS) == 16_185
    parts = split(source_of(CARS), "follow_up", seed=0, copies=True, leak="published")
    assert len(parts["val"]) == 6_394
    assert len(parts["train"]) == 2 * 16_185 - 6_394
    held_out = {sample.id for sample in parts["val"]}
    assert held_out == {sample.id for sample in parts["train"] if sample.copy} & held_out


@given(
    counts=st.lists(st.integers(5, 40), min_size=1, max_size=4),
    seed=st.integers(0, 9),
    test=st.sampled_from([0.0, 0.2]),
    copies=st.booleans(),
    protocol=st.sampled_from(["published", "fractions", "follow_up"]),
)
def test_no_honest_path_trains_on_what_judges(
    counts: list[int], seed: int, test: float, copies: bool, protocol: str
) -> None:
    settings = {"seed": seed, "copies": copies, "test_fraction": test, "val_fraction": 0.3}
    parts = split(source_of(counts), protocol, **settings)
    ids = {name: {sample.id for sample in part} for name, part in parts.items()}
    assert not ids["train"] & ids["val"]
    assert not ids.get("test", set()) & (ids["train"] | ids["val"])


def test_the_test_part_is_drawn_before_and_is_the_same_with_and_without_the_leak() -> None:
    both = [
        split(source_of([40, 30]), "follow_up", seed=3, test_fraction=0.2, copies=True, leak=leak)
        for leak in ("none", "published")
    ]
    honest, leaked = both
    plain = split(source_of([40, 30]), "fractions", seed=3, test_fraction=0.2)
    assert honest["test"] == leaked["test"] == plain["test"]
    assert honest["val"] == leaked["val"]
    extra = {s.id for s in leaked["train"]} - {s.id for s in honest["train"]}
    assert extra == {s.id for s in leaked["val"]}
    assert not {s.id for s in leaked["test"]} & {s.id for s in leaked["train"]}


@pytest.mark.parametrize("transform", ["squash", "published", "random_resized_crop"])
def test_originals_stay_and_copies_are_changed(
    pictures: Path, tmp_path: Path, transform: str
) -> None:
    """Pixel by pixel: a copy is the mirrored original where mirroring is all that is asked."""
    module, _ = build_data(
        folder(pictures), Recoloured(share=1.0, mirrored=True), cache=tmp_path, seed=0,
        protocol="follow_up", val_fraction=0.2, test_fraction=0.2, fraction=1,
        min_images_per_class=0, classes=None, transform=transform, image_size=16,
        interpolation="bilinear", crop="none", margin=0, batch_size=4, workers=0,
        skip_unreadable=False, leak="published",
    )  # fmt: skip
    train = module.splits["train"]
    shown = module.pictures(train, module.train_transform)
    by_kind: dict[tuple[str, bool | None], np.ndarray] = {
        (s.id, s.copy): shown[i, 5]["pictures"].numpy() for i, s in enumerate(train)
    }
    both = {id for id, copy in by_kind if copy is False}
    assert both
    for id in both:
        original, copy = by_kind[id, False], by_kind[id, True]
        if transform == "random_resized_crop":  # its own flip, of copies only
            assert not np.array_equal(original, copy) or not np.array_equal(copy, copy[..., ::-1])
        else:
            assert np.array_equal(original, copy[..., ::-1])
    val = module.splits["val"]
    assert {s.id for s in val} <= {id for id, copy in by_kind if copy}
    assert not {s.id for s in val} & both


def test_chance_decides_for_all_others(pictures: Path) -> None:
    source = folder(pictures)
    parts = split(source, "fractions", seed=0, copies=True)
    assert all(sample.copy is None for part in parts.values() for sample in part)
    assert Augmentation().random is False
