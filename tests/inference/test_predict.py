"""A trained model over any pictures, against Pillow, torch and timm alone."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from carsclf.data.augment import Augmentation
from carsclf.data.datamodule import CarsDataModule
from carsclf.data.folder import folder as folder_source
from carsclf.data.splits import split
from carsclf.data.transforms import build_transforms
from carsclf.errors import CarsclfError, CheckpointError, DataError
from carsclf.inference.predict import Prediction, _note_boxes, load_model, predict
from tests.inference.plain import NAMES, make_model, plain_probabilities

CLOSE = 0.01  # Pillow's bicubic and torchvision's round differently


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_model(tmp_path / "model")


@pytest.fixture
def paths(pictures: Path) -> list[Path]:
    return sorted(pictures.rglob("*.png"))[::5]


@pytest.mark.parametrize(("rule", "resize"), [("squash", 32), ("center_crop", 37)])
def test_probabilities_are_those_of_the_plain_libraries(
    rule: str, resize: int, paths: list[Path], tmp_path: Path
) -> None:
    model = make_model(tmp_path / rule, rule, resize)
    expected = plain_probabilities(model, paths)
    found = load_model(model).predict(paths)
    np.testing.assert_allclose([p.probabilities for p in found], expected, atol=CLOSE)
    assert len({p.predicted for p in found}) > 1
    for prediction, row in zip(found, expected, strict=True):
        named = dict(zip(NAMES, row, strict=True))
        assert prediction.probability == pytest.approx(named[prediction.predicted], abs=CLOSE)
        assert prediction.probability == pytest.approx(max(row), abs=CLOSE)
        first, second = prediction.top(2)
        assert first == (prediction.predicted, prediction.probability)
        assert second[1] == pytest.approx(sorted(row)[-2], abs=CLOSE)
        assert named[second[0]] == pytest.approx(second[1], abs=CLOSE)
        assert len(prediction.top()) == 3


def test_whatever_a_picture_is_given_as_it_is_the_same_picture(
    model: Path, paths: list[Path]
) -> None:
    trained, path = load_model(str(model)), paths[0]
    image = Image.open(path)
    ways: list[Any] = [path, str(path), image, np.array(image), np.array(image.convert("RGBA"))]
    alone = [trained.predict(way) for way in ways]
    together = trained.predict(ways)
    assert isinstance(alone[0], Prediction)
    for prediction in [*alone, *together, *trained.predict(tuple(ways))]:
        np.testing.assert_allclose(prediction.probabilities, alone[0].probabilities, atol=1e-5)
    grey = image.convert("L")
    given: list[Any] = [grey, np.array(grey), np.array(grey)[:, :, None]]
    assert len({f"{p.probability:.5f}" for p in trained.predict(given)}) == 1


def test_a_picture_is_seen_upright(model: Path, paths: list[Path], tmp_path: Path) -> None:
    turned, exif = tmp_path / "turned.png", Image.Exif()
    exif[0x0112] = 6  # to be turned by 270 degrees, EXIF 2.3
    Image.open(paths[0]).transpose(Image.Transpose.ROTATE_90).save(turned, exif=exif)
    trained = load_model(model)
    upright, found = trained.predict(paths[0]), trained.predict([turned, Image.open(turned)])
    for prediction in found:
        np.testing.assert_allclose(prediction.probabilities, upright.probabilities, atol=1e-5)


def test_order_is_kept_over_batches_and_unreadable_ones_between(
    model: Path, paths: list[Path], tmp_path: Path
) -> None:
    trained = load_model(model)
    singly = [trained.predict(path).probabilities for path in paths]
    np.testing.assert_allclose(
        [p.probabilities for p in trained.predict(paths, batch_size=5)], singly, atol=1e-5
    )
    mixed = [paths[0], tmp_path / "gone.png", paths[1], paths[2]]
    found = list(trained.stream(mixed, batch_size=2))
    assert [isinstance(f, DataError) for f in found] == [False, True, False, False]
    predicted = [f.probabilities for f in found if isinstance(f, Prediction)]
    np.testing.assert_allclose(predicted, singly[:3], atol=1e-5)
    assert trained.predict([]) == list(trained.stream([])) == []


def test_no_more_than_two_batches_are_in_memory(model: Path, paths: list[Path]) -> None:
    taken = 0

    def endless() -> Any:
        nonlocal taken
        while True:
            taken += 1
            yield paths[0]

    stream = load_model(model).stream(endless(), batch_size=4)
    for done in range(1, 10):
        next(stream)
        assert taken <= done + 8
    stream.close()  # type: ignore[attr-defined]


def test_evaluation_sees_the_same_pixels(model: Path, pictures: Path, tmp_path: Path) -> None:
    source = folder_source(pictures)
    transforms = build_transforms("squash", 32, "bicubic", Augmentation(flip=0.5, rotation=20))
    splits = split(source, "fractions", seed=0)
    data = CarsDataModule(splits, source.class_names, *transforms, batch_size=7, seed=0)
    trained, samples = load_model(model), splits["val"]
    evaluated = predict(trained, data.loader_of(samples), samples, NAMES)
    found = trained.predict([sample.path for sample in samples])
    shown = [p.probabilities for p in found]
    np.testing.assert_allclose(evaluated.probabilities, shown, atol=1e-5)
    assert [NAMES[i] for i in evaluated.predicted] == [p.predicted for p in found]


def test_what_is_no_picture_ends_in_one_line(model: Path, paths: list[Path], tmp_path: Path):
    trained = load_model(model)
    cut = tmp_path / "cut.png"
    cut.write_bytes(paths[0].read_bytes()[:500])
    text = tmp_path / "notes.txt"
    text.write_text("no picture")
    cases: list[tuple[Any, str]] = [
        (tmp_path / "gone.png", "gone.png is not there"),
        (str(tmp_path), "is a folder"),
        (cut, "cut.png cannot be read as a picture"),
        (text, "notes.txt cannot be read as a picture"),
        (Image.open(cut), "this PIL image cannot be read"),
        (np.zeros((4, 4, 3)), "an array of float64: expected (height, width[, channels])"),
        (np.zeros((3, 32, 32), np.uint8), "an array of shape (3, 32, 32): expected"),
        (np.zeros((2, 9, 9, 3), np.uint8), "an array of shape (2, 9, 9, 3): expected"),
        (np.zeros((0, 9, 3), np.uint8), "an array of shape (0, 9, 3): expected"),
        (torch.zeros(3, 9, 9), "not a Tensor"),
        (7, "not a int"),
        ([paths[0], cut], "cut.png cannot be read"),
    ]
    for given, expected in cases:
        with pytest.raises(DataError) as caught:
            trained.predict(given)
        assert expected in str(caught.value), given
        assert "skip_unreadable" not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_folders_that_hold_no_usable_model_say_why(model: Path, tmp_path: Path) -> None:
    def broken(name: str, file: str, content: bytes | None) -> Path:
        place = tmp_path / name
        shutil.copytree(model, place)
        (place / file).unlink() if content is None else (place / file).write_bytes(content)
        return place

    whole = (model / "model.safetensors").read_bytes()
    card = json.loads((model / "model.json").read_text())
    unfinished = broken("unfinished", "model.json", None)
    (unfinished / "config.yaml").write_text("seed: 0\n")
    other = json.dumps({**card, "class_names": ["one", "two"]}).encode()
    cases = {
        tmp_path / "nowhere": "is no folder: give a run folder",
        tmp_path: "is it a run folder?",
        unfinished: f"no model.json yet: python train.py resume={unfinished}",
        broken("no weights", "model.safetensors", None): "cannot be loaded, it is missing",
        broken("cut", "model.safetensors", whole[:-1000]): "cannot be loaded",
        broken("empty", "model.safetensors", b""): "cannot be loaded",
        broken("noise", "model.safetensors", whole[5000:]): "cannot be loaded",
        broken("other", "model.json", other): "size mismatch",
        broken("no json", "model.json", b"{"): "is not readable JSON",
        broken("bytes", "model.json", b"\xff\xfe"): "is not readable JSON",
        broken("list", "model.json", b"[]"): "lacks what a ModelCard needs",
        broken("lacking", "model.json", b'{"name": "resnet18"}'): "lacks what a ModelCard needs",
    }
    for folder, expected in cases.items():
        with pytest.raises(CarsclfError) as caught:
            load_model(folder)
        assert expected in str(caught.value), folder
        assert len(str(caught.value)) < 700


def test_weights_that_give_no_numbers_are_no_prediction(model: Path, paths: list[Path]) -> None:
    state = load_file(model / "model.safetensors")
    state["fc.bias"][0] = float("nan")
    save_file(state, model / "model.safetensors")
    with pytest.raises(CheckpointError, match="gives NaN instead of probabilities"):
        load_model(model).predict(paths[0])


def test_a_model_of_cut_out_cars_says_once_that_it_sees_whole_pictures(
    paths: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained = load_model(make_model(tmp_path / "box", crop="box"))
    _note_boxes.cache_clear()
    with caplog.at_level(logging.WARNING, logger="carsclf"):
        trained.predict(paths[0])
        trained.predict(paths)
    (record,) = caplog.records
    assert "data.crop=box" in record.getMessage()


def test_tilde_is_the_home_folder(
    model: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(model.parent))
    shutil.copy(paths[0], model.parent / "photo.png")
    assert load_model("~/model").predict("~/photo.png").predicted in NAMES
