"""A training of additions: a run folder like any other, and small checkpoints."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from omegaconf import DictConfig
from safetensors.torch import load_file

from carsclf.data.build import make_data
from carsclf.errors import CheckpointError, ConfigError
from carsclf.inference.predict import load_model, predict
from carsclf.models.adapt import METHODS
from carsclf.models.networks import build_network
from carsclf.records import Predictions, RunFolder
from carsclf.training.checkpoints import read_checkpoint
from carsclf.training.run import fit
from tests.conftest import until

Make = Callable[..., DictConfig]
ADAPT = ("mode=adapt", "mode.rank=2", "trainer.max_epochs=4", "optimizer.lr=1e-2")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("boundary", ["0", "2"])
def test_it_learns_and_leaves_an_ordinary_network(
    method: str, boundary: str, tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    config = config_of(
        *tiny, *ADAPT, f"mode.method={method}", f"mode.boundary={boundary}", "augmentation=none"
    )
    run = fit(config, tmp_path / "run")
    files = RunFolder(tmp_path / "run")
    losses = pd.read_csv(files.metrics)["train/loss"]
    assert losses.iloc[-1] < losses.iloc[0]
    assert run.mode == "adapt"
    assert run.parameters["trained"] < 0.5 * run.parameters["network"]
    network, _ = build_network("test_resnet", num_classes=3, weights="none", seed=config.seed)
    assert run.parameters["network"] == sum(p.numel() for p in network.parameters())
    before, after = network.state_dict(), load_file(files.weights)
    assert before.keys() == after.keys()
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved & {"layer2", "layer3", "layer4"}
    assert boundary == "0" or not moved & {"conv1", "bn1", "layer1"}
    statistics = [name for name in before if name.endswith(("running_mean", "running_var"))]
    assert all(torch.equal(before[name], after[name]) for name in statistics)
    data, _ = make_data(config)
    samples = data.splits["val"]
    again = predict(load_model(files.root), data.loader_of(samples), samples, data.class_names)
    kept = Predictions.read(files.predictions("val"))
    apart = torch.tensor(kept.probabilities) - torch.tensor(again.probabilities)
    assert apart.abs().max() < (1e-5 if boundary == "0" else 2e-3)  # cached features are half


def test_checkpoints_hold_what_trains_and_resuming_is_exact(
    tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    config = config_of(*tiny, *ADAPT)
    fit(config, tmp_path / "whole")
    fit(config, tmp_path / "parts", on_epoch=until(2))
    state = read_checkpoint(RunFolder(tmp_path / "parts").last)["state_dict"]
    weights = {name for name in state if name.endswith("weight")}
    assert {n for n in weights if ".lora." not in n} == {"rest.fc.weight"}
    assert any(".lora." in name for name in weights)
    assert fit(config, tmp_path / "parts", resume=True).finished
    one, two = (load_file(RunFolder(tmp_path / n).weights) for n in ("whole", "parts"))
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())


def test_additions_of_other_weights_are_refused(
    tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    config = config_of(*tiny, *ADAPT)
    fit(config, tmp_path / "run", on_epoch=until(1))
    files = RunFolder(tmp_path / "run")
    checkpoint = read_checkpoint(files.last)
    torch.save(checkpoint | {"prefix_key": "another"}, files.last)
    with pytest.raises(CheckpointError, match="not those this run began with"):
        fit(config, tmp_path / "run", resume=True)


def test_nothing_to_adapt(tiny: list[str], config_of: Make, tmp_path: Path) -> None:
    config = config_of(*tiny, *ADAPT, "mode.boundary=head", "augmentation=none")
    with pytest.raises(ConfigError, match="has nothing to adapt: mode=freeze"):
        fit(config, tmp_path / "run")
