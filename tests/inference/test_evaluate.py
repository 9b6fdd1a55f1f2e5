"""`evaluate.py` on a run whose training pictures were changed at random: evaluation's never are."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from carsclf.records import Predictions, RunFolder
from tests.conftest import draw
from tests.inference.plain import plain_probabilities

AUGMENTED = [
    "augmentation=light",
    "augmentation.flip=1",
    "augmentation.rotation=45",
    "augmentation.zoom=0.5",
    "data.test_fraction=0.2",
    "optimizer.lr=0.02",
]


@pytest.mark.parametrize("transform", ["squash", "random_resized_crop"])
def test_evaluation_is_that_of_the_plain_libraries(
    transform: str, command: Callable[..., int], tiny: list[str], tmp_path: Path, capfd
) -> None:
    settings = [*tiny, *AUGMENTED, f"data.transform={transform}", "name=one"]
    assert command("train.py", *settings) == 0
    assert command("evaluate.py", "run=runs/train/one", "split=test", "batch_size=5") == 0
    files = RunFolder(tmp_path / "runs/train/one")
    rows = pq.read_table(files.predictions("test")).to_pylist()
    assert len(rows) == 12
    paths = [Path(row["path"]) for row in rows]
    expected = plain_probabilities(files.root, paths)
    names = Predictions.read(files.predictions("test")).class_names
    np.testing.assert_allclose([row["probabilities"] for row in rows], expected, atol=0.01)
    for row, plain in zip(rows, expected, strict=True):
        assert row["class"] == Path(row["path"]).parent.name
        said = dict(zip(names, plain, strict=True))
        assert row["probability"] == pytest.approx(said[row["predicted"]], abs=0.01)
        assert row["probability"] == pytest.approx(max(plain), abs=0.01)
    right = [row["class"] == row["predicted"] for row in rows]
    assert f"│ {sum(right) / 12:.2%}" in capfd.readouterr().out
    table = pd.read_csv(files.per_class("test"))
    for name, images, accuracy in table[["class", "images", "accuracy"]].itertuples(index=False):
        own = [ok for row, ok in zip(rows, right, strict=True) if row["class"] == name]
        assert (images, accuracy) == (len(own), pytest.approx(sum(own) / len(own)))


def test_next_is_the_report(command: Callable[..., int], tiny: list[str], capfd) -> None:
    assert command("train.py", *tiny, "name=two", "trainer.max_epochs=1") == 0
    assert capfd.readouterr().out.splitlines()[-1] == "next: python evaluate.py run=runs/train/two"
    assert command("evaluate.py", "run=runs/train/two") == 0
    said = capfd.readouterr().out
    assert said.splitlines()[-1] == "next: python report.py runs=[runs/train/two]"


def test_the_test_photos_stay_when_the_library_grows(
    command: Callable[..., int], tiny: list[str], pictures: Path, tmp_path: Path, capfd
) -> None:
    asked = ("evaluate.py", "run=runs/train/one", "split=test")
    assert command("train.py", *tiny, "name=one", "data.test_fraction=0.2") == 0
    assert command(*asked) == 0
    files = RunFolder(tmp_path / "runs/train/one")
    before = Predictions.read(files.predictions("test"))
    kept = pd.read_parquet(files.photos)
    for seed in range(30):  # of a class more, and of one that it knows
        draw(pictures / "class 9" / f"{seed}.png", 1, 600 + seed)
        draw(pictures / "class 0" / f"new {seed}.png", 0, 700 + seed)
    parts = dict(zip(kept["id"], kept["split"], strict=True))
    (pictures / next(id for id, part in parts.items() if part == "train")).unlink()
    capfd.readouterr()
    assert command(*asked) == 0
    assert "gone since: 1 train (class" in capfd.readouterr().err
    after = Predictions.read(files.predictions("test"))
    assert sorted(after.ids) == sorted(id for id, part in parts.items() if part == "test")
    assert after.ids == before.ids
    np.testing.assert_array_equal(after.probabilities, before.probabilities)
    other = tmp_path / "other"
    for target in range(3):
        draw(other / f"class {target}" / "strange.png", target, 1)
    assert command(*asked, f"root={other}") == 1
    assert "60 of the 60 photos" in capfd.readouterr().err
