"""A training whose head sees another pooling of the features."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from safetensors.torch import load_file

from carsclf.data.build import make_data
from carsclf.errors import ConfigError
from carsclf.inference.predict import load_model, predict
from carsclf.records import ModelCard, Predictions, RunFolder
from carsclf.training.checks import check_training
from carsclf.training.run import fit

Make = Callable[..., DictConfig]


@pytest.mark.parametrize(
    "mode", ["mode=freeze", "mode=partial mode.boundary=blocks.1", "mode=finetune", "mode=adapt"]
)
def test_the_run_folder_predicts_as_it_was_trained(
    mode: str, tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    config = config_of(*tiny, "model.name=test_vit", *mode.split(), "mode.pool=both")
    fit(config, tmp_path / "run")
    files = RunFolder(tmp_path / "run")
    width = int(load_model(files.root).network.embed_dim)  # type: ignore[arg-type]
    assert load_file(files.weights)["head.weight"].shape == (3, 2 * width)  # token and average
    assert ModelCard.read(files.card).pool == "both"
    data, _ = make_data(config)
    samples = data.splits["val"]
    again = predict(load_model(files.root), data.loader_of(samples), samples, data.class_names)
    kept = Predictions.read(files.predictions("val"))
    apart = torch.tensor(kept.probabilities) - torch.tensor(again.probabilities)
    assert apart.abs().max() < 3e-3  # cached features are half


def test_rows_of_another_pooling_are_not_taken_from_the_cache(
    tiny: list[str], config_of: Make, tmp_path: Path, counted: list[int]
) -> None:
    for pool in ("token", "average", "average"):
        config = config_of(*tiny, "model.name=test_vit", "mode=freeze", f"mode.pool={pool}")
        fit(config, tmp_path / f"{pool}-{len(counted)}")
    assert counted == [60, 60]  # the third finds the second's


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["mode.pool=token"], "no class token"),
        (["mode.pool=lats4"], "did you mean 'last4'"),
        (["mode.pool=average", "model.text=auto", "model.weights=auto"], "leave mode.pool=default"),
    ],
)
def test_what_does_not_go_together_is_refused_before_any_data(
    overrides: list[str], told: str, tiny: list[str], config_of: Make
) -> None:
    with pytest.raises(ConfigError, match=told):
        check_training(config_of(*tiny, "data.root=/nowhere", *overrides))
