"""What is told of the data before anything is trained."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from carsclf.advising.look import lines, looked, standard_errors
from carsclf.data.build import make_data
from tests.conftest import draw


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """train/ and test/ of two classes; a picture stands in both, under another class."""
    root = tmp_path / "library"
    for target, count in ((0, 30), (1, 9)):
        for seed in range(count):
            draw(root / f"train/class {target}/{seed}.png", target, seed)
        draw(root / f"test/class {target}/0.png", target, 100, (64, 48))
    shutil.copy(root / "train/class 0/3.png", root / "test/class 1/3.png")
    (root / "train/class 0/broken.png").write_bytes(b"no picture")
    return root


def test_a_look(library: Path, config_of: Callable[..., DictConfig]) -> None:
    config = config_of("data=folder", f"data.root={library}", "data.image_size=32",
                       "data.batch_size=8", "data.skip_unreadable=true")  # fmt: skip
    data, unreadable = make_data(config)
    # two of class 1 may well go to validation: 20 % of 9, rounded down, is 1
    found = looked(data, unreadable)
    assert found["images"] == {"train": 32, "val": 7, "test": 3}
    assert found["per_class"] == {"min": 8, "median": 16, "max": 24}
    assert found["few"] == {"class 1": 8}
    assert found["sizes"]["short"] == {"min": 30, "median": 30, "max": 48}
    assert found["sizes"]["long"] == {"min": 40, "median": 40, "max": 64}
    assert found["unreadable"] == ["train/class 0/broken.png"]
    counts = found["duplicates"]["counts"]
    assert counts["train, test"] + counts["val, test"] == 1
    (pair,) = found["duplicates"]["pairs"]
    assert (pair["id"], pair["other"]) == ("train/class 0/3.png", "test/class 1/3.png")
    assert pair["same_class"] is False
    said = "\n".join(lines(found))
    assert "2 classes, 32 train, 7 val, 3 test pictures" in said
    assert "classes with fewer than 10 training pictures: class 1" in said
    assert "test tells an accuracy to 29 points" in said


def test_standard_errors_by_hand() -> None:
    # sqrt(0.25 / 100) and sqrt(0.09 / 100)
    assert standard_errors(100) == pytest.approx(
        {"0.5": 0.05, "0.7": 0.0458, "0.9": 0.03}, abs=1e-4
    )
