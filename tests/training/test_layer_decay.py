"""Rates by depth: timm's own scales, exact on resume, the plain optimizer where there are none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from omegaconf import DictConfig
from timm.models import create_model
from timm.optim._param_groups import param_groups_layer_decay

from carsclf.errors import ConfigError
from carsclf.models.layers import distances
from carsclf.records import RunFolder
from carsclf.training import optimizers
from carsclf.training.checks import check_training
from carsclf.training.run import fit
from tests.conftest import until
from tests.training.test_resume import same

Make = Callable[..., DictConfig]
RATES: dict[str, Any] = {"lr": 0.1, "head_lr_factor": 5.0, "weight_decay": 0.01}


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_efficientnet", "test_convnext"])
def test_scales_are_timms(name: str) -> None:
    network = create_model(name, num_classes=3)
    parameters = dict(network.named_parameters())
    theirs = param_groups_layer_decay(network, layer_decay=0.5)
    scale = {id(p): group["lr_scale"] for group in theirs for p in group["params"]}
    layers = distances(network)
    names = list(parameters)
    made = optimizers.adamw(
        list(parameters.values()), [], **RATES, layer_decay=0.5, layers=[layers[n] for n in names]
    )
    assert sum(len(group["params"]) for group in made.param_groups) == len(names)
    for group in made.param_groups:
        for parameter in group["params"]:
            assert group["lr"] == pytest.approx(0.1 * scale[id(parameter)])
    assert len(made.param_groups) > 3


def test_groups_by_hand() -> None:
    low, same_layer, last, head = (torch.nn.Parameter(torch.zeros(1)) for _ in range(4))
    given = {"layer_decay": 0.5, "layers": [2, 2, 0]}
    made = optimizers.adamw([low, same_layer, last], [head], **RATES, **given)
    told = [(group["name"], group["lr"], group["params"]) for group in made.param_groups]
    assert [name for name, *_ in told] == ["backbone-2", "backbone-0", "head"]
    assert [rate for _, rate, _ in told] == pytest.approx([0.025, 0.1, 0.5])
    assert [len(parameters) for *_, parameters in told] == [2, 1, 1]


@pytest.mark.parametrize(
    "mode", ["mode=finetune", "mode=partial mode.boundary=2", "mode=adapt mode.rank=2"]
)
def test_trainings_with_it_resume_exactly(
    mode: str, tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    own = [*tiny, *mode.split(), "optimizer.layer_decay=0.5", "trainer.max_epochs=3"]
    config = config_of(*own, "schedule=constant", "optimizer.lr=0.01")
    fit(config, tmp_path / "whole")
    fit(config, tmp_path / "parts", on_epoch=until(1))
    fit(config, tmp_path / "parts", resume=True)
    same(tmp_path / "whole", tmp_path / "parts")
    rows = pd.read_csv(RunFolder(tmp_path / "whole").metrics)
    rates = rows[[c for c in rows if c.startswith("lr/backbone-")]].iloc[0]
    for column, rate in rates.items():
        assert rate == pytest.approx(0.01 * 0.5 ** int(str(column).rpartition("-")[2]))
    assert rows["lr/head"].iloc[0] == pytest.approx(0.05)
    assert len(rates) >= 2


def test_bad_input(tiny: list[str], config_of: Make) -> None:
    decay = "optimizer.layer_decay"
    with pytest.raises(ConfigError, match="leaves no layers to train"):
        config_of(*tiny, "mode=freeze", "optimizer=adamw", f"{decay}=0.5")
    for bad in ("0", "1.5", "-1", "much"):
        with pytest.raises(ConfigError, match=rf"{decay}=.*: expected a number, above 0"):
            config_of(*tiny, f"{decay}={bad}")
    check_training(config_of(*tiny, f"{decay}=0.9"))
    with pytest.raises(ConfigError, match="Linear has no table of layers"):
        distances(torch.nn.Linear(2, 2))
