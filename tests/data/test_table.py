"""A list of photos: read as it is written, refused where it contradicts itself or the files."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from carsclf.data.table import table
from carsclf.errors import CarsclfError, ConfigError
from carsclf.records import Predictions, RunFolder
from carsclf.report.sections.mistakes import noted_causes


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six photos in no order at all."""
    for number in range(6):
        path = tmp_path / "photos" / f"sub {number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), (number, 0, 0)).save(path)
    return tmp_path / "photos"


def rows(**more: Any) -> pd.DataFrame:
    paths = [f"sub {number % 2}/{number}.png" for number in range(6)]
    return pd.DataFrame({"path": paths, "class": ["007", "12"] * 3, **more})


def written(root: Path, frame: pd.DataFrame, name: str = "labels.csv", **options: Any) -> Path:
    path = root / name
    if name.endswith("parquet"):
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, **options)
    return path


def refused(root: Path, name: str = "labels.csv", **options: Any) -> str:
    with pytest.raises(CarsclfError) as caught:
        table(root, name, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["labels.csv", "labels.tsv", "labels.parquet", "a;b.csv"])
@pytest.mark.parametrize("given", [True, False])
def test_classes_stay_text(name: str, given: bool, root: Path) -> None:
    separator = {"labels.tsv": "\t", "a;b.csv": ";"}.get(name, ",")
    path = written(root, rows(), name, **({} if "parquet" in name else {"sep": separator}))
    source = table(root if given else None, name if given else path)
    assert source.class_names == ["007", "12"]
    assert [s.id for s in source.samples] == rows()["path"].tolist()
    assert [s.target for s in source.samples] == [0, 1] * 3
    assert source.samples[1].path == root / "sub 1" / "1.png"
    assert (source.root, source.own_protocol, source.noted) == (root, "fractions", None)


def test_what_spreadsheets_make_of_text(root: Path) -> None:
    frame = rows().assign(**{"class": ["NA", "None", "true"] * 2})
    written(root, frame, encoding="utf-8-sig")
    assert table(root, "labels.csv").class_names == ["NA", "None", "true"]
    numbers = rows().assign(**{"class": [1, 2] * 3})
    for kind in (int, float):
        written(root, numbers.astype({"class": kind}), "labels.parquet")
        assert table(root, "labels.parquet").class_names == ["1", "2"]


def test_other_names_splits_and_boxes(root: Path) -> None:
    splits = ["Train", "training", "valid", "dev", "TEST", "train"]
    frame = rows(fold=splits, x1=[0] * 6, y1=[1.6] * 6, x2=[10, "", 10, 10, 10, 10], y2=[20] * 6)
    frame = frame.astype(object)
    frame.loc[1, ["x1", "y1", "x2", "y2"]] = ""
    frame.columns = ["file", "label", *frame.columns[2:]]
    written(root, frame)
    columns = {"path": "file", "class": "label", "split": "fold", "box": ["x1", "y1", "x2", "y2"]}
    source = table(root, "labels.csv", columns)
    assert [s.given for s in source.samples] == ["train", "train", "val", "val", "test", "train"]
    assert [s.box for s in source.samples[:2]] == [(0, 2, 10, 20), None]
    assert source.own_protocol == "official"
    usual = frame.rename(columns=dict(zip(frame, ["path", "class", "split"], strict=False)))
    usual.columns = [*usual.columns[:3], "left", "top", "right", "bottom"]
    written(root, usual)
    again = table(root, "labels.csv", dict.fromkeys(("split", "box")))
    assert [(s.given, s.box) for s in again.samples] == [(s.given, s.box) for s in source.samples]


def test_absolute_and_roundabout_paths(root: Path, tmp_path: Path) -> None:
    shutil.copy(root / "sub 0" / "0.png", tmp_path / "outside.png")
    paths = [
        str(root / "sub 0" / "0.png"),
        "./sub 1//1.png",
        "../outside.png",
        "sub 1/../sub 0/2.png",
    ]
    written(root, pd.DataFrame({"path": paths, "class": ["a", "b"] * 2}))
    samples = table(root, "labels.csv").samples
    outside = tmp_path / "outside.png"
    assert [s.id for s in samples] == ["sub 0/0.png", "sub 1/1.png", str(outside), "sub 0/2.png"]
    assert samples[2].path == outside


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (rows().rename(columns={"path": "file"}),
         ["no column 'path' (data.columns.path): it has file, class; type data.columns.path="]),
        (rows().rename(columns={"class": "label"}), ["no column 'class' (data.columns.class)"]),
        (rows().replace("sub 0/2.png", "sub 0/two.png"), ["1 of 6 photos", "sub 0/two.png"]),
        (rows().replace("sub 0/2.png", "sub 0/./0.png"), ["1 photos stand more than once"]),
        (rows().replace("sub 1/1.png", "sub 0/0.png"), ["contradict", "sub 0/0.png (007 and 12)"]),
        (rows(split=["train"] * 5 + ["fold 3"]), ["fold 3: expected train", "data.columns.split"]),
        (rows(split=["train"] * 5 + [""]), ["1 of 6 rows", "no split: rows 6"]),
        (rows(split=["test"] * 3 + ["val"] * 3), ["have no training picture"]),
        (rows().replace("12", ""), ["3 of 6 rows", "no class: rows 2, 4, 6"]),
        (rows().replace("12", "007"), ["of one class, 007"]),
        (rows(left=9, top=9, right=5, bottom=20), ["6 rows", "left < right"]),
        (rows(left="a", top=1, right=5, bottom=20), ["6 rows", "1 (a, 1, 5, 20)"]),
        (rows(left=0.1, top=0.1, right=0.9, bottom=1), ["lie in 0..1"]),
        (rows()[:0], ["has no rows"]),
    ],
)  # fmt: skip
def test_mistakes_are_told(frame: pd.DataFrame, said: list[str], root: Path) -> None:
    written(root, frame)
    message = refused(root)
    for part in said:
        assert part in message


def test_files_that_are_no_tables(root: Path) -> None:
    (root / "empty.csv").write_text("")
    (root / "broken.parquet").write_bytes(b"PAR1")
    (root / "latin.csv").write_bytes("path,class\ncaf\u00e9.png,a".encode("latin1"))
    (root / "ragged.csv").write_text("path,class\na.png,x,y,z\nb.png,x\n")
    for name in ("empty.csv", "broken.parquet", "latin.csv", "ragged.csv"):
        assert "no readable table" in refused(root, name)
    assert "is missing" in refused(root, "nowhere.csv")
    (root / "labels.xlsx").write_bytes(b"PK")
    assert "expected a .csv, .tsv or .parquet" in refused(root, "labels.xlsx")
    written(root, rows())
    with pytest.raises(ConfigError, match="expected path, class, split or box"):
        table(root, "labels.csv", {"label": "class"})
    with pytest.raises(ConfigError, match="expected four names"):
        table(root, "labels.csv", {"box": "left"})


def test_further_columns_reach_the_analysis_of_errors(
    tiny: list[str], pictures: Path, command: Callable[..., int], tmp_path: Path
) -> None:
    paths = sorted(path.relative_to(pictures).as_posix() for path in pictures.rglob("*.png"))
    frame = pd.DataFrame({"path": paths, "class": [path[:7] for path in paths]})
    frame["camera"] = ["phone", "reflex", ""] * 20
    frame["blur"] = np.arange(60) / 10
    frame["author"] = [f"person {number}" for number in range(60)]
    written(pictures, frame)
    own = ["data=table", "data.table=labels.csv", "name=a", "trainer.max_epochs=1"]
    assert command("train.py", *tiny[1:], *own) == 0
    files = RunFolder(tmp_path / "runs/train/a")
    predictions = Predictions.read(files.predictions("val"))
    causes = noted_causes(files.causes, predictions)
    expected = frame.set_index("path").loc[predictions.ids]
    assert list(causes) == ["camera", "blur"]
    assert causes["blur"].tolist() == expected["blur"].tolist()
    assert causes["camera"].tolist() == expected["camera"].replace("", "not noted").tolist()


def test_a_run_folder_finds_its_photos_from_anywhere(
    tiny: list[str],
    pictures: Path,
    command: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frame = pd.DataFrame({"path": [p.relative_to(pictures) for p in pictures.rglob("*.png")]})
    written(pictures, frame.assign(**{"class": [p.parent.name for p in frame["path"]]}))
    more = [o for o in tiny if not o.startswith("data")] + ["trainer.max_epochs=1"]
    more += ["data.image_size=32", "data.batch_size=8"]
    assert command("train.py", "data=folder", "data.root=pictures", *more, "name=a") == 0
    own = ["data=table", "data.table=pictures/labels.csv"]
    assert command("train.py", *own, *more, "name=b") == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for name in ("a", "b"):
        assert command("evaluate.py", f"run=../runs/train/{name}", "split=val") == 0
