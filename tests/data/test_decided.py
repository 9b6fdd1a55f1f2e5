"""data.decisions: photos left out, of another class and turned, all others where they were."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from PIL import Image

from carsclf.data.build import make_data
from carsclf.data.datamodule import CarsDataModule
from carsclf.data.decision_log import HEADER, Entry
from carsclf.data.images import read_picture
from carsclf.errors import CheckpointError, DataError
from carsclf.features.cache import photo_key
from carsclf.inference.split import How, open_run
from carsclf.records import Predictions, Run, RunFolder
from carsclf.training.run import fit
from tests.conftest import until

Read = Callable[..., CarsDataModule]
Config = Callable[..., DictConfig]


@pytest.fixture
def read(config_of: Config, tiny: list[str]) -> Read:
    def make(*options: str) -> CarsDataModule:
        return make_data(config_of(*tiny, "data.test_fraction=0.2", *options))[0]

    return make


def listed(path: Path, *rows: tuple[str, ...], content: str = "") -> Path:
    """Of rows (id, decision, value)."""
    lines = [Entry("t", "ann", id, content, what, *value).line() for id, what, *value in rows]
    path.write_text(HEADER + "".join(lines))
    return path


def labels(data: CarsDataModule) -> dict[str, tuple[str, str]]:
    """Split and class by id."""
    return {
        s.id: (split, data.class_names[s.target])
        for split, part in data.splits.items()
        for s in part
    }


def test_each_kind_does_what_it_says_and_nothing_else_moves(read: Read, tmp_path: Path) -> None:
    before = labels(read())
    path = listed(
        tmp_path / "d [1], é.csv",
        ("class 0/00.png", "exclude"),
        ("class 0/01.png", "relabel", "class 2"),
        ("class 1/02.png", "merge", "class 1/03.png"),
        ("class 1/04.png", "turn", "90"),
        ("class 1/05.png", "keep"),
        ("class 2/06.png", "exclude"),
        ("class 2/06.png", "undo"),
    )
    data = read(f"data.decisions='{path}'")
    wanted = {k: v for k, v in before.items() if k not in ("class 0/00.png", "class 1/02.png")}
    wanted["class 0/01.png"] = (before["class 0/01.png"][0], "class 2")
    assert labels(data) == wanted
    assert list(data.splits["train"]) == sorted(data.splits["train"], key=lambda s: s.id)
    assert data.decided is not None
    record = data.decided.record()
    assert record["hash"] == hashlib.sha256(path.read_bytes()).hexdigest()
    counts = {k: record[k] for k in ("keep", "relabel", "exclude", "merge", "turn", "unknown")}
    assert counts == dict.fromkeys(counts, 1) | {"unknown": 0}
    assert sum(record["parts"].values()) == 2
    json.dumps(record)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turned_photo_is_the_one_that_pillow_rotates(
    degrees: int, packed: bool, config_of: Config, tiny: list[str], tmp_path: Path
) -> None:
    """Wherever it is read: alone, packed after it was packed as it is, and under another key."""
    root = tmp_path / "photos"
    shutil.copytree(Path(tiny[1].removeprefix("data.root=")), root)
    pixels = np.random.default_rng(0).integers(0, 256, (48, 32, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(root / "class 0/00.png")
    options = [*tiny, f"data.root={root}", f"data.packed={str(packed).lower()}"]
    plain = make_data(config_of(*options))[0]
    path = listed(tmp_path / "d.csv", ("class 0/00.png", "turn", str(degrees)))
    data = make_data(config_of(*options, f"data.decisions={path}"))[0]
    one = next(s for part in data.splits.values() for s in part if s.turn)
    rotated = np.array(Image.fromarray(pixels).rotate(-degrees, expand=True))  # Pillow: left
    assert torch.equal(read_picture(one), torch.from_numpy(rotated).permute(2, 0, 1))
    seen = data.pictures([one], data.eval_transform)[0, 0]["pictures"]
    assert torch.equal(seen, data.eval_transform(torch.from_numpy(rotated).permute(2, 0, 1)))
    same = next(s for part in plain.splits.values() for s in part if s.id == one.id)
    assert photo_key(one) != photo_key(same)
    untouched = plain.pictures([same], plain.eval_transform)[0, 0]["pictures"]
    assert not torch.equal(seen, untouched)


def test_a_photo_of_a_class_not_asked_for_comes_in_by_its_new_class(
    read: Read, tmp_path: Path
) -> None:
    asked = "data.classes=['class 0','class 1']"
    before, everything = labels(read(asked)), labels(read())
    path = listed(
        tmp_path / "d.csv",
        ("class 2/03.png", "relabel", "class 0"),
        ("class 1/07.png", "relabel", "class 2"),
    )
    data = read(asked, f"data.decisions={path}")
    wanted = {id: v for id, v in before.items() if id != "class 1/07.png"}
    wanted["class 2/03.png"] = (everything["class 2/03.png"][0], "class 0")
    assert labels(data) == wanted
    assert data.decided is not None
    assert sum(data.decided.parts.values()) == 1


def test_a_class_that_decisions_empty_is_left_out_by_the_cutoff(read: Read, tmp_path: Path) -> None:
    rows = [(f"class 1/{n:02}.png", "relabel", "class 0") for n in range(20)]
    path = listed(tmp_path / "d.csv", *rows)
    with pytest.raises(DataError, match="data.decisions leaves no photo of 1 classes: class 1"):
        read(f"data.decisions={path}")
    data = read(f"data.decisions={path}", "data.min_images_per_class=1")
    assert data.class_names == ["class 0", "class 2"]
    assert len(labels(data)) == 60


def test_with_exclude_mapping_and_bootstrap(read: Read, tmp_path: Path) -> None:
    (tmp_path / "out.txt").write_text("class 0/05.png\n")
    path = listed(
        tmp_path / "d.csv",
        ("class 0/04.png", "exclude"),
        ("class 0/06.png", "relabel", "class 2"),  # decided before it was renamed
    )
    renamed = "data.mapping={rename:{class 2:blue}}"
    before = labels(read(renamed))
    out = f"data.exclude={tmp_path / 'out.txt'}"
    data = read(renamed, out, f"data.decisions={path}")
    wanted = {i: v for i, v in before.items() if i not in ("class 0/04.png", "class 0/05.png")}
    wanted["class 0/06.png"] = (before["class 0/06.png"][0], "blue")
    assert labels(data) == wanted
    drawn = read(renamed, out, f"data.decisions={path}", "data.bootstrap=1")
    assert {s.id for s in drawn.splits["train"]} <= {
        id for id, (split, _) in wanted.items() if split == "train"
    }


def test_what_is_not_there_or_was_changed_is_named_and_passed_over(
    read: Read, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = labels(read())
    path = listed(
        tmp_path / "d.csv",
        ("../../etc/passwd", "exclude"),
        ("/etc/passwd", "relabel", "class 0"),
        ("class 0/01.png", "merge", "class 0/gone.png"),
        ("class 0/02.png", "keep"),
    )
    with path.open("a") as file:
        file.write(Entry("t", "ann", "class 0/03.png", "0" * 64, "exclude").line())
        file.write("t,ann,class 0/04.png,,excl")
    with caplog.at_level("INFO"):
        data = read(f"data.decisions={path}")
    assert labels(data) == before
    assert "2 are no photos here (../../etc/passwd, /etc/passwd)" in caplog.text
    assert "1 are another photo now than was decided on (class 0/03.png)" in caplog.text
    assert "merged into a photo that is not here (class 0/01.png)" in caplog.text
    assert "1 unfinished lines passed over" in caplog.text


def test_decisions_of_another_data_set_are_refused(read: Read, tmp_path: Path) -> None:
    path = listed(tmp_path / "d.csv", ("a/b.jpg", "exclude"), ("a/c.jpg", "keep"))
    with pytest.raises(DataError, match="none of its 2 ids .* another data set") as error:
        read(f"data.decisions={path}")
    assert "\n" not in str(error.value)
    same_names = [("class 0/01.png", "exclude"), ("class 0/02.png", "keep")]
    path = listed(tmp_path / "e.csv", *same_names, content="ab" * 32)
    with pytest.raises(DataError, match="none of its 2 photos .* has the content"):
        read(f"data.decisions={path}")


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (("class 0/01.png", "relabel", "clas 1"), "of class 'clas 1', which .* 'class 1'"),
        (("class 0/01.png", "vanish"), "line 2: decision 'vanish' is unknown"),
    ],
)
def test_decisions_that_cannot_be_applied(
    row: tuple[str, ...], why: str, read: Read, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=why):
        read(f"data.decisions={listed(tmp_path / 'd.csv', row)}")


def test_a_file_that_is_not_there(read: Read, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="data.decisions=.*gone.csv cannot be read"):
        read(f"data.decisions={tmp_path / 'gone.csv'}")
    with pytest.raises(DataError, match="cannot be read"):
        read(f"data.decisions={tmp_path}")


def test_a_run_tells_its_decisions_and_does_not_go_on_with_others(
    config_of: Config, tiny: list[str], tmp_path: Path
) -> None:
    path = listed(tmp_path / "d.csv", ("class 0/01.png", "relabel", "class 1"))
    config = config_of(*tiny, f"data.decisions={path}", "mode=freeze")
    folder = tmp_path / "run"
    fit(config, folder, on_epoch=until(1))
    first = path.read_bytes()
    listed(path, ("class 0/02.png", "exclude"))
    with pytest.raises(CheckpointError, match="data.decisions=.* is not what it was"):
        fit(config, folder, resume=True)
    path.write_bytes(first)
    fit(config, folder, resume=True)
    run = Run.read(RunFolder(folder).run)
    assert run.decided["relabel"] == 1
    assert run.decided["hash"] == hashlib.sha256(first).hexdigest()
    listed(path, ("class 0/02.png", "exclude"))  # the page went on: the run is what it was
    data = open_run(folder, How("val")).data
    said = Predictions.read(RunFolder(folder).predictions("val"))
    assert [s.id for s in data.splits["val"]] == list(said.ids)
    assert labels(data)["class 0/01.png"][1] == "class 1"
