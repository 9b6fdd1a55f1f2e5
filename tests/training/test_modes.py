"""Each mode: loss falls, only the intended parameters move, frozen BatchNorm stays bit-equal."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from omegaconf import DictConfig
from safetensors.torch import load_file

from carsclf.data.build import make_data
from carsclf.inference.predict import load_model, predict
from carsclf.models.networks import build_network
from carsclf.records import ModelCard, Predictions, Run, RunFolder
from carsclf.training.build import cut_network, extract_rows, make_module, make_network
from carsclf.training.run import fit, prepare
from carsclf.training.trainer import make_trainer

Make = Callable[..., DictConfig]
MODES = {
    "finetune": ["mode=finetune"],
    "freeze": ["mode=freeze"],
    "partial": ["mode=partial", "mode.boundary=2"],
}


def initial(config: DictConfig) -> dict[str, torch.Tensor]:
    network, _ = build_network(config.model.name, num_classes=3, weights="none", seed=config.seed)
    return network.state_dict()


@pytest.mark.parametrize("mode", MODES)
def test_loss_falls_and_only_the_rest_moves(
    mode: str, tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    config = config_of(*tiny, *MODES[mode], "trainer.max_epochs=4", "look=true")
    run = fit(config, tmp_path / "run")
    files = RunFolder(tmp_path / "run")
    rows = pd.read_csv(files.metrics)
    assert rows["train/loss"].iloc[-1] < rows["train/loss"].iloc[0]
    assert rows["epoch"].tolist() == [1, 2, 3, 4]
    before, after = initial(config), load_file(files.weights)
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    frozen = {
        "finetune": (),
        "freeze": ("conv1", "bn1", "layer"),
        "partial": ("conv1", "bn1", "layer1"),
    }[mode]
    # BatchNorm's statistics and counts included
    assert moved == {name for name in before if not (frozen and name.startswith(frozen))}
    assert run.finished
    assert run.metrics["val/top1"] == pytest.approx(rows["val/top1"].max())
    assert (files.root / "look" / "training_pictures.png").is_file()
    assert len(pd.read_csv(files.root / "look" / "class_counts.csv")) == 3


@pytest.mark.parametrize("mode", ["freeze", "partial"])
def test_cached_and_uncached_training_give_the_same_model(
    mode: str, tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    states = []
    for cache in ("true", "false"):
        folder = tmp_path / cache
        # not AdamW: it makes full steps of the smallest gradients, where half rounding shows
        own = [*MODES[mode], "optimizer=sgd", "reported=last", f"mode.cache={cache}"]
        fit(config_of(*tiny, *own), folder)
        states.append(load_file(RunFolder(folder).weights))
    cached, uncached = states
    before = initial(config_of(*tiny))
    apart = sum(float((cached[k] - uncached[k]).square().sum()) for k in before)
    moved = sum(float((uncached[k] - before[k]).square().sum()) for k in before)
    assert 0 < apart**0.5 < 2e-3 * moved**0.5  # 2e-4 measured; equal bits with float32 rows


def test_the_run_folder_holds_a_model_that_says_the_same(
    tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    config = config_of(*tiny, "mode=freeze", "optimizer=adamw")
    run = fit(config, tmp_path / "run")
    files = RunFolder(tmp_path / "run")
    assert Run.read(files.run) == run
    assert ModelCard.read(files.card).class_names == ["class 0", "class 1", "class 2"]
    data, _ = make_data(config)
    samples = data.splits["val"]
    again = predict(load_model(files.root), data.loader_of(samples), samples, data.class_names)
    kept = Predictions.read(files.predictions("val"))
    assert kept.ids == again.ids
    apart = torch.tensor(kept.probabilities) - torch.tensor(again.probabilities)
    assert apart.abs().max() < 2e-3  # cached features are half


def test_same_command_same_numbers_whatever_the_workers(
    tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    def state(name: str, *more: str) -> dict[str, torch.Tensor]:
        fit(config_of(*tiny, "augmentation=light", *more), tmp_path / name)
        return load_file(RunFolder(tmp_path / name).weights)

    first = state("a")
    for other in (state("b"), state("c", "data.workers=2")):
        assert all(torch.equal(tensor, other[name]) for name, tensor in first.items())


def test_several_seeds_may_share_one_split(tiny: list[str], config_of: Make) -> None:
    def val(*more: str) -> list[str]:
        return [s.id for s in make_data(config_of(*tiny, *more))[0].splits["val"]]

    assert val("seed=1") != val("seed=2")
    assert val("seed=1", "data.split_seed=0") == val("seed=2", "data.split_seed=0") == val()


def test_head_and_backbone_learn_at_their_own_rates(tiny: list[str], config_of: Make) -> None:
    config = config_of(*tiny, "optimizer=sgd", "schedule=constant", "optimizer.head_lr_factor=10")
    data, _ = make_data(config)
    halves = cut_network(config, make_network(config, 3)[0], data)
    module = make_module(config, halves, data, make_trainer(config, Path(), []))
    groups = {g["name"]: g["lr"] for g in module.configure_optimizers().param_groups}
    assert groups == {"backbone": 0.01, "head": pytest.approx(0.1)}


def test_last_epoch_is_reported_where_asked(
    tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    run = fit(config_of(*tiny, "reported=last"), tmp_path / "run")
    rows = pd.read_csv(RunFolder(tmp_path / "run").metrics)
    assert run.reported_epoch == 2
    assert run.metrics["val/top1"] == pytest.approx(rows["val/top1"].iloc[-1])


def test_features_are_found_again_and_a_changed_photo_is_noticed(
    tiny: list[str], config_of: Make, pictures: Path, counted: list[int]
) -> None:
    from tests.conftest import draw

    def make(*more: str, mode: str = "freeze") -> None:
        prepare(config_of(*tiny, f"mode={mode}", "seed=11", *more))

    make()
    make()
    make("data.fraction=0.5")
    assert counted == [60]
    draw(pictures / "class 0" / "00.png", 2, 99)
    make()
    assert counted == [60, 1]
    make("data.image_size=40")
    make("mode.boundary=1", mode="partial")
    assert counted == [60, 1, 60, 60]


def test_a_bootstrap_changes_the_training_photos_only(
    tiny: list[str], config_of: Make, caplog: pytest.LogCaptureFixture
) -> None:
    def ids(*more: str) -> dict[str, list[str]]:
        data, _ = make_data(config_of(*tiny, "data.test_fraction=0.2", *more))
        return {name: [s.id for s in part] for name, part in data.splits.items()}

    caplog.set_level("INFO", "carsclf")
    plain, one, other = ids(), ids("data.bootstrap=1"), ids("data.bootstrap=2")
    for name in ("val", "test"):
        assert plain[name] == one[name] == other[name]
    assert len(plain["train"]) == len(one["train"]) == len(other["train"])
    assert set(one["train"]) < set(plain["train"])
    assert one["train"] != other["train"]
    missing = len(set(plain["train"]) - set(other["train"]))
    assert f"; left out: {missing} not drawn by data.bootstrap" in caplog.messages[-1]


def test_cached_rows_of_a_bootstrap_are_those_of_its_photos(
    tiny: list[str], config_of: Make, counted: list[int]
) -> None:
    """Each photo goes through the frozen part once, however often it was drawn."""

    def rows(*more: str) -> tuple[list[str], dict[str, torch.Tensor]]:
        config = config_of(*tiny, "mode=freeze", "seed=12", *more)
        pictures, _ = make_data(config)
        halves = cut_network(config, make_network(config, 3)[0], pictures)
        ids = [s.id for s in pictures.splits["train"]]
        return ids, extract_rows(config, halves, pictures, torch.device("cpu"))

    (ids, plain), (drawn_ids, drawn) = rows(), rows("data.bootstrap=1")
    assert counted == [60]
    row = dict(zip(ids, plain["train"], strict=True))
    assert torch.equal(drawn["train"], torch.stack([row[id] for id in drawn_ids]))
    assert torch.equal(drawn["val"], plain["val"])
