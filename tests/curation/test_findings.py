"""Findings from what is known of a few photos, made by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageFilter

from carsclf.analysis.duplicates import unit_rows
from carsclf.curation import classes, labels, pictures, turned, twins
from carsclf.curation.findings import COLUMNS, Library, as_table
from carsclf.curation.out_of_fold import OutOfFold
from carsclf.curation.photos import sharpness
from carsclf.data.samples import Sample
from carsclf.data.transforms import EvalTransform
from carsclf.records import Predictions
from tests.curation.conftest import photo

NAMES = ["a", "b", "c"]


def library(shares: list[list[float]], targets: list[int], **columns: Any) -> Library:
    n = len(targets)
    samples = [Sample(f"{i}.jpg", Path(f"/{i}.jpg"), t) for i, t in enumerate(targets)]
    measures = pd.DataFrame(
        {
            "id": [s.id for s in samples], "content": [str(i) for i in range(n)],
            "width": 90.0, "height": 60.0, "orientation": 1.0, "brightness": 120.0,
            "sharpness": 500.0, "unreadable": None,
        }
        | columns
    )  # fmt: skip
    told = Predictions(
        [s.id for s in samples], [str(s.path) for s in samples], np.array(targets),
        np.array(shares, np.float32), NAMES,
    )  # fmt: skip
    rows = unit_rows(np.array(shares))
    return Library(samples, ["train"] * n, NAMES, rows, measures, OutOfFold(told, np.zeros(n)))


SHARES = [[0.02, 0.95, 0.03], [0.1, 0.85, 0.05], [0.01, 0.04, 0.95], [0.55, 0.4, 0.05],
          [0.9, 0.06, 0.04]]  # fmt: skip


def test_a_label_finding_shows_what_a_page_needs() -> None:
    found = labels.confusing(library(SHARES, [0, 1, 2, 0, 0]), 0.9, [0.5, 0.6])
    sure, between = found
    assert (sure["kind"], sure["id"], sure["class"], sure["suggested"]) == (
        "mislabelled", "0.jpg", "a", "b",
    )  # fmt: skip
    assert sure["probability"] == pytest.approx(0.95)
    assert sure["score"] == pytest.approx(0.98)
    assert sure["nearest_suggested"] == "1.jpg"  # the only other one of class b
    assert sure["nearest_own"] == "3.jpg"  # of 3 and 4 the one with more of b
    assert (between["kind"], between["id"], between["suggested"]) == (
        "several_classes", "3.jpg", "b",
    )  # fmt: skip
    assert between["reason"] == "a 55% or b 40%"


def test_lookalikes_count_both_directions() -> None:
    found = classes.lookalikes(library(SHARES, [0, 0, 2, 1, 0]), 5)
    assert [(row["class"], row["other_class"]) for row in found] == [("a", "b")]
    assert found[0]["score"] == pytest.approx(3 / 4)  # 2 of 3 a's and the only b
    assert found[0]["reason"].startswith("3 of 4 photos")


def test_light_and_shape_and_size() -> None:
    n = 12
    light, wide, high, sharp = (np.full(n, v) for v in (120.0, 90.0, 60.0, 500.0))
    light[1], light[2], wide[3], high[4], sharp[5] = 39, 231, 900, 31, 5
    sharp[6] = np.nan
    photos = library([SHARES[0]] * n, [1] * n, brightness=light, width=wide, height=high,
                     sharpness=sharp)  # fmt: skip
    table: Any = as_table(pictures.poor(photos, 32, 40, 230, 3.5))
    found = table.groupby("kind")["id"].apply(list).to_dict()
    assert found["too_dark"] == ["1.jpg"]
    assert found["too_bright"] == ["2.jpg"]
    assert found["odd_shape"] == ["3.jpg", "4.jpg"]
    assert found["too_small"] == ["4.jpg"]
    assert found["blurred"] == ["5.jpg"]


def test_blur_lowers_sharpness_and_size_does_not() -> None:
    grey = photo(0, 0, (900, 600)).convert("L")
    once = sharpness(grey)
    assert sharpness(grey.filter(ImageFilter.GaussianBlur(8))) < once / 4
    flat = np.zeros((9, 9), np.uint8)
    flat[4, 4] = 10  # Laplacian: -40 in the middle, 10 at four places of 7 x 7
    expected = (40**2 + 4 * 10**2) / 49
    assert sharpness(Image.fromarray(flat)) == pytest.approx(expected)


def test_small_subjects_where_there_are_boxes() -> None:
    photos = library(SHARES, [0, 1, 2, 0, 0])
    boxes = [(0, 0, 9, 6), (0, 0, 90, 60), None, (10, 10, 40, 29), (0, 0, 1, 1)]
    samples = [
        Sample(s.id, s.path, s.target, box=box)
        for s, box in zip(photos.samples, boxes, strict=True)
    ]
    told = Library(samples, photos.splits, NAMES, photos.features, photos.measures, photos.said)
    found = pictures.small_subjects(told, 0.1)
    assert [row["id"] for row in found] == ["4.jpg", "0.jpg"]
    assert found[1]["reason"] == "its box fills 1.0% of the picture"


def test_a_leak_is_counted_by_photo_and_by_label() -> None:
    rows = [
        {"kind": kind, "id": id, "class": own, "other_class": other, "split": split,
         "other_split": where, "score": 1.0}
        for kind, id, own, other, split, where in [
            ("exact_duplicate", "t1", "a", "a", "test", "train"),
            ("near_duplicate", "t1", "a", "b", "test", "train"),
            ("near_duplicate", "t2", "a", "a", "test", "train"),
            ("near_duplicate", "t3", "a", "a", "test", "test"),
            ("exact_duplicate", "v1", "b", "c", "val", "train"),
            ("blurred", "t4", "a", "b", "test", "train"),
        ]
    ]  # fmt: skip
    assert twins.leak(as_table(rows)) == {
        "test": 2, "test, other label": 1, "val": 1, "val, other label": 1,
    }  # fmt: skip


def test_an_empty_table_has_its_columns() -> None:
    assert list(as_table([]).columns) == list(COLUMNS)


def test_a_photo_on_its_side_is_turned_back(tmp_path: Path) -> None:
    """A judge that knows class 0 by a bright upper half: one photo has it on the left."""
    upright = np.zeros((60, 90, 3), np.uint8)
    upright[:30] = 255
    lying = np.rot90(upright, 1)  # to the left: to be turned to the right
    paths = [tmp_path / "0.png", tmp_path / "1 é.png"]
    for path, pixels in zip(paths, (upright, lying), strict=True):
        Image.fromarray(np.ascontiguousarray(pixels)).save(path)
    photos = library([SHARES[4]] * 2, [0, 0], width=[90.0, 60.0], height=[60.0, 90.0])
    samples = [Sample(p.name, p, 0) for p in paths]
    told = Library(samples, ["train"] * 2, NAMES, photos.features, photos.measures, photos.said)

    def judge(fold: int, seen: torch.Tensor) -> np.ndarray:
        top = seen[:, :, :16].float().mean((1, 2, 3)) / 255
        bottom = seen[:, :, 16:].float().mean((1, 2, 3)) / 255
        p = (0.5 + 0.45 * (top - bottom)).numpy()
        return np.stack([p, (1 - p) / 2, (1 - p) / 2], 1)

    found = turned.suspects(told, ["0.png"])
    assert found == [0, 1]
    transform = EvalTransform("squash", 32, 32)
    table = turned.turn(told, found, [0, 0], judge, transform)
    (row,) = turned.on_their_side(told, table, 0.3)
    assert row["id"] == "1 é.png"
    assert row["reason"].endswith("turned 90 degrees to the right")
    assert row["score"] == pytest.approx(0.45, abs=0.02)
    assert turned.on_their_side(told, table, 0.6) == []
