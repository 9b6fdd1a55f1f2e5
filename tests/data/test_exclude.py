"""data.exclude: which photos a list leaves out, and what is no list of these data."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from omegaconf import DictConfig

from carsclf.data.build import make_data
from carsclf.data.datamodule import CarsDataModule
from carsclf.errors import CheckpointError, ConfigError, DataError
from carsclf.inference.split import How, open_run
from carsclf.records import Run, RunFolder
from carsclf.training.run import fit
from tests.conftest import until

Config = Callable[..., DictConfig]
FIVE = [f"class {i}/0{n}.png" for i in range(3) for n in (0, 1)][:5]


@pytest.fixture
def read(config_of: Config, tiny: list[str]) -> Callable[..., CarsDataModule]:
    def make(*options: str) -> CarsDataModule:
        return make_data(config_of(*tiny, "data.test_fraction=0.2", *options))[0]

    return make


def ids(data: CarsDataModule) -> dict[str, list[str]]:
    return {split: [s.id for s in part] for split, part in data.splits.items()}


def written(folder: Path, kind: str, listed: list[str]) -> Path:
    path = folder / f"leave [out], é.{kind}"
    if kind == "txt":
        path.write_bytes("\r\n".join([*listed, "", ""]).encode("utf-8-sig"))
    elif kind == "csv":
        pd.DataFrame({"kind": "too_dark", "id": [*listed, ""]}).to_csv(path, index=False)
    elif kind == "semicolons.csv":  # as a spreadsheet where the comma is for decimals
        pd.DataFrame({"id": listed, "score": "0,5"}).to_csv(path, index=False, sep=";")
    else:
        pd.DataFrame({"id": [*listed, None], "score": 1.0}).to_parquet(path)
    return path


@pytest.mark.parametrize("kind", ["txt", "csv", "semicolons.csv", "parquet"])
def test_listed_photos_are_gone_and_all_others_stay_where_they_were(
    kind: str, read: Callable[..., CarsDataModule], tmp_path: Path
) -> None:
    before = ids(read())
    path = written(tmp_path, kind, [*FIVE, FIVE[0]])
    data = read(f"data.exclude='{path}'")
    assert ids(data) == {k: [i for i in part if i not in FIVE] for k, part in before.items()}
    assert data.exclusion is not None
    record = data.exclusion.record()
    assert record["ids"] == 5
    assert record["unknown"] == 0
    assert record["hash"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert sum(record["parts"].values()) == 5


def test_an_empty_list_leaves_nothing_out(
    read: Callable[..., CarsDataModule], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path, "txt", [])
    with caplog.at_level("INFO"):
        assert ids(read(f"data.exclude='{path}'")) == ids(read())
    assert "is an empty list" in caplog.text


def test_photos_that_are_not_there_are_named(
    read: Callable[..., CarsDataModule], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path, "csv", [FIVE[0], "class 0/gone.png"])
    with caplog.at_level("INFO"):
        data = read(f"data.exclude='{path}'")
    assert "1 ids of data.exclude are no photos here (class 0/gone.png)" in caplog.text
    assert data.exclusion is not None
    assert (len(data.exclusion.ids), list(data.exclusion.unknown)) == (1, ["class 0/gone.png"])


def test_a_photo_of_a_class_not_asked_for_is_known(
    read: Callable[..., CarsDataModule], tmp_path: Path
) -> None:
    path = written(tmp_path, "txt", ["class 2/00.png"])
    data = read(f"data.exclude='{path}'", "data.classes=['class 0','class 1']")
    assert data.exclusion is not None
    assert sum(data.exclusion.parts.values()) == 0


ALL = [f"class 1/{n:02}.png" for n in range(20)]


def test_a_class_that_falls_below_the_least_is_left_out(
    read: Callable[..., CarsDataModule], tmp_path: Path
) -> None:
    for listed in (ALL, ALL[:15]):
        path = written(tmp_path, "txt", listed)
        data = read(f"data.exclude='{path}'", "data.min_images_per_class=6")
        assert data.class_names == ["class 0", "class 2"]


@pytest.mark.parametrize(
    ("kind", "listed", "said"),
    [
        ("txt", ALL, "leaves no photo of 1 classes: class 1; shorten the list"),
        ("txt", ["a.jpg", "b.jpg"], "none of its 2 ids .* is it a list of another data set"),
        ("txt", [f"class {c}/{n:02}.png" for c in range(3) for n in range(20)], "all photos"),
        ("csv", None, "has no column id, but name"),
        ("parquet", None, "cannot be read"),
        ("xlsx", None, "expected a .txt file with an id a line"),
        ("", None, "expected a .txt file"),
    ],
)
def test_lists_that_are_refused(
    kind: str,
    listed: list[str] | None,
    said: str,
    read: Callable[..., CarsDataModule],
    tmp_path: Path,
) -> None:
    path = tmp_path / f"list.{kind}"
    path.write_text("name\nx\n")
    if listed is not None:
        path = written(tmp_path, kind, listed)
    with pytest.raises(DataError, match=said) as error:
        read(f"data.exclude='{path}'")
    assert "\n" not in str(error.value)


def test_a_class_left_without_a_training_photo(
    read: Callable[..., CarsDataModule], tmp_path: Path
) -> None:
    train = [id for id in ids(read())["train"] if id.startswith("class 1/")]
    path = written(tmp_path, "txt", train)
    with pytest.raises(DataError, match="leaves 1 classes without a training photo: class 1"):
        read(f"data.exclude='{path}'")


def test_the_file_must_be_there(read: Callable[..., CarsDataModule]) -> None:
    with pytest.raises(DataError, match="No such file"):
        read("data.exclude=gone.txt")
    with pytest.raises(ConfigError, match="data.exclude=.*expected a text, or null"):
        read("data.exclude=[a,b]")


def test_a_run_tells_of_its_list_and_does_not_go_on_with_another(
    config_of: Config, tiny: list[str], tmp_path: Path
) -> None:
    path = written(tmp_path, "txt", FIVE)
    config = config_of(*tiny, f"data.exclude='{path}'")
    files = RunFolder(tmp_path / "run")
    fit(config, files.root, on_epoch=until(1))
    whole = path.read_bytes()
    path.write_bytes(whole + b"class 2/07.png\n")
    with pytest.raises(CheckpointError, match="is not what it was when"):
        fit(config, files.root, resume=True)
    path.write_bytes(whole)
    run = fit(config, files.root, resume=True)
    assert run.excluded == json.loads(files.excluded.read_text()) == Run.read(files.run).excluded
    assert (run.excluded["ids"], sum(run.split_sizes.values())) == (5, 55)
    before = open_run(files.root, How("val")).data.splits
    assert sum(map(len, before.values())) == 55
    path.write_bytes(whole + b"class 2/07.png\n")
    assert open_run(files.root, How("val")).data.splits == before  # as they were divided
    files.photos.unlink()  # a run of an earlier version: its splits are drawn anew
    with pytest.raises(DataError, match="is not what it was when .* was trained"):
        open_run(files.root, How("val"))


def test_a_run_without_a_list_says_so(config_of: Config, tiny: list[str], tmp_path: Path) -> None:
    run = fit(config_of(*tiny, "trainer.max_epochs=1"), tmp_path / "run")
    assert run.excluded == {}
    assert not RunFolder(tmp_path / "run").excluded.exists()
