"""Every option of every group composes and instantiates."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig

from carsclf.features.head_grid import HeadGrid
from carsclf.training.checks import check_training
from tests.conftest import ROOT

GROUPS = [
    *("augmentation", "averaging", "class_weights", "data", "logger", "mixing", "mode", "model"),
    *("optimizer", "resizing", "schedule", "trainer", "unfreezing"),
]
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
    needs = {
        "optimizer=lbfgs": ["mode=freeze"],
        "optimizer=head_grid": ["mode=freeze"],
        "schedule=penalties": ["mode=freeze", "optimizer=head_grid"],
        "data=table": ["data.table=labels.csv"],
    }
    own = needs.get(option, [])
    config = config_of(option, *root, *own)
    instantiate(config.augmentation)
    mixing = instantiate(config.mixing)(2)
    batch = {"pictures": torch.ones(4, 3, 8, 8), "targets": torch.arange(4) % 2}
    assert mixing is None or mixing(batch)["targets"].shape == (4, 2)
    weight, bias = (torch.nn.Parameter(torch.ones(shape)) for shape in ((2, 2), (2,)))
    optimizer = instantiate(config.optimizer)([], [weight, bias])
    schedule = instantiate(config.schedule)(optimizer, 4, 3)
    weight.grad, bias.grad = torch.ones(2, 2), torch.ones(2)
    if isinstance(optimizer, HeadGrid):
        optimizer.fit(torch.eye(2), torch.arange(2))
    else:
        optimizer.step(lambda: weight.sum())
    schedule.after_step()
    schedule.after_epoch({"train/loss": 1.0, "val/top1": 0.5})
    weights = instantiate(config.class_weights)(np.array([1, 3]))
    assert weights is None or weights @ [1, 3] == pytest.approx(4)
    average = instantiate(config.averaging)(torch.nn.Linear(2, 2), 4)
    assert average is None or not average.begun
    size = config.data.image_size
    phases = instantiate(config.resizing)(size, 8, 12)
    assert not phases or (len(phases), phases[-1].size) == (12, size)
    assert config.mode.boundary is not None


def test_freeze_turns_augmentation_off_unless_asked(config_of: Callable[..., DictConfig]) -> None:
    assert config_of("mode=finetune").augmentation.flip == 0.5
    assert config_of("mode=freeze").augmentation.flip == 0.0
    assert config_of("mode=freeze", "augmentation=light").augmentation.flip == 0.5


def test_help_names_groups_and_settings(capfd: pytest.CaptureFixture[str], command) -> None:
    assert command("train.py", "--help") == 0
    said = capfd.readouterr().out
    assert "inception_v4, mobilenetv2_100" in said
    assert "val_fraction: 0.2 # of each label\n" in said
    assert "\n# All parameters train.\nmode:\n" in said
    assert "\n# One training. Every line below is a folder of choices" in said


@pytest.mark.parametrize(
    "script",
    [
        "advise.py",
        "curate.py",
        "evaluate.py",
        "predict.py",
        "report.py",
        "serve.py",
        "stylize.py",
        "train.py",
        "tune.py",
    ],
)
def test_help_shows_every_comment_of_a_commands_own_file(
    script: str, capfd: pytest.CaptureFixture[str], command
) -> None:
    assert command(script, "--help") == 0
    said = capfd.readouterr().out
    text = (ROOT / "conf" / script.replace(".py", ".yaml")).read_text()
    own = text[text.index("  - _self_") : text.index("\nhydra:")].splitlines()[1:]
    commented = [line for line in own if "#" in line]
    assert len(commented) >= 3
    for line in commented:
        key, comment = line.split(":")[0], line[line.index("# ") :]
        assert re.search(rf"^{key}:.* {re.escape(comment)}$", said, re.MULTILINE), line


def test_help_is_about_what_was_chosen(capfd: pytest.CaptureFixture[str], command) -> None:
    """The comments of another option, and an overridden value beside its comment."""
    arguments = ["mode=freeze", "trainer.max_epochs=3", "name=${mode.name}-1"]
    assert command("train.py", *arguments, "--help") == 0
    said = capfd.readouterr().out
    assert "\n# The backbone is a feature extractor" in said
    assert "All parameters train" not in said
    assert "views: 1 # kept of each training picture" in said
    assert "max_epochs: 3\n" in said
    assert "name: ${mode.name}-1 # of the run folder" in said


def test_help_tells_of_the_learning_rate_finder(capfd: pytest.CaptureFixture[str], command) -> None:
    assert command("train.py", "callbacks=lr_finder", "--help") == 0
    said = capfd.readouterr().out
    assert re.search(r"\n# A range test of the learning rate.*\n(# .*\n)+lr_finder:\n", said)
    assert "only: false # true: nothing is trained\n" in said


def test_search_groups_are_open_to_experiments() -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("train")
    assert "space" not in config


def test_an_experiment_says_how_many_trials_run_at_once() -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("tune", ["experiment=published_finetune"])
    assert config.resources == {"cpu": 1, "gpu": "auto", "workers": 20}  # as published


EXPERIMENTS = sorted(path.stem for path in (ROOT / "conf/experiment").glob("*.yaml"))
RECIPES = [name for name in EXPERIMENTS if name.startswith("recipe_")]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_names_a_network_and_settings_that_go_together(
    name: str, config_of: Callable[..., DictConfig]
) -> None:
    check_training(config_of(f"experiment={name}", "data.root=x", "model.weights=none"))
    told = " ".join((ROOT / f"conf/experiment/{name}.yaml").read_text().replace("#", "").split())
    assert " Expected: " in told
    assert "Measured at" in told or "Never measured here" in told


SAME = [
    "",
    "mode=finetune",
    "mode=freeze",
    "mode=partial",
    "mode=freeze optimizer=adamw",
    "mode=freeze optimizer=sgd schedule=plateau seed=3",
    "mode=partial augmentation=light mode.views=4",
    "model=resnet50 data=folder data.root=x reported=last",
    "space=published optimizer=sgd schedule=plateau",
    "mode=freeze optimizer.weight_decay=0.1 search=bohb",
    *(f"experiment={name} data.root=x" for name in EXPERIMENTS),
]


@pytest.mark.parametrize("overrides", SAME)
def test_train_and_tune_compose_the_same_training(
    overrides: str, config_of: Callable[..., DictConfig]
) -> None:
    one, two = (config_of(*overrides.split(), name=name) for name in ("train", "tune"))
    assert {**one, "look": None} == {**two, "look": None}


@pytest.mark.parametrize(
    ("overrides", "optimizer", "schedule"),
    [
        ("mode=finetune", "adamw", "one_cycle"),
        ("mode=partial", "adamw", "one_cycle"),
        ("mode=freeze", "lbfgs", "constant"),
        ("mode=freeze optimizer=adamw", "adamw", "one_cycle"),
        ("mode=freeze optimizer=head_grid", "head_grid", "penalties"),
        ("mode=freeze optimizer=sgd schedule=cosine", "sgd", "cosine"),
    ],
)
def test_optimizer_and_schedule_fit_the_mode(
    overrides: str, optimizer: str, schedule: str, config_of: Callable[..., DictConfig]
) -> None:
    config = config_of(*overrides.split())
    assert config.optimizer._target_ == f"carsclf.training.optimizers.{optimizer}"
    assert config.schedule._target_ == f"carsclf.training.schedules.{schedule}"
