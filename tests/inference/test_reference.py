"""Reference sets: frozen, judged on, kept out of training, and the gate that stands on them."""

import hashlib
import json
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from carsclf.data.build import make_data
from carsclf.data.photos_of_run import begun_with
from carsclf.data.reference import make_set, read_reference
from carsclf.data.samples import Sample
from carsclf.errors import DataError
from carsclf.inference.reference import root_of
from carsclf.records import Predictions, RunFolder
from tests.conftest import draw


def smooth(path: Path, seed: int) -> Image.Image:
    """A picture with shapes large enough that its looks survive another size."""
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = Image.fromarray(rng.integers(0, 255, (6, 8, 3)).astype(np.uint8))
    picture = coarse.resize((160, 120), Image.Resampling.BICUBIC)
    picture.save(path)
    return picture


@pytest.fixture
def photos(tmp_path: Path, command) -> Path:
    """A set `field` of 2 classes, frozen; others of the training's pictures look like none."""
    root = tmp_path / "field"
    for target in range(2):
        for seed in range(100, 104):
            smooth(root / f"class {target}" / f"{seed}.png", 10 * target + seed)
    assert command("reference.py", "name=field", f"photos={root}") == 0
    return root


def test_a_set_is_frozen(photos: Path, tmp_path: Path, command, capfd) -> None:
    file = tmp_path / "references/field.parquet"
    found = read_reference(file)
    photo = photos / "class 1/102.png"
    row = found.table.set_index("id").loc["class 1/102.png"]
    assert row["content"] == hashlib.sha256(photo.read_bytes()).hexdigest()
    assert row["class"] == "class 1"
    assert command("reference.py", "name=field", f"photos={photos}") == 1
    assert "does not change" in capfd.readouterr().err
    photo.write_bytes((photos / "class 1/103.png").read_bytes())
    (photos / "class 0/100.png").unlink()
    with pytest.raises(DataError, match=r"missing \(class 0/100.png\).*not what .*1/102.png"):
        found.checked()
    table = pd.read_parquet(file)
    table.loc[0, "class"] = "class 1"
    table.to_parquet(file)
    with pytest.raises(DataError, match="was changed since it was made"):
        read_reference("field")


def test_one_photo_is_of_one_class(photos: Path, command, capfd) -> None:
    shutil.copy(photos / "class 0/100.png", photos / "class 1/again.png")
    assert command("reference.py", "name=two", f"photos={photos}") == 1
    said = capfd.readouterr().err
    assert "2 files are one photo under several classes: class 0/100.png, class 1/again.png" in said


def test_a_set_elsewhere_is_told_by_its_file(photos: Path, tmp_path: Path, command, capfd) -> None:
    assert command("reference.py", "name=far", f"photos={photos}", "folder=else where") == 0
    said = capfd.readouterr().out
    typed = shlex.split(said.splitlines()[-1])[-1]
    assert typed == f'reference="{tmp_path}/else where/far.parquet"'
    assert "name this one there" in said


def test_its_photos_and_their_twins_are_not_trained_on(
    photos: Path, pictures: Path, tiny: list[str], config_of: Callable, capfd
) -> None:
    before, _ = make_data(config_of(*tiny, "data.references=[]"))
    train, val = ([s.id for s in before.splits[name]][:2] for name in ("train", "val"))
    shutil.copy(photos / "class 0/100.png", pictures / train[0])
    with Image.open(photos / "class 1/103.png") as twin:  # smaller, mirrored, another format inside
        twin.transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((120, 90)).save(pictures / train[1])
    shutil.copy(photos / "class 1/101.png", pictures / val[0])
    data, _ = make_data(config_of(*tiny))
    assert data.withheld is not None
    assert set(data.withheld.same) == {train[0], val[0]}
    assert set(data.withheld.twins) == {train[1]}
    for name, out in (("train", train), ("val", val[:1])):
        assert [s.id for s in data.splits[name]] == [
            s.id for s in before.splits[name] if s.id not in out
        ]


def test_gate_from_training_to_verdict(
    photos: Path, pictures: Path, tiny: list[str], command, tmp_path: Path, capfd
) -> None:
    draw(photos / "class 9" / "1.png", 1, 500)  # a class that the model lacks
    assert command("reference.py", "name=more", f"photos={photos}") == 0
    run = "runs/train/one"
    assert command("train.py", *tiny, "name=one", "trainer.max_epochs=1") == 0
    assert json.loads((tmp_path / run / "run.json").read_text())["references"]["same"] == 0
    assert command("evaluate.py", f"run={run}", "reference=more", "worst=0") == 0
    assert "lacks 1 classes of more, whose 1 photos count as wrong" in capfd.readouterr().out
    said = Predictions.read(RunFolder(tmp_path / run).predictions("reference-more"))
    assert said.class_names[-1] == "class 9"
    assert not said.right[-1]
    assert len(said.ids) == 9
    assert command("evaluate.py", f"run={run}", "reference=more", "worst=0", "tta=flip") == 0
    assert "flip: 2 views of each picture: 2 x the network's time; " in capfd.readouterr().out

    asked = ["gate.py", f"candidate={run}", "device=cpu", "workers=0"]
    assert command(*asked) == 0
    told = json.loads((tmp_path / "runs/gate/one/gate.json").read_text())
    assert told["passed"]
    assert told["overall"][0]["candidate"] == pytest.approx(said.right[:8].sum() / 8)
    assert command(*asked, f"deployed=runs/../{run}") == 1
    assert "are the same run: nothing is compared" in capfd.readouterr().err
    shutil.copytree(tmp_path / run, tmp_path / "runs/train/before")
    assert command(*asked, "deployed=runs/train/before", "minimum=1") == 1
    told = json.loads((tmp_path / "runs/gate/one/gate.json").read_text())
    assert "below the minimum" in told["reasons"][0]
    page = (tmp_path / "runs/gate/one/index.html").read_text()
    assert "FAIL" in page
    assert "below the minimum" in page

    assert command(*asked, "important.classes=[class_x]") == 1  # a mistake leaves no verdict
    assert not (tmp_path / "runs/gate/one/gate.json").exists()
    trained = [i for i in sorted(pictures.rglob("*.png")) if "class 0" in str(i)]
    for path in trained[:20]:  # now its data hold a photo of the set, whichever split it is in
        shutil.copy(photos / "class 0/100.png", path)
    capfd.readouterr()
    config = tmp_path / run / "config.yaml"
    kept = config.read_text()
    listed = kept[kept.index("  references:") :].split("\n")
    entries = [line for line in listed[1:3] if line.strip().startswith("- ")]
    text = kept.replace("\n".join([listed[0], *entries]), "  references: []")
    config.write_text(text)  # a run that was trained without the sets
    assert command(*asked) == 1
    assert "was trained or validated on photos of the reference sets" in capfd.readouterr().out
    config.write_text(kept)
    card = tmp_path / run / "model.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"deployable": False}))
    assert command(*asked) == 1
    assert "throw-away run" in capfd.readouterr().out


def test_a_set_is_made_from_a_run_wherever_its_photos_lie(
    pictures: Path, tiny: list[str], command, tmp_path: Path
) -> None:
    own = ["name=one", "trainer.max_epochs=1", "data.test_fraction=0.2"]
    assert command("train.py", *tiny, *own) == 0
    moved = tmp_path / "elsewhere"
    shutil.move(pictures, moved)
    assert command("reference.py", "name=own", "run=runs/train/one", f"root={moved}") == 0
    found = read_reference("own")
    assert found.root == moved
    assert len(found.checked()) == 12
    assert root_of(Sample("a/1.png", Path("/cars/a/1.png"), 0)) == Path("/cars")


def test_a_photo_that_was_turned_stays_so(photos: Path, tmp_path: Path) -> None:
    samples = [Sample(f"class 0/{n}.png", photos / f"class 0/{n}.png", 0) for n in (100, 101)]
    kept = tmp_path / "kept.parquet"
    plain = make_set("plain", tmp_path, photos, samples, ["class 0"], kept)
    turned = [samples[0], replace(samples[1], turn=90)]
    make_set("turned", tmp_path, photos, turned, ["class 0"], kept).write()
    found = read_reference(tmp_path / "turned.parquet")
    assert [s.turn for s in found.samples()] == [0, 90]
    assert [s.turn for s in plain.samples()] == [0, 0]
    assert found.hash != plain.hash


def test_where_weights_began_is_followed_through_files(tmp_path: Path) -> None:
    first, second = RunFolder(tmp_path / "a"), RunFolder(tmp_path / "b")
    for files, weights in ((first, "imagenet"), (second, first.weights)):
        files.root.mkdir()
        files.config.write_text(f"model: {{weights: {weights}}}\n")
    assert [f.root for f in begun_with(second.root)] == [second.root, first.root]
    assert [f.root for f in begun_with(second.weights)] == [second.root, first.root]


def test_what_a_run_was_trained_on_is_known_after_its_library_grew(
    photos: Path, pictures: Path, tiny: list[str], command, tmp_path: Path, capfd
) -> None:
    run = "runs/train/one"
    own = [*tiny, "name=one", "trainer.max_epochs=1", "data.references=[]"]
    seen = min((pictures / "class 0").glob("*.png"))
    shutil.copy(photos / "class 0/100.png", seen)
    assert command("train.py", *own) == 0
    kept = pd.read_parquet(tmp_path / run / "photos.parquet")
    assert sorted(pictures / id for id in kept["id"]) == sorted(pictures.rglob("*.png"))
    assert kept["class"].tolist() == [Path(id).parent.name for id in kept["id"]]
    config = json.loads((tmp_path / run / "run.json").read_text())
    assert kept["split"].value_counts().to_dict() == config["split_sizes"]

    for seed in range(30):  # a class more, and photos that move the others to another split
        draw(pictures / "class 9" / f"{seed}.png", 1, 600 + seed)
        draw(pictures / "class 0" / f"new {seed}.png", 0, 700 + seed)
    asked = ["gate.py", f"candidate={run}", "device=cpu", "workers=0"]
    assert command(*asked) == 1
    out = capfd.readouterr().out
    assert "1 photos with the content of one of field" in out
    seen.rename(pictures / "class 9/moved.png")  # its content is still known
    assert command(*asked) == 1
    out = capfd.readouterr().out
    assert "1 photos with the content of one of field" in out
    assert "1 of the 60 photos that runs/train/one was trained on are not where they were" in out
    (pictures / "class 9/moved.png").unlink()
    kept.drop(columns="content").to_parquet(tmp_path / run / "photos.parquet")  # as before
    assert command(*asked) == 0
    assert "were looked for by nothing" in capfd.readouterr().out
    began = tmp_path / run / "config.yaml"
    began.write_text(began.read_text().replace("weights: none", "weights: /gone/run"))
    assert command(*asked) == 0
    assert "/gone/run, the weights that runs/train/one or one before it" in capfd.readouterr().out
    moved = tmp_path / "elsewhere"
    shutil.move(pictures, moved)
    assert command(*asked) == 1
    assert "60 of its photos are not where they were" in capfd.readouterr().err
    assert command(*asked, f"data_root={moved}") == 0
