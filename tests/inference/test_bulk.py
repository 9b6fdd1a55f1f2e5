"""`predict.py`: pictures of a folder in, a table and a CSV out."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from carsclf.inference.predict import TrainedModel, load_model
from tests.conftest import ROOT
from tests.inference.plain import make_model, plain_probabilities

Command = Callable[..., int]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_model(tmp_path / "runs/train/one")


def test_one_picture(
    command: Command, model: Path, pictures: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    photo = pictures / "class 1/03.png"
    assert command("predict.py", "run=runs/train/one", "images=pictures/class 1/03.png") == 0
    said = capfd.readouterr()
    assert str(photo) in said.out.replace("\n", "")
    (expected,) = plain_probabilities(model, [photo])
    for name, share in zip(load_model(model).card.class_names, expected, strict=True):
        (line,) = [row for row in said.out.splitlines() if name in row]
        assert float(line.split("│")[2].strip(" %")) == pytest.approx(100 * share, abs=1)
    assert "predictions: runs/train/one/predictions/pictures/03.csv\n" in said.out
    assert said.out.splitlines()[-1] == "next: python report.py runs=[runs/train/one]"
    assert said.err == ""
    (row,) = pd.read_csv(model / "predictions/pictures/03.csv").to_dict("records")
    assert row["path"] == str(photo)
    assert row["probability"] == pytest.approx(expected.max(), abs=0.01)


def test_a_folder_with_everything_in_it(
    command: Command, model: Path, pictures: Path, tmp_path: Path, capfd
) -> None:
    (pictures / "class 0/00.png").write_bytes(b"\x89PNG, cut off")
    (pictures / "notes.txt").write_text("no picture")
    (pictures / ".thumbs").mkdir()
    shutil.copy(pictures / "class 2/00.png", pictures / ".thumbs/00.png")
    shutil.copy(pictures / "class 2/00.png", pictures / "[red] photo")  # no suffix, brackets
    os.symlink(pictures, pictures / "class 1/loop")
    arguments = ["run=runs/train/one", "images=pictures", "top=2", "batch_size=7"]
    assert command("predict.py", *arguments) == 0
    said = capfd.readouterr()
    assert "the first 10 of 60" in said.out
    assert "60 pictures in" in said.out
    assert "[red] photo" in said.out
    assert "class 0/00.png cannot be read as a picture" in said.err
    assert "left out: 1 not pictures: notes.txt" in said.err
    table = pd.read_csv(model / "predictions/pictures/pictures.csv")
    assert list(table) == [
        "path", "error", "predicted", "probability", "predicted_2", "probability_2"
    ]  # fmt: skip
    good = table[table["error"].isna()]
    assert len(table) == len(good) + 1 == 61
    files = [Path(path) for path in good["path"]]
    assert all(file.is_absolute() for file in files)
    expected = plain_probabilities(model, files)
    names = np.array(load_model(model).card.class_names)
    clear = np.sort(expected)[:, -1] - np.sort(expected)[:, -2] > 0.02  # not decided by rounding
    assert clear.sum() > 20
    assert np.array_equal(good["predicted"][clear], names[expected.argmax(1)][clear])
    np.testing.assert_allclose(good["probability"], expected.max(1), atol=0.01)
    np.testing.assert_allclose(good["probability_2"], np.sort(expected)[:, -2], atol=0.01)
    assert "replaced" not in said.out
    assert command("predict.py", *arguments) == 0
    assert "(an earlier one was replaced)" in capfd.readouterr().out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["pictures", "runs"]


def test_patterns_lists_and_another_csv(command: Command, model: Path, pictures: Path, tmp_path):
    given = "images=[pictures/class 1,pictures/class 2/0*.png]"
    assert command("predict.py", "run=runs/train/one", given, "csv=out/said.csv") == 0
    assert len(pd.read_csv(tmp_path / "out/said.csv")) == 30
    assert not (model / "predictions").exists()


def test_names_that_are_no_text(command: Command, model: Path, pictures: Path) -> None:
    odd = os.fsdecode(os.fsencode(pictures / "class 0") + b"/caf\xe9.png")
    shutil.copy(pictures / "class 2/00.png", odd)
    assert command("predict.py", "run=runs/train/one", "images=pictures/class 0") == 0
    table = pd.read_csv(model / "predictions/pictures/class 0.csv")
    assert table["path"].str.endswith("caf\\xe9.png").sum() == 1


MISTAKES = {
    "no run": (["images=pictures"], "run has no value: give it as run=..."),
    "no images": (["run=runs/train/one"], "images has no value"),
    "missing run": (["run=nowhere", "images=pictures"], "nowhere is no folder"),
    "missing picture": (["images=gone.jpg"], "images=gone.jpg is not there"),
    "pattern": (["images=pictures/*.gif"], "images=pictures/*.gif is not there"),
    "empty folder": (["images=empty"], "images=empty holds no pictures"),
    "no pictures": (["images=texts"], "images=texts holds no pictures"),
    "one bad picture": (["images=texts/a.txt"], "a.txt cannot be read as a picture"),
    "top": (["images=pictures", "top=0"], "top=0: expected"),
    "batch": (["images=pictures", "batch_size=many"], "batch_size=many: expected"),
    "csv in a file": (["images=pictures", "csv=texts/a.txt/x.csv"], "could not write"),
    "csv is a folder": (["images=pictures", "csv=texts"], "csv=texts is a folder"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_end_in_one_line(
    mistake: str, command: Command, model: Path, pictures: Path, tmp_path: Path, capfd
) -> None:
    arguments, expected = MISTAKES[mistake]
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    for name in "ab":
        (tmp_path / f"texts/{name}.txt").write_text("no picture")
    run = [] if arguments[0].startswith("run=") or mistake == "no run" else ["run=runs/train/one"]
    assert command("predict.py", *run, *arguments) == 1
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    assert expected in line
    assert not list(tmp_path.rglob("*.partial"))
    assert not list(tmp_path.rglob("*.csv"))


def test_ctrl_c_keeps_the_rows_that_are_done(
    command: Command, model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    real = TrainedModel.stream

    def interrupted(self, given, **settings):
        for i, prediction in enumerate(real(self, given, **settings)):
            if i == 7:
                raise KeyboardInterrupt
            yield prediction

    monkeypatch.setattr(TrainedModel, "stream", interrupted)
    assert command("predict.py", "run=runs/train/one", "images=pictures") == 1
    partial = model / "predictions/pictures/pictures.csv.partial"
    assert "interrupted after 7 of 60 files: their rows are in" in capfd.readouterr().err
    assert len(pd.read_csv(partial)) == 7
    assert not partial.with_suffix("").exists()


def test_predicting_needs_no_training_library(model: Path, pictures: Path, tmp_path: Path) -> None:
    """They would take seconds to import."""
    program = (
        "import runpy, sys\n"
        f"sys.argv[:] = ['predict.py', 'run={model}', 'images={pictures}/class 0/00.png']\n"
        f"runpy.run_path({str(ROOT / 'predict.py')!r}, run_name='__main__')\n"
        "print([m for m in ('pytorch_lightning', 'ray', 'botorch', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
    assert done.stderr == ""
