"""A weight soup: the mean of weights, and statistics of BatchNorm as torch itself takes them."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file
from torch.optim.swa_utils import update_bn

from carsclf.data.build import make_data
from carsclf.errors import CarsclfError, CheckpointError, DataError
from carsclf.inference.predict import load_model
from carsclf.inference.soup import check_members, mean_of, moved_statistics
from carsclf.records import Predictions, RunFolder
from tests.conftest import draw

Command = Callable[..., int]
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
BOTH = "runs=[runs/train/a,runs/train/b]"
SOUP = ["ensemble=soup", "folder=runs/soup", "split=test", "workers=0"]


def test_mean_of_numbers_and_the_first_of_counters() -> None:
    one = {"weight": torch.tensor([1.0, 2.0]), "count": torch.tensor(3)}
    two = {"weight": torch.tensor([3.0, 8.0]), "count": torch.tensor(5)}
    mean = mean_of({"one": one, "two": two})
    assert mean["weight"].tolist() == [2.0, 5.0]
    assert mean["count"].item() == 3


def test_statistics_that_all_runs_kept_are_right_as_they_are() -> None:
    network = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2))
    one = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    two = one | {"1.running_var": torch.tensor([4.0, 1.0])}
    assert moved_statistics(network, [one, two]) == [network[1]]


def two_runs(command: Command, settings: list[str], tmp_path: Path) -> list[RunFolder]:
    """A trained run, and another one from the same start, which is the first with noise."""
    own = [*settings, "data.test_fraction=0.2", "trainer.max_epochs=1"]
    assert command("train.py", *own, "name=a") == 0
    one, two = (RunFolder(tmp_path / f"runs/train/{name}") for name in "ab")
    shutil.copytree(one.root, two.root)
    noise = torch.Generator().manual_seed(0)
    state = {
        key: tensor * (1 + torch.rand(tensor.shape, generator=noise))
        if tensor.is_floating_point()
        else tensor
        for key, tensor in load_file(one.weights).items()
    }
    save_file(state, two.weights)
    return [one, two]


@pytest.fixture
def runs(command: Command, tiny: list[str], tmp_path: Path) -> list[RunFolder]:
    return two_runs(command, tiny, tmp_path)


def test_a_soup_is_a_model_like_its_members(
    command: Command, runs: list[RunFolder], tmp_path: Path, capfd
) -> None:
    assert command("evaluate.py", BOTH, *SOUP) == 0
    files = RunFolder(tmp_path / "runs/soup")
    one, two, soup = (load_file(f.weights) for f in (*runs, files))
    plain = [key for key in one if not key.endswith(STATISTICS)]
    assert not torch.equal(one["fc.weight"], two["fc.weight"])
    for key in plain:
        torch.testing.assert_close(soup[key], (one[key] + two[key]) / 2)

    model = load_model(runs[0].root, device="cpu")
    model.network.load_state_dict({key: (one[key] + two[key]) / 2 for key in one}, strict=True)
    config: Any = OmegaConf.load(runs[0].config)
    data, _ = make_data(config)
    pictures = (model.normalise(batch["pictures"]) for batch in data.train_dataloader())
    update_bn(pictures, model.network)
    expected = model.network.state_dict()
    for key in one:
        torch.testing.assert_close(soup[key], expected[key], rtol=1e-4, atol=1e-5)
    mean = "bn1.running_mean"
    assert not torch.allclose(soup[mean], (one[mean] + two[mean]) / 2, rtol=1e-3)

    said = Predictions.read(files.predictions("test"))
    capfd.readouterr()
    assert command("evaluate.py", "run=runs/soup", "split=test") == 0
    assert "soup of 2, finetune" in capfd.readouterr().out.replace("\n", " ")
    again = Predictions.read(files.predictions("test"))
    assert (again.probabilities == said.probabilities).all()
    assert command("predict.py", "run=runs/soup", "images=pictures/class 1/03.png") == 0


def test_a_soup_judges_the_photos_that_its_members_held_out(
    command: Command, tiny: list[str], pictures: Path, tmp_path: Path
) -> None:
    """Also when the library has grown; what was left out of it is told as by a member."""
    for target in range(2):
        draw(tmp_path / "field" / f"class {target}" / "1.png", 6, 900 + target)
    assert command("reference.py", "name=field", f"photos={tmp_path}/field") == 0
    (tmp_path / "first.csv").write_text("id,decision,value\nclass 0/00.png,exclude,\n")
    (tmp_path / "out.txt").write_text("class 1/00.png\n")
    left_out = ["data.decisions=first.csv", "data.exclude=out.txt"]
    member, _ = two_runs(command, [*tiny, *left_out], tmp_path)
    assert command("evaluate.py", BOTH, *SOUP) == 0
    files = RunFolder(tmp_path / "runs/soup")
    for name in ("photos.parquet", "decisions.csv", "excluded.json", "references.json"):
        assert (files.root / name).read_bytes() == (member.root / name).read_bytes()
    before = Predictions.read(files.predictions("test"))
    assert len(before.ids) > 9
    for seed in range(30):
        draw(pictures / "class 0" / f"new {seed}.png", 0, 700 + seed)
    assert command("evaluate.py", "run=runs/soup", "split=test") == 0
    after = Predictions.read(files.predictions("test"))
    assert after.ids == before.ids
    assert (after.probabilities == before.probabilities).all()


def test_an_interrupted_soup_is_made_again(
    command: Command, runs: list[RunFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise CarsclfError("stopped")

    with monkeypatch.context() as patched:
        patched.setattr("carsclf.inference.ensemble.predict_split", stop)
        assert command("evaluate.py", BOTH, *SOUP) == 1
    files = RunFolder(tmp_path / "runs/soup")
    assert files.config.is_file()
    assert not files.predictions("test").is_file()
    assert command("evaluate.py", BOTH, *SOUP) == 0
    assert files.predictions("test").is_file()


MISTAKES = {
    "network": ("model.json", {"name": "resnet18"}, "b differs from a in name, and a mean of"),
    "classes": ("model.json", {"class_names": ["x", "y", "z"]}, "b differs from a in class_names"),
    "start": ("run.json", {"weights": "timm"}, r"b began with other weights \(timm.*ensemble=mean"),
    "drawn": (
        "run.json",
        {"seed": 7},
        r"b began with other weights \(none, seed 7\) than a \(none",
    ),
}


def test_what_has_no_mean_is_refused_by_name(
    command: Command, runs: list[RunFolder], tmp_path: Path, capfd
) -> None:
    folders, two = [run.root for run in runs], runs[1]
    for file, changes, expected in MISTAKES.values():
        path = two.root / file
        before = path.read_text()
        path.write_text(json.dumps(json.loads(before) | changes))
        with pytest.raises(CheckpointError, match=expected):
            check_members(folders, ["a", "b"])
        path.write_text(before)
    kept = Predictions.read(two.predictions("val"))
    replace(kept, ids=[f"not {id}" for id in kept.ids]).write(two.predictions("val"))
    with pytest.raises(DataError, match="b and a hold out different photos.*data.split_seed=0"):
        check_members(folders, ["a", "b"])
    capfd.readouterr()
    assert command("evaluate.py", BOTH, *SOUP) == 1
    assert "hold out different photos" in capfd.readouterr().err
    assert not (tmp_path / "runs/soup").exists()
    assert command("evaluate.py", BOTH, "folder=runs/train/a") == 1
    assert "folder=runs/train/a holds a run, which would be written over" in capfd.readouterr().err
