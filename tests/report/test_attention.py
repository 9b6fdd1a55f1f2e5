"""Maps of attention: the overlay itself, and the network's own where grad-cam is installed."""

import importlib.util
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from carsclf.errors import ConfigError
from carsclf.report.attention import overlay, overlays
from tests.report.folders import add_predictions, make_photos, make_run


def test_unheated_parts_keep_their_colour() -> None:
    picture = np.full((40, 60, 3), 100, np.uint8)
    heat = np.zeros((40, 60), np.float32)
    heat[:, 40:] = 1
    shown = np.asarray(Image.open(io.BytesIO(overlay(picture, heat)))).astype(int)
    assert abs(shown[:, :30] - 100).max() <= 3
    assert abs(shown[:, 50:] - 100).mean() > 30


@pytest.mark.skipif(
    importlib.util.find_spec("pytorch_grad_cam") is not None, reason="grad-cam is installed"
)
def test_without_the_package_it_says_what_to_install(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 4)
    run = make_run(tmp_path / "a")
    told = add_predictions(run, np.zeros(4, bool), photos=tmp_path / "photos")
    with pytest.raises(ConfigError, match=r"pip install 'carsclf\[attention\]'"):
        overlays(run, told, [0], None)


def test_maps_of_a_network(tmp_path: Path) -> None:
    """A random tiny network: one map per photo, a missing photo left out."""
    pytest.importorskip("pytorch_grad_cam", reason="grad-cam (extra `attention`) is not installed")
    from safetensors.torch import save_file

    from carsclf.data.transforms import EvalTransform
    from carsclf.models.networks import create
    from carsclf.records import ModelCard, RunFolder

    make_photos(tmp_path / "photos", 4)
    run = make_run(tmp_path / "a")
    told = add_predictions(run, np.zeros(4, bool), photos=tmp_path / "photos")
    files, seen = RunFolder(run), EvalTransform("squash", 64, 64).to_dict()
    save_file(create("test_resnet", num_classes=4).state_dict(), files.weights)
    card = ModelCard("test_resnet", told.class_names, seen, [0.5] * 3, [0.2] * 3, "none")
    card.write(files.card)
    (tmp_path / "photos/cars/00001.jpg").unlink()
    made = overlays(run, told, [0, 1, 2], None)
    assert sorted(made) == [0, 2]
    assert Image.open(io.BytesIO(made[0])).size == (64, 64)
