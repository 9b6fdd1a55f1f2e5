"""Test-time augmentation: what the mean over views comes to, and where it is written."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from carsclf.data.datamodule import PictureDataset
from carsclf.data.samples import Sample
from carsclf.data.transforms import EvalTransform
from carsclf.data.views import Views
from carsclf.inference.predict import load_model, predict
from carsclf.inference.split import mean_of_views
from carsclf.records import Predictions, RunFolder
from tests.inference.plain import make_model, plain_probabilities


def test_identical_views_say_what_one_does(tmp_path: Path) -> None:
    model = load_model(make_model(tmp_path / "model"), device="cpu")
    generator = torch.Generator().manual_seed(0)
    colours = torch.randint(0, 256, (5, 3, 1, 1), generator=generator).to(torch.uint8)
    pictures = colours.expand(-1, -1, 32, 32)
    plain = model({"pictures": pictures}).softmax(1)
    assert plain.std(0).max() > 0.01
    views = {"pictures": pictures[:, None].expand(-1, 10, -1, -1, -1)}
    torch.testing.assert_close(mean_of_views(model)(views).softmax(1), plain)


def test_probabilities_are_averaged_over_a_picture_and_its_mirror_image(tmp_path: Path) -> None:
    """The network says that of the left half: 0.2, and 0.6 in the mirror. Logits' mean: 0.38."""
    pixels = np.full((8, 8, 3), 51, np.uint8)
    pixels[:, 4:] = 153
    Image.fromarray(pixels).save(tmp_path / "a.png")
    sample = Sample("a.png", tmp_path / "a.png", 0)

    def network(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        left = batch["pictures"][..., :4].float().mean((1, 2, 3)) / 255
        return torch.stack([left, 1 - left], dim=1).log()

    plain = EvalTransform("squash", 8, 8)
    for transform, forward, expected in (
        (plain, network, 0.2),
        (Views(plain, "flip"), mean_of_views(network), 0.4),
    ):
        batch = PictureDataset([sample], transform).__getitems__([(0, 0)])
        said = predict(forward, [batch], [sample], ["left", "right"])
        assert said.probabilities[0, 0] == pytest.approx(expected, abs=1e-6)


def test_evaluation_with_views_leaves_the_plain_one(
    command: Callable[..., int], tiny: list[str], tmp_path: Path, capfd
) -> None:
    settings = ["data.test_fraction=0.2", "optimizer.lr=0.02", "trainer.max_epochs=1", "name=one"]
    assert command("train.py", *tiny, *settings) == 0
    run = ["run=runs/train/one", "split=test"]
    assert command("evaluate.py", *run) == 0
    files = RunFolder(tmp_path / "runs/train/one")
    before = files.predictions("test").read_bytes()
    capfd.readouterr()
    assert command("evaluate.py", *run, "tta=flip", "batch_size=5") == 0
    said = capfd.readouterr().out
    assert "flip: 2 views of each picture: 2 x the network's time; " in said
    assert "predictions: runs/train/one/predictions/test_flip.parquet\n" in said
    assert files.predictions("test").read_bytes() == before
    assert {p.name for p in files.predictions("test").parent.iterdir()} >= {
        *("test.parquet", "test_per_class.csv"),
        *("test_flip.parquet", "test_flip_per_class.csv"),
    }
    both = Predictions.read(files.predictions("test_flip"))
    mirrored = [tmp_path / f"{i}.png" for i in range(len(both.paths))]
    for path, own in zip(both.paths, mirrored, strict=True):
        Image.open(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(own)
    plain = plain_probabilities(files.root, [Path(path) for path in both.paths])
    mean = (plain + plain_probabilities(files.root, mirrored)) / 2
    np.testing.assert_allclose(both.probabilities, mean, atol=0.01)
    capfd.readouterr()
    assert command("evaluate.py", *run, "tta=ten_crop") == 1
    assert "error: tta=ten_crop cuts views of 32 pixels out of larger" in capfd.readouterr().err
