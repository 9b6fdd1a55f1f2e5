"""Splits depend on the seed and the ids only, never on listing order."""

import random
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carsclf.data.photos_of_run import as_in_run
from carsclf.data.samples import Sample, Source
from carsclf.data.splits import resampled, split
from carsclf.errors import ConfigError, DataError


def source_of(counts: list[int], order: int | None = None, **halves: float) -> Source:
    samples = [
        Sample(f"{target}/{i}.jpg", Path(f"{target}/{i}.jpg"), target, half)
        for target, count in enumerate(counts)
        for i in range(count)
        for half in ["test" if halves and i < count * halves["test"] else "train"]
    ]
    if order is not None:
        random.Random(order).shuffle(samples)
    names = [f"c{t}" for t in range(len(counts))]
    why = {"official": None if halves else "needs 8144 train photos", "published": None}
    return Source("any", Path("root"), names, samples, why)


@given(
    counts=st.lists(st.integers(10, 60), min_size=1, max_size=5),
    seed=st.integers(0, 99),
    order=st.integers(0, 99),
    val=st.sampled_from([0.1, 0.2, 0.34]),
    test=st.sampled_from([0.0, 0.2]),
)
@settings(max_examples=40, deadline=None)
def test_fractions(counts: list[int], seed: int, order: int, val: float, test: float) -> None:
    settings = {"seed": seed, "val_fraction": val, "test_fraction": test}
    parts = split(source_of(counts), "fractions", **settings)
    again = split(source_of(counts, order), "fractions", **settings)
    assert parts == again
    ids = [s.id for part in parts.values() for s in part]
    assert len(ids) == len(set(ids)) == sum(counts)
    for target, count in enumerate(counts):
        n = sum(s.target == target for s in parts["val"])
        assert n == int(count * val + 1e-9)
        assert sum(s.target == target for s in parts.get("test", [])) == int(count * test + 1e-9)


def test_adding_a_photo_moves_at_most_one_other() -> None:
    before = {s.id for s in split(source_of([50]), "fractions", seed=1)["val"]}
    after = {s.id for s in split(source_of([51]), "fractions", seed=1)["val"]}
    assert len(before ^ after) <= 2


def test_seed_matters() -> None:
    one, two = (split(source_of([50]), "fractions", seed=seed)["val"] for seed in (1, 2))
    assert one != two


def test_published_counts_are_the_studys() -> None:
    # 16,185 photos of 196 classes: the study's 3,159 is the sum of floors over labels
    parts = split(source_of([45, 68, 83]), "published", seed=0)
    assert len(parts["val"]) == 9 + 13 + 16
    assert "test" not in parts


def test_official_keeps_the_given_test_photos() -> None:
    parts = split(source_of([40, 40], test=0.5), "official", seed=0)
    assert {name: len(part) for name, part in parts.items()} == {"train": 32, "val": 8, "test": 40}
    assert all(s.given == "test" for s in parts["test"])


def test_fraction_of_training_only() -> None:
    whole = split(source_of([40, 40]), "fractions", seed=0)
    small = split(source_of([40, 40]), "fractions", seed=0, fraction=0.25)
    assert small["val"] == whole["val"]
    assert len(small["train"]) == 16
    assert set(small["train"]) < set(whole["train"])


def test_mistakes_name_the_remedy() -> None:
    source = source_of([40, 40])
    with pytest.raises(DataError, match="data.protocol=fractions works"):
        split(source, "official", seed=0)
    with pytest.raises(ConfigError, match="did you mean 'fractions'"):
        split(source, "fraction", seed=0)
    with pytest.raises(ConfigError, match="sum below 1"):
        split(source, "fractions", seed=0, val_fraction=0.6, test_fraction=0.5)
    with pytest.raises(ConfigError, match=r"data.fraction=0: expected"):
        split(source, "fractions", seed=0, fraction=0)


def test_a_class_with_one_image_trains_and_an_empty_one_is_refused() -> None:
    parts = split(source_of([1, 40]), "fractions", seed=0)
    assert [s.target for s in parts["train"]].count(0) == 1
    empty = Source("any", Path("root"), ["c0", "c1"], source_of([40]).samples, {})
    with pytest.raises(DataError, match=r"1 classes have no training picture: c1"):
        split(empty, "fractions", seed=0)


def divided(*parts: str) -> Source:
    samples = [
        Sample(f"{part}/{target}/{i}.jpg", Path(f"{part}/{target}/{i}.jpg"), target, part)
        for part in parts
        for target in range(2)
        for i in range(10)
    ]
    return Source("any", Path("root"), ["a", "b"], samples, {"official": None})


@pytest.mark.parametrize(
    ("parts", "sizes"),
    [
        (("train", "val", "test"), {"train": 20, "val": 20, "test": 20}),
        (("train", "val"), {"train": 20, "val": 20}),
        (("train", "test"), {"train": 16, "val": 4, "test": 20}),
    ],
)
def test_official_keeps_what_is_given(parts: tuple[str, ...], sizes: dict[str, int]) -> None:
    split_up = split(divided(*parts), "official", seed=0, val_fraction=0.2)
    assert {name: len(part) for name, part in split_up.items()} == sizes
    kept = {name for name in parts if name != "train"}
    assert all(s.given == name for name in kept for s in split_up[name])


def test_test_fraction_draws_a_test_part_where_none_is_given() -> None:
    split_up = split(divided("train", "val"), "official", seed=0, test_fraction=0.3)
    sizes = {name: len(part) for name, part in split_up.items()}
    assert sizes == {"train": 14, "val": 20, "test": 6}
    assert all(s.given == "train" for s in split_up["test"])
    with pytest.raises(ConfigError, match="have a test part of their own"):
        split(divided("train", "test"), "official", seed=0, test_fraction=0.3)


def test_a_bootstrap_sample_is_drawn_with_replacement_within_each_label() -> None:
    """Of 1000, 1 - (1 - 1/1000)^1000 = 63.2 % occur; as many of each label as before."""
    train = split(source_of([1000, 40]), "fractions", seed=0, val_fraction=0.001)["train"]
    drawn = resampled(train, 3)
    assert Counter(s.target for s in drawn) == Counter(s.target for s in train)
    own = {s.id for s in drawn if s.target == 0}
    assert own < {s.id for s in train}
    assert len(own) / 1000 == pytest.approx(0.632, abs=0.03)
    assert drawn == resampled(random.Random(5).sample(train, len(train)), 3)
    assert drawn != resampled(train, 4)


def test_a_library_that_grew_leaves_each_photo_where_a_run_had_it(tmp_path: Path) -> None:
    rows = [("a", "train"), ("b", "val"), ("gone", "train")]
    table = pd.DataFrame(rows, columns=["id", "split"]).assign(**{"class": "x", "path": "x"})
    table.to_parquet(tmp_path / "photos.parquet")
    a, b, new = (Sample(id, Path(id), 0) for id in ("a", "b", "new"))
    found = as_in_run({"train": [b, new], "val": [a]}, tmp_path / "photos.parquet")
    assert found == {"train": [new, a], "val": [b]}
