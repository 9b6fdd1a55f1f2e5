"""`predict.py`: pictures of a folder in, a table and a CSV out."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from carsclf.data import listing
from carsclf.errors import DataError
from carsclf.inference import bulk
from carsclf.inference.pictures import Pictures
from carsclf.inference.predict import TrainedModel, load_model
from tests.conftest import ROOT
from tests.inference.plain import make_model, plain_network, plain_pictures, plain_probabilities

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


def test_folders_are_told_apart_by_their_whole_names(
    command: Command, model: Path, pictures: Path, tmp_path: Path
) -> None:
    days = [tmp_path / f"inbox/2026.11.{day}" for day in (26, 27)]
    for place, target in zip(days, (1, 2), strict=True):
        shutil.copytree(pictures / f"class {target}", place)
        assert command("predict.py", "run=runs/train/one", f"images={place}") == 0
    written = sorted(p.name for p in (model / "predictions/pictures").glob("*.csv"))
    assert written == ["2026.11.26.csv", "2026.11.27.csv"]


def test_a_folder_that_may_not_be_looked_into_is_left_out(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def scandir(folder: Path) -> object:
        if Path(folder).name == "class 1":
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr(listing.os, "scandir", scandir)
    found = Pictures([str(pictures)])
    assert found.count() == len(list(found)) == 40
    assert found.left_out == {"folders that may not be looked into": ["class 1"]}
    with pytest.raises(DataError, match="cannot be looked into"):
        Pictures([str(pictures / "class 1")]).count()


def test_each_picture_once(command: Command, model: Path, pictures: Path, tmp_path: Path) -> None:
    twice = ["pictures/class 1/0*.png", "pictures/class 1", "pictures/../pictures/class 1"]
    given = f"images=[pictures/class 2/00.png,{','.join(twice)},pictures/class 2/00.png]"
    assert command("predict.py", "run=runs/train/one", given, "csv=said.csv") == 0
    said = [Path(path) for path in pd.read_csv(tmp_path / "said.csv")["path"]]
    assert said[0] == pictures / "class 2/00.png"
    assert sorted(said[1:]) == sorted((pictures / "class 1").iterdir())


def test_names_that_are_no_text(command: Command, model: Path, pictures: Path) -> None:
    odd = os.fsdecode(os.fsencode(pictures / "class 0") + b"/caf\xe9.png")
    shutil.copy(pictures / "class 2/00.png", odd)
    assert command("predict.py", "run=runs/train/one", "images=pictures/class 0") == 0
    table = pd.read_csv(model / "predictions/pictures/class 0.csv")
    assert table["path"].str.endswith("caf\\xe9.png").sum() == 1


MISTAKES = {
    "no run": (["images=pictures"], "run has no value: give it as run=..."),
    "no images": (["run=runs/train/one"], "images has no value"),
    "no table": (["filter=unknown"], "filter=unknown needs the table"),
    "table": (["filter=unknown", "table=gone.parquet"], "table=gone.parquet is not there"),
    "other table": (["filter=lowest", "table=texts/a.txt"], "is no parquet file"),
    "filter": (["filter=best", "table=gone.parquet"], "filter=best: expected"),
    "medium": (
        ["filter=lowest", "table=x", "limits.medium=[0.7,0.3]"],
        "expected the lower one first",
    ),
    "openness": (["images=pictures", "openness=true"], "openness needs the photos"),
    "csv as parquet": (["images=pictures", "csv=a.parquet"], "csv=a.parquet: the table"),
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
    assert not list(tmp_path.rglob("*.parquet"))


def test_ctrl_c_keeps_the_parts_that_are_done(
    command: Command, model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    arguments = ["run=runs/train/one", "images=pictures", "batch_size=7"]
    folder = model / "predictions/pictures"
    monkeypatch.setattr(bulk, "ROWS", 14)
    (pictures / "class 1/05.png").write_bytes(b"\x89PNG, cut off")
    assert command("predict.py", *arguments) == 0
    whole = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert sorted(whole) == ["pictures.csv", "pictures.parquet", "pictures_unreadable.csv"]
    shutil.rmtree(folder)

    looked: list[int] = []  # pictures of each batch
    real = TrainedModel._said

    def interrupted(self, seen):
        looked.append(sum(len(some.result()) for some in seen))
        if len(looked) == 6:
            raise KeyboardInterrupt
        return real(self, seen)

    monkeypatch.setattr(TrainedModel, "_said", interrupted)
    assert command("predict.py", *arguments) == 1
    assert "interrupted after 35 of 60 pictures: the same command goes on" in capfd.readouterr().err
    parts = folder / "pictures.csv.parts"
    assert sorted(p.name for p in parts.glob("*.parquet")) == [
        "part-000000.parquet", "part-000001.parquet"
    ]  # fmt: skip
    for bad in ("top=2", "batch_size=8", "images=[pictures,pictures/class 0]"):
        assert command("predict.py", *arguments, bad, f"csv={folder}/pictures.csv") == 1
        said = capfd.readouterr().err
        assert f"unfinished table with another {bad.split('=')[0]}" in said
    (parts / "part-000001.parquet").write_bytes(b"PAR1, cut off with the power")
    assert command("predict.py", *arguments) == 0
    # the whole part was not looked at again; the damaged one and the rest were, each once
    assert looked[6:] == [7, 7, 7, 7, 7, 7, 4]
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == whole


@pytest.mark.slow
def test_a_kill_loses_nothing(model: Path, pictures: Path, tmp_path: Path) -> None:
    """A process that is killed with SIGKILL in the middle, twice."""
    program = (
        "import os, signal, sys, runpy\n"
        "import carsclf.inference.bulk as bulk\n"
        "bulk.ROWS = 10\n"
        "real, left = bulk.Parts.write, [int(sys.argv.pop(1))]\n"
        "def write(self, *given):\n"
        "    if not left[0]:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    left[0] -= 1\n"
        "    real(self, *given)\n"
        "bulk.Parts.write = write\n"
        f"sys.argv[0] = {str(ROOT / 'predict.py')!r}\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )

    def run(parts: int, csv: str) -> int:
        own = [f"run={model}", "images=pictures", "batch_size=5", f"csv={csv}/said.csv"]
        arguments = [sys.executable, "-c", program, str(parts), *own]
        return subprocess.run(arguments, cwd=tmp_path, capture_output=True).returncode

    assert [run(n, "killed") for n in (2, 1, 3)] == [-signal.SIGKILL, -signal.SIGKILL, 0]
    assert run(6, "whole") == 0
    for name in ("said.csv", "said.parquet"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_table_beside_the_csv(command: Command, model: Path, pictures: Path, monkeypatch):
    monkeypatch.setattr(bulk, "ROWS", 16)
    (pictures / "class 0/00.png").write_bytes(b"nothing")
    assert command("predict.py", "run=runs/train/one", "images=pictures", "batch_size=16") == 0
    folder = model / "predictions/pictures"
    file = pq.ParquetFile(folder / "pictures.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(4)] == [16, 16, 16, 12]
    table = file.read().to_pandas()
    assert list(table)[:4] == ["path", "error", "predicted", "probability"]
    assert table["embedding"].isna().tolist() == [True] + 59 * [False]
    assert table["embedding"][1].dtype == np.float16
    rows = pd.read_csv(folder / "pictures.csv")
    pd.testing.assert_frame_equal(rows, table.drop(columns="embedding"), check_dtype=False)
    bad = pd.read_csv(folder / "pictures_unreadable.csv")
    assert bad["path"].tolist() == [str(pictures / "class 0/00.png")]
    assert "cannot be read as a picture" in bad["error"][0]
    # timm's own words for what enters the classifier
    network, seen = plain_network(model), plain_pictures(model, [Path(table["path"][7])])
    with torch.no_grad():
        expected = network.forward_head(network.forward_features(seen), pre_logits=True)[0]
    np.testing.assert_allclose(table["embedding"][7], expected, rtol=0.01, atol=0.05)
    (pictures / "class 0/00.png").unlink()
    assert command("predict.py", "run=runs/train/one", "images=pictures", "batch_size=16") == 0
    assert not (folder / "pictures_unreadable.csv").exists()


def test_predicting_needs_no_training_library(model: Path, pictures: Path, tmp_path: Path) -> None:
    """They would take seconds to import."""
    program = (
        "import runpy, sys\n"
        f"sys.argv[:] = ['predict.py', 'run={model}', 'images={pictures}/class 0/00.png']\n"
        f"runpy.run_path({str(ROOT / 'predict.py')!r}, run_name='__main__')\n"
        "print([m for m in ('pytorch_lightning', 'ray', 'botorch') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
    assert done.stderr == ""
