"""Every option of every command has a kind, and refuses what is not of it in one line."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from carsclf.errors import ConfigError
from carsclf.options.kinds import checked
from carsclf.options.table import COMMANDS
from tests.conftest import ROOT

FREE = ("hydra", "space", "callbacks", "objective.known")
"""What has a class of its own that checks it, or is Hydra's."""
GROUPS = [
    (command, path.parent.name, path.stem)
    for command in ("train", "tune", "report", "serve", "advise")
    for path in sorted((ROOT / "conf").glob("*/*.yaml"))
    if path.stem != "common"
    and (path.parent.name == "cost") == (command == "report")
    and (path.parent.name == "serving") == (command == "serve")
    and (path.parent.name != "shortlist" or command == "advise")
    and (path.parent.name not in ("objective", "space", "search", "cluster") or command == "tune")
    and path.parent.name != "experiment"
]


def leaves(config: Any, path: str = "") -> Iterator[str]:
    for key in config:
        here = f"{path}.{key}" if path else str(key)
        if str(key).startswith("_") or here in FREE:
            continue
        if not OmegaConf.is_missing(config, key) and OmegaConf.is_dict(config[key]):
            yield from leaves(config[key], here)
        else:
            yield here


def composed(command: str, *options: str) -> DictConfig:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose(command, list(options))


@pytest.mark.parametrize(("command", "group", "option"), GROUPS)
def test_no_option_without_a_check(command: str, group: str, option: str) -> None:
    assert set(leaves(composed(command, f"{group}={option}"))) <= set(COMMANDS[command])


@pytest.mark.parametrize("command", ["evaluate", "curate", "reference", "gate"])
def test_no_option_of_a_command_without_a_check(command: str) -> None:
    assert set(leaves(composed(command))) == set(COMMANDS[command])


def with_value(key: str, value: Any) -> DictConfig:
    config = OmegaConf.create({})
    OmegaConf.update(config, key, value)
    return config


@pytest.mark.parametrize("command", COMMANDS)
def test_what_no_option_takes(command: str) -> None:
    table = COMMANDS[command]
    for key in table:
        for value in ("", math.nan, -math.inf, [[]], -7.25):
            if isinstance(value, float) and table[key].holds_text:
                continue  # a folder may be called so
            with pytest.raises(ConfigError, match=r"^\S+=.*: expected ") as refusal:
                checked(with_value(key, value), {key: table[key]})
            assert str(refusal.value).startswith(f"{key}=")
            assert "\n" not in str(refusal.value)


BAD: dict[str, list[Any]] = {
    "seed": [-1, 2**32, 1.0, True, "3", None, [1], {"a": 1}],
    "reported": ["mean", None, 1, True],
    "look": ["maybe", 1, None, "true"],
    "name": ["..", "a/../b", "/tmp", ".", "x" * 256, "a\nb", [1]],
    "runs": [None, ["a"]],
    "data.root": [["a"]],
    "data.mapping": [["a"], "", []],
    "model.head": ["kept", None, True],
    "model.new_rows": ["means", None, 1],
    "throw_away.cutoff_share": [0, 1.1, None, "most"],
    "data.classes": ["Audi", [], [["Audi"]], 3],
    "data.protocol": ["offical", None, 1],
    "data.val_fraction": [0, 1, -0.1, 1.5, True, "half", None],
    "data.test_fraction": [1, -0.1, None],
    "data.fraction": [0, 1.01, None],
    "data.min_images_per_class": [-1, 1.5, True, None],
    "data.image_size": [0, -32, 32.0, True, 1_000_000, None],
    "data.margin": [-0.1, 1e9, None],
    "data.batch_size": [0, -1, 8.0, True, "auto", None],
    "data.bootstrap": [-1, 1.5, True, "some", [1]],
    "data.extra": ["runs/gan/synthetic", 3, [["a"]], {"a": 1}],
    "data.exclude": [["a"], [1], {"a": 1}],
    "data.leak": ["all", None, True],
    "data.workers": [-1, 1.5, True, "many", 10**6, None],
    "data.packed": ["yes", 1, None],
    "data.source.images": [0, 1.5, 10**9, None],
    "model.name": [None, ["resnet18"]],
    "model.weights": [None, ["a.pth"]],
    "model.args": [None, 3, "drop_rate", [1]],
    "model.compile": ["often", 1, None],
    "mode.boundary": [[], [1], -1, 1.5, True, "-1"],
    "mode.label_smoothing": [-0.1, 1, 1.5, None, "some"],
    "mode.views": [0, 1.5, True, None],
    "optimizer.lr": [0, -1, None, "fast", True, math.inf],
    "optimizer.head_lr_factor": [0, -1, None],
    "optimizer.weight_decay": [-1e-4, None],
    "optimizer.momentum": [1, -0.1, None],
    "optimizer.nesterov": [1, "yes", None],
    "optimizer.warmup_epochs": [-0.5, None, "auto"],
    "optimizer.betas": [0.9, [0.9], [0.9, 1.0], [0.9, 0.9, 0.9], None],
    "schedule.factor": [1, -0.1, None],
    "schedule.patience": [-1, 1.5, True, None],
    "schedule.monitor": ["val/accuracy", None, "loss"],
    "schedule.every": [0, 1.5, None],
    "schedule.warmup_epochs": [-1, None],
    "schedule.warmup_share": [0, 1, None],
    "schedule.policy": ["triangle", None],
    "schedule.cycle_epochs": [0, -1, None],
    "schedule.multiplier": [0.5, None],
    "schedule.decay_share": [0, 1.1, None],
    "schedule.decay": ["cosine", None],
    "gan.latent": [0, 1.5, None],
    "gan.n_critic": [0, 1.5, True],
    "gan.penalty": [0, -1, None],
    "gan.betas": [0.9, [0.0], [0.0, 1.0]],
    "gan.images_per_class": [0, -1, 2.5, None],
    "lr_finder.from": [0, -1, None],
    "lr_finder.steps": [19, 20.5, 10**6, None],
    "lr_finder.only": ["yes", None],
    "lr_finder.use": ["best", True],
    "augmentation.flip": [-0.1, 1.1, None],
    "augmentation.rotation": [-1, 181, None],
    "augmentation.zoom": [1, -0.1, None],
    "augmentation.policy": ["trivialaugment", 1, None],
    "augmentation.operations": [0, 1.5, None],
    "augmentation.magnitude": [31, -1, 1.5, None],
    "augmentation.erasing": [-0.1, 1.1, None],
    "augmentation.share": [-0.1, 1.1, None],
    "augmentation.brightness": [-1, "much", None],
    "augmentation.contrast": [-1, None],
    "augmentation.saturation": [-1, None],
    "augmentation.hue": [0.6, -0.6, None],
    "augmentation.mirrored": [1, "yes", None],
    "averaging.decay": [0, 1, None, "most"],
    "averaging.start": [-0.1, 1, None],
    "averaging.lr_factor": [0, -1, "half"],
    "class_weights.beta": [-0.1, 1, None],
    "data.sampling": ["uniform", None, True],
    "mixing.alpha": [0, -1, True, "some", None, math.inf],
    "trainer.max_epochs": [-1, 1.5, True, "few", None],
    "trainer.devices": [0, -2, [], 1.5, True, None],
    "trainer.gradient_clip_val": [-1, "much"],
    "trainer.log_every_n_steps": [-1, 0.5],
    "logger.project": ["a/b", "a:b", "x" * 129, None],
    "logger.resume": ["maybe", 2],
}
BAD_FOR_A_STUDY: dict[str, list[Any]] = {
    "search.budget": [0, 0.5, True, "much"],
    "search.trials": [0, 1.5, True, None],
    "search.grace": [0, 1, None],
    "search.reduction": [1, 0, None],
    "search.rungs": [1, 2.5, 10**6],
    "search.fidelities": [[], 1.0, [0.0, 1.0], [0.5, 1.5], None],
    "objective.mode": ["best", None],
    "objective.metric": ["val/accuracy", None],
    "objective.workers": [0, 1.5, True],
    "resources.cpu": [-1, 1.5, "auto", True, None],
    "resources.gpu": [-1, 1.5, "all", True, None],
    "resources.workers": [0, 1.5, True, "auto"],
}


@pytest.mark.parametrize(("key", "values"), [*BAD.items(), *BAD_FOR_A_STUDY.items()])
def test_bad_values_name_option_expectation_and_value(key: str, values: list[Any]) -> None:
    table = COMMANDS["tune" if key in BAD_FOR_A_STUDY else "train"]
    for value in values:
        with pytest.raises(ConfigError) as refusal:
            checked(with_value(key, value), {key: table[key]})
        said = str(refusal.value)
        assert said.startswith(f"{key}=")
        assert f": expected {table[key].expected}" in said


def test_the_value_is_shown_as_one_would_type_it() -> None:
    for value, shown in ((None, "null"), (True, "true"), ("3", "'3'"), ([1, "a b"], "[1, 'a b']")):
        with pytest.raises(ConfigError) as refusal:
            checked(with_value("seed", value), COMMANDS["train"])
        assert str(refusal.value) == (
            f"seed={shown}: expected a whole number, at least 0 and at most 4294967295"
        )


def test_digits_are_text_where_text_is_meant() -> None:
    for key, value, text in (
        ("name", 2024, "2024"),
        ("data.root", 7, "7"),
        ("data.classes", [911, "A4", 2.5], ["911", "A4", "2.5"]),
        ("model.weights", True, "true"),
    ):
        config = checked(with_value(key, value), COMMANDS["train"])
        assert OmegaConf.select(config, key) == text


def test_a_deleted_option_is_asked_for() -> None:
    with pytest.raises(ConfigError, match="seed is gone: give it as \\+seed=..., a whole number"):
        checked(OmegaConf.create({}), COMMANDS["train"], {"seed"})
