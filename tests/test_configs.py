"""Every option of every group composes and instantiates."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig

from tests.conftest import ROOT

GROUPS = ["augmentation", "data", "logger", "mode", "model", "optimizer", "schedule", "trainer"]
OPTIONS = [
    f"{group}={path.stem}"
    for group in [*GROUPS, "experiment"]
    for path in sorted((ROOT / "conf" / group).glob("*.yaml"))
    if path.stem != "common"
]


@pytest.mark.parametrize("option", OPTIONS)
def test_option_composes_and_instantiates(
    option: str, config_of: Callable[..., DictConfig], tmp_path: Path
) -> None:
    root = [] if option in ("data=rendered_cars", "experiment=demo") else [f"data.root={tmp_path}"]
    needs = {"optimizer=lbfgs": ["schedule=constant"], "data=table": ["data.table=labels.csv"]}
    own = needs.get(option, [])
    config = config_of(option, *root, *own)
    instantiate(config.augmentation)
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = instantiate(config.optimizer)([], [weight])
    schedule = instantiate(config.schedule)(optimizer, 4, 3)
    weight.grad = torch.ones(2)
    optimizer.step(lambda: weight.sum())
    schedule.after_step()
    schedule.after_epoch({"train/loss": 1.0, "val/top1": 0.5})
    assert config.mode.boundary is not None


def test_freeze_turns_augmentation_off_unless_asked(config_of: Callable[..., DictConfig]) -> None:
    assert config_of("mode=finetune").augmentation.flip == 0.5
    assert config_of("mode=freeze").augmentation.flip == 0.0
    assert config_of("mode=freeze", "augmentation=light").augmentation.flip == 0.5


def test_help_names_groups_and_settings(capfd: pytest.CaptureFixture[str], command) -> None:
    assert command("train.py", "--help") == 0
    said = capfd.readouterr().out
    assert "inception_v4, mobilenetv2_100" in said
    assert "val_fraction: 0.2" in said


def test_search_groups_are_open_to_experiments() -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("train")
    assert "space" not in config
