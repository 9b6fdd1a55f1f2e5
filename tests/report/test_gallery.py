"""The gallery's cards, with probabilities and photos worked out by hand."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from carsclf.records import Predictions, RunFolder
from carsclf.report.command import write_report
from carsclf.report.gallery import example_of, make_gallery
from carsclf.report.page import Desk
from tests.report.folders import make_run

NAMES = ["sea", "forest"]
COLOURS = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0)]
TARGETS = np.array([0, 1, 1, 1])
PROBABILITIES = np.array([[0.2, 0.8], [0.3, 0.7], [0.05, 0.95], [0.4, 0.6]], np.float32)
"""The first photo, of the sea, is taken for forest; of the forest's the third is the surest."""


@pytest.fixture
def predictions(tmp_path: Path) -> Predictions:
    ids = [f"{i}.png" for i in range(4)]
    for id, colour in zip(ids, COLOURS, strict=True):
        Image.new("RGB", (32, 20), colour).save(tmp_path / id)
    return Predictions(ids, [str(tmp_path / id) for id in ids], TARGETS, PROBABILITIES, NAMES)


def colour(picture: Image.Image) -> tuple[int, ...]:
    """Of its middle, as JPEG leaves it, in steps of 50."""
    return tuple(int(50 * round(v / 50)) for v in np.asarray(picture)[10, 16])


def test_an_item_by_hand(predictions: Predictions, tmp_path: Path) -> None:
    (item,), missing = make_gallery(Desk(tmp_path / "report"), predictions, 9, None)
    assert (item["given"], item["said"]) == ("sea", "forest")
    assert item["given_probability"] == pytest.approx(0.2)
    assert item["said_probability"] == pytest.approx(0.8)
    assert missing == 0
    photos = {p.stem[3:]: Image.open(p) for p in (tmp_path / "report/gallery").iterdir()}
    assert {name: colour(p) for name, p in photos.items()} == {
        "photo": COLOURS[0],
        "predicted": COLOURS[2],
    }


def test_the_example_is_the_photo_the_model_is_surest_of(predictions: Predictions) -> None:
    assert example_of(predictions, 1) == 2
    assert example_of(predictions, 0) == 0
    nobody = Predictions(["a"], ["a"], np.array([1]), PROBABILITIES[:1], NAMES)
    assert example_of(nobody, 0) is None


def test_the_card_as_a_reader_sees_it(predictions: Predictions, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", source="folder")
    predictions.write(RunFolder(run).predictions("val"))
    page = write_report(runs=[run], studies=[], folder=tmp_path / "report")
    (card,) = re.findall(r'<div class="error">(.*?)</footer>', page.read_text(), re.DOTALL)
    sides = re.findall(
        r'base64,([^"]*)".*?said">(.*?)</div>.*?how">(.*?)</div>.*?bar (\w*)">.*?width: (.*?)"',
        card,
        re.DOTALL,
    )
    told = [(name, how, bar, width) for _, name, how, bar, width in sides]
    assert told == [
        ("sea", "its class, 20.0 %", "", "20.0%"),
        ("forest", "predicted, 80.0 %", "wrong", "80.0%"),
    ]
    pictures = [Image.open(io.BytesIO(base64.b64decode(uri))) for uri, *_ in sides]
    assert [colour(picture) for picture in pictures] == [COLOURS[0], COLOURS[2]]
