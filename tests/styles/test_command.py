"""`stylize.py` from end to end, with an encoder of random weights and a few steps."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig
from PIL import Image

from carsclf.data.build import make_data
from carsclf.errors import DataError
from tests.conftest import draw

Command = Callable[..., int]
Say = pytest.CaptureFixture[str]


@pytest.fixture
def asked(pictures: Path, tmp_path: Path) -> list[str]:
    """What stylize.py is told; the splits are those of `tiny` with a test part."""
    for style in ("dots", "lines"):
        for number in range(2):
            draw(tmp_path / "styles" / style / f"{number}.png", number + 4, number, (80, 70))
    return [
        "data=folder",
        f"data.root={pictures}",
        "data.test_fraction=0.2",
        f"styles={tmp_path / 'styles'}",
        "model.name=test_resnet",
        "model.weights=none",
        "steps=2",
        "device=cpu",
    ]


def record_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "synthetic.json").read_text())


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def of_split(config_of: Callable[..., DictConfig], tiny: list[str], split: str) -> set[str]:
    data, _ = make_data(config_of(*tiny, "data.test_fraction=0.2"))
    return {sample.id for sample in data.splits[split]}


def test_training_photos_only_and_each_in_its_class(
    asked: list[str], tiny: list[str], config_of, command: Command, capfd: Say, tmp_path: Path
) -> None:
    out = tmp_path / "made"
    assert command("stylize.py", *asked, f"out={out}", "per_image=2") == 0
    said = capfd.readouterr().out
    assert "72 pictures of 3 classes" in said
    assert f"next: python train.py data.extra=[{out}]" in said
    record = record_of(out)
    assert record["kind"], record["split"] == ("style", "train")
    assert set(record["sources"].values()) == of_split(config_of, tiny, "train")
    assert set(record["trained_on"]) == of_split(config_of, tiny, "train")
    found = {p.relative_to(out).as_posix() for p in out.glob("*/*.jpg")}
    assert found == record["sources"].keys() == record["styles"].keys()
    assert set(record["styles"].values()) == {"dots", "lines"}
    for name, id in record["sources"].items():
        assert Path(name).parent.name == Path(id).parent.name  # the class
        with Image.open(out / name) as made:
            assert made.size == (40, 30)
    assert record["made_by"]["encoder"] == "test_resnet"
    assert record["made_by"]["strength"] == 1
    assert record["made_by"]["split_seed"] == 0
    with Image.open(out / "styles.png") as sheet:
        assert sheet.width == 8 + 3 * 168  # a photo in both styles
    data, _ = make_data(config_of(*tiny, "data.test_fraction=0.2", f"data.extra=[{out}]"))
    assert sum(map(len, data.extra.values())) == 72


def test_a_killed_run_goes_on_to_the_same_files(
    asked: list[str], command: Command, capfd: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from carsclf.styles import transfer

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert command("stylize.py", *asked, f"out={whole}") == 0
    real, calls = transfer.Transfer.__call__, []

    def killed(self, *arguments):
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return real(self, *arguments)

    monkeypatch.setattr(transfer.Transfer, "__call__", killed)
    assert command("stylize.py", *asked, f"out={parts}") == 1
    assert "is not complete; the same command goes on" in capfd.readouterr().err
    assert not (parts / "synthetic.json").exists()
    assert len(list(parts.glob("*/*.jpg"))) == 7
    assert command("stylize.py", *asked, f"out={parts}", "seed=1") == 1
    assert "was made with another seed" in capfd.readouterr().err
    calls.clear()
    monkeypatch.setattr(transfer.Transfer, "__call__", lambda s, *a: calls.append(1) or real(s, *a))
    assert command("stylize.py", *asked, f"out={parts}") == 0
    assert len(calls) == 36 - 7
    assert contents(parts) == contents(whole)
    assert command("stylize.py", *asked, f"out={parts}") == 0
    assert "complete already: 36 pictures" in capfd.readouterr().out


def test_photos_of_the_test_split_are_never_trained_on(
    asked: list[str], tiny: list[str], config_of, command: Command, tmp_path: Path
) -> None:
    train, test = tmp_path / "train", tmp_path / "test"
    assert command("stylize.py", *asked, f"out={train}") == 0
    kept = f"decoder={train / 'decoder.safetensors'}"
    assert command("stylize.py", *asked, f"out={test}", "split=test", kept, "per_image=2") == 0
    record = record_of(test)
    assert record["split"] == "test"
    assert set(record["sources"].values()) == of_split(config_of, tiny, "test")
    assert record["trained_on"] == record_of(train)["trained_on"]
    with pytest.raises(DataError, match="made of photos of test, to measure by"):
        make_data(config_of(*tiny, "data.split_seed=5", f"data.extra=[{test}]"))


def test_strength_0_is_the_same_in_every_style(
    asked: list[str], command: Command, tmp_path: Path
) -> None:
    out = tmp_path / "made"
    assert command("stylize.py", *asked, f"out={out}", "per_image=2", "strength=0") == 0
    by_source: dict[str, list[bytes]] = {}
    for name, id in record_of(out)["sources"].items():
        by_source.setdefault(id, []).append((out / name).read_bytes())
    assert all(len(found) == 2 and len(set(found)) == 1 for found in by_source.values())


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["split=test", "data.test_fraction=0"], "split=test: protocol fractions has train, val"),
        (["out=pictures/made"], "out=pictures/made lies in "),
        (["out=."], "out=. holds the photos: name a folder of its own"),
        (["styles=gone"], "styles=.*gone is no folder"),
        (["model.name=test_vit"], "has no stages that each halve the picture"),
        (["model.compile=true"], "model.compile=True: an encoder takes none"),
        (["decoder=styles/dots/0.png"], "expected the decoder.safetensors of an earlier stylize"),
        (["decoder=gone"], "decoder=.*gone cannot be read"),
        (["strength=1.5"], "strength=1.5: expected a number, at least 0 and at most 1"),
        (["data.bootstrap=1"], "data.bootstrap is of trainings: give it to train.py"),
        (["data.extra=[x]"], "data.extra is of trainings: give it to train.py"),
        (["out=styles"], "out=.*styles holds other files: name a new folder"),
    ],
)
def test_mistakes_end_in_one_line(
    more: list[str], said: str, asked: list[str], command: Command, capfd: Say
) -> None:
    assert command("stylize.py", *asked, "out=made", *more) == 1
    error = capfd.readouterr().err
    (line,) = [line for line in error.splitlines() if line.startswith("error: ")]
    assert re.search(said, line)
    assert "Traceback" not in error


def test_a_class_that_leads_out_of_the_folder_is_refused(
    asked: list[str], pictures: Path, command: Command, capfd: Say, tmp_path: Path
) -> None:
    with (tmp_path / "labels.csv").open("w") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "class"])
        for path in sorted(pictures.rglob("*.png")):
            rows.writerow([path, path.parent.name.replace("class 1", "../class 1")])
    options = [o for o in asked if not o.startswith("data")]
    table = ["data=table", "data.table=labels.csv"]
    assert command("stylize.py", *options, *table, "out=made") == 1
    assert "the class '../class 1' cannot be the name of a folder" in capfd.readouterr().err
    assert not (tmp_path / "made").exists()
