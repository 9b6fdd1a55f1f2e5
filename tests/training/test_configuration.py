"""A command that is refused says why in one line, before any work, and leaves its name free."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
import yaml
from omegaconf import OmegaConf
from torch import nn

from carsclf.errors import CarsclfError, ConfigError
from carsclf.options.command_line import quoted
from carsclf.records import RunFolder
from carsclf.training import checks
from carsclf.training.command import new_folder
from tests.conftest import draw
from tests.test_commands import error_of

Command = Callable[..., int]

REFUSED = {
    "seed=-1": "seed=-1: expected a whole number, at least 0 and at most 4294967295",
    "seed=99999999999": "seed=99999999999: expected a whole number",
    "mode.label_smoothing=1.5": "mode.label_smoothing=1.5: expected a number",
    "model.weights=null": "model.weights=null: expected a text",
    "model.weights=nowhere.pth": "/nowhere.pth: no such file",
    "model.weights=x_places365.pth.tar": "/x_places365.pth.tar: no such file",
    "model.weights=runs/train/typo": "/runs/train/typo: no such file",
    "model.name=resnet19": "did you mean 'resnet1",
    "model.args=3": "model.args=3: expected settings by name",
    "mode.boundary=[]": "mode.boundary=[]: expected a whole number, at least 0, or a number of",
    "mode.boundary=99": "mode.boundary=99: expected 0 to",
    "mode=partial augmentation=light": "so the frozen part's outputs cannot be kept",
    "mode=partial mode.views=4": "mode.views=4: training pictures do not change at random",
    "trainer.devices=0": "trainer.devices=0: expected a whole number, at least 1, or auto",
    "trainer.strategy=nonsense": "trainer.strategy=nonsense",
    "trainer.accelerator=nonsense": "trainer.accelerator=nonsense",
    "+trainer.speed=3": "trainer.speed is unknown",
    "+trainer.limit_train_batches=-2": "limit_train_batches",
    "logger=null": "logger=null: choose from csv, wandb",
    "model=null": "model=null: choose from",
    "~optimizer": "optimizer: nothing chosen; see conf/optimizer/",
    "+data.colour=red": "data.colour is no option",
    "+mode.view=3": "mode.view is no option: did you mean 'views'?",
    "~seed": "seed is gone: give it as +seed=...",
    "~optimizer.lr": "optimizer=adamw needs optimizer.lr=...",
    "data.root=null": "data.root has no value: give it as data.root=...",
    "data.classes=[]": "data.classes=[]: expected a list: a text, or null",
    "schedule=[cosine,step]": "schedule",
    "name=..": "name=..: expected a folder's name",
    "name=/tmp/elsewhere": "name=/tmp/elsewhere: expected a folder's name",
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_one_line_before_any_work(
    mistake: str,
    command: Command,
    tiny: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("carsclf.training.run.make_data", lambda config: pytest.fail("worked"))
    options = [o for o in tiny if o.split("=")[0] != mistake.split("=")[0]]
    assert command("train.py", *options, *mistake.split()) == 1
    assert REFUSED[mistake] in error_of(capfd)
    assert not list((tmp_path / "runs").glob("*/*"))


def test_no_gpu(command: Command, tiny: list[str], tmp_path: Path, monkeypatch, capfd) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert command("train.py", *tiny, "trainer.accelerator=cuda") == 1
    assert "trainer.accelerator=cuda" in error_of(capfd)
    assert command("evaluate.py", "run=x", "device=gpu") == 1
    assert "device=gpu: expected auto, cpu, cuda, cuda:<number> or mps" in error_of(capfd)
    assert command("train.py", *tiny, "name=on cpu") == 0
    assert command("evaluate.py", "run=runs/train/on cpu", "device=cuda") == 1
    assert "device=cuda: expected auto, or what this machine has: cpu" in error_of(capfd)


ODD = ["2024", "2024_12", "1.10", "a:b:smile:", "[red] x", "a=b", "größe 'n' \"q\"", "-x", "a/b"]


@pytest.mark.parametrize("name", ODD)
def test_odd_names_are_text_everywhere(
    name: str, command: Command, tiny: list[str], tmp_path: Path, capfd
) -> None:
    root = tmp_path / "photos" / name
    for target, label in enumerate(("0", "[1] a:b", "2_0")):
        for seed in range(6):
            draw(root / label / f"{seed}.png", target, seed)
    options = [o for o in tiny if not o.startswith("data.root")]
    options += [f"data.root={root}", "data.classes=[0, 2_0]", "data.batch_size=4"]
    best = tmp_path / f"{name.replace('/', ' ')}.yaml"
    best.write_text(yaml.safe_dump(["seed=3", f"data.name={quoted(name)}"]))
    assert command("train.py", f"overrides={best}", *options, f"name={name}", "logger=wandb") == 0
    folder = tmp_path / "runs/train" / name
    files = RunFolder(folder)
    config = OmegaConf.load(files.config)
    assert config.data.name == name
    assert (config.data.root, config.data.classes) == (str(root), ["0", "2_0"])
    assert f"run folder: runs/train/{name}" in capfd.readouterr().out
    assert command("train.py", f"resume=runs/train/{name}") == 0
    assert command("evaluate.py", f"run=runs/train/{name}") == 0
    assert f"runs/train/{name}/predictions/val.parquet" in capfd.readouterr().out


def test_a_refused_command_does_not_keep_its_name(
    command: Command, tiny: list[str], tmp_path: Path, capfd
) -> None:
    for mistake in ("data.batch_size=999", "data.crop=box", "data.classes=[dog]"):
        assert command("train.py", *tiny, "name=again", mistake) == 1
        assert error_of(capfd)
        assert not (tmp_path / "runs/train/again").exists()
    assert command("train.py", *tiny, "name=again") == 0


def test_a_training_that_fails_later_keeps_what_it_has(
    command: Command, tiny: list[str], tmp_path: Path, monkeypatch, capfd
) -> None:
    def fail(*_: object) -> None:
        raise CarsclfError("later")

    monkeypatch.setattr("carsclf.training.callbacks.EpochProgress.epoch_done", fail)
    assert command("train.py", *tiny, "name=kept") == 1
    assert "later" in error_of(capfd)
    assert RunFolder(tmp_path / "runs/train/kept").last.is_file()
    assert command("train.py", *tiny, "name=kept") == 1
    assert "exists: choose another name=, or resume=runs/train/kept" in error_of(capfd)


def test_what_lightning_refuses_while_it_fits() -> None:
    trainer = pl.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    with pytest.raises(ConfigError, match="trainer: .*training_step"), checks.lightning_mistakes():
        trainer.fit(pl.LightningModule())
    with pytest.raises(ConfigError, match="take data.batch_size=2"), checks.lightning_mistakes():
        nn.BatchNorm2d(3)(torch.zeros(1, 3, 1, 1))
    with pytest.raises(ValueError, match="own"), checks.lightning_mistakes():
        raise ValueError("own")


def test_callbacks_of_a_study_are_none_of_a_training(
    command, tiny: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert command("train.py", *tiny, "callbacks=csv") == 1
    assert "callbacks=csv: those are tune.py's" in error_of(capfd)


def test_of_two_trainings_of_a_name_one_has_it(
    config_of, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CARSCLF_RUN_FOLDER", raising=False)
    naming = OmegaConf.create({"runs": str(tmp_path), "name": "one"})
    with ThreadPoolExecutor(8) as pool:
        tries = [pool.submit(new_folder, naming) for _ in range(8)]
        told = [each.exception() for each in tries]
    assert told.count(None) == 1
    assert {str(error) for error in told if error} == {
        f"{tmp_path}/one exists: choose another name=, or resume={tmp_path}/one"
    }


def test_a_plateau_needs_every_epoch(config_of, tiny: list[str]) -> None:
    every = ["schedule=plateau", "+trainer.check_val_every_n_epoch=2"]
    with pytest.raises(ConfigError, match="n_epoch=2 leaves epochs out: take 1"):
        checks.check_training(config_of(*tiny, *every, "schedule.monitor=val/loss"))
    checks.check_training(config_of(*tiny, *every, "schedule.monitor=train/loss"))


def test_a_warm_up_longer_than_the_training(config_of, tiny: list[str]) -> None:
    config = config_of(*tiny, "schedule=cosine", "schedule.warmup_epochs=3")
    with pytest.raises(ConfigError, match=r"warmup_epochs=3: expected at most trainer.max"):
        checks.check_lengths(config)


def test_a_broken_configuration_in_a_run_folder(command: Command, tmp_path: Path, capfd) -> None:
    for content in (b"{a: [", b"\xff\xfe", b"- 1"):
        (tmp_path / "config.yaml").write_bytes(content)
        assert command("train.py", f"resume={tmp_path}") == 1
        assert "config.yaml" in error_of(capfd)
