"""A run that was killed and resumed ends with the weights of one that was left alone."""

import os
import signal
import traceback
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from omegaconf import DictConfig
from safetensors.torch import load_file, save_file

from carsclf.errors import CheckpointError, ConfigError
from carsclf.models.networks import create
from carsclf.records import RunFolder
from carsclf.training.checkpoints import read_checkpoint
from carsclf.training.modules import TransferModule
from carsclf.training.prolong import prolong
from carsclf.training.run import fit
from tests.conftest import draw, until

Make = Callable[..., DictConfig]
SCHEDULES = {
    "plateau": ["schedule=plateau", "schedule.patience=0", "schedule.factor=0.5", "optimizer=sgd"],
    "one_cycle": ["schedule=one_cycle"],
    "cosine": ["schedule=cosine", "schedule.warmup_epochs=2"],
    "step": ["schedule=step", "schedule.every=1", "optimizer=sgd"],
    "constant": ["schedule=constant"],
    "cyclical": ["schedule=cyclical", "schedule.policy=exp_range", "schedule.cycle_epochs=1.5"],
    "restarts": ["schedule=restarts", "schedule.cycle_epochs=0.7", "optimizer=sgd"],
    "stable_decay": ["schedule=stable_decay", "schedule.decay_share=0.6"],
}


def same(one: Path, two: Path) -> None:
    a, b = (load_file(RunFolder(folder).weights) for folder in (one, two))
    assert all(torch.equal(tensor, b[name]) for name, tensor in a.items())
    first, second = (pd.read_csv(RunFolder(f).metrics) for f in (one, two))
    time = ["seconds"]
    pd.testing.assert_frame_equal(first.drop(columns=time), second.drop(columns=time))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_stopping_and_going_on_is_exact(
    schedule: str, tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    config = config_of(*tiny, *SCHEDULES[schedule], "augmentation=light", "trainer.max_epochs=4")
    fit(config, tmp_path / "whole")
    seen: list[int] = []
    fit(config, tmp_path / "parts", on_epoch=until(1))
    part = fit(
        config, tmp_path / "parts", resume=True, on_epoch=lambda e, *_: seen.append(e) or e < 3
    )
    assert (part.finished, part.epochs, seen) == (False, 3, [2, 3])
    assert fit(config, tmp_path / "parts", resume=True).finished
    same(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("workers", [0, 2])
def test_dropout_goes_on_as_it_would_have(
    workers: int, tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    config = config_of(*tiny, "+model.args.drop_rate=0.5", f"data.workers={workers}")
    fit(config, tmp_path / "whole")
    fit(config, tmp_path / "parts", on_epoch=until(1))
    fit(config, tmp_path / "parts", resume=True)
    same(tmp_path / "whole", tmp_path / "parts")


def test_a_stable_training_is_prolonged_as_if_it_had_always_been_longer(
    tiny: list[str], config_of: Make, tmp_path: Path, command: Callable[..., int]
) -> None:
    options = [*tiny, "schedule=stable_decay", "schedule.decay_share=0.5", "augmentation=light"]
    short, long = (config_of(*options, f"trainer.max_epochs={n}") for n in (4, 5))
    fit(long, tmp_path / "long")
    told = ["schedule=stable_decay"]
    fit(short, tmp_path / "short", on_epoch=until(2), overrides=told)  # the decay would begin
    assert command("train.py", f"resume={tmp_path}/short", "trainer.max_epochs=5") == 0
    same(tmp_path / "long", tmp_path / "short")
    files = RunFolder(tmp_path / "short")
    assert files.config.read_text() == RunFolder(tmp_path / "long").config.read_text()
    assert yaml.safe_load(files.overrides.read_text()) == [*told, "trainer.max_epochs=5"]
    with pytest.raises(ConfigError, match="5 epochs are done, and .*=5 the decay begins after 2.5"):
        prolong(long, 8, files)


def test_other_schedules_are_as_long_as_they_began(config_of: Make, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="schedule=stable_decay can be prolonged"):
        prolong(config_of("schedule=cosine"), 20, RunFolder(tmp_path))


def test_an_average_that_has_begun_is_not_prolonged(
    tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    """Of 4 and of 8 epochs the first 2 are in no average; of 3 the second would be."""
    own = ["schedule=stable_decay", "schedule.decay_share=0.1", "averaging=swa"]
    config = config_of(*tiny, *own, "averaging.start=0.5", "trainer.max_epochs=4")
    files = RunFolder(tmp_path)
    fit(config, files.root, on_epoch=until(2))
    with pytest.raises(ConfigError, match="averaging=swa begins after 1 epochs .* and 2 are done"):
        prolong(config, 3, files)
    config = prolong(config, 8, files)
    assert config.trainer.max_epochs == 8
    fit(config, files.root, resume=True, on_epoch=until(3))
    with pytest.raises(ConfigError, match="averaging=swa begins after 2 epochs .* and 3 are done"):
        prolong(config, 4, files)


def in_a_child(work: Callable[[], object]) -> int:
    """Runs `work` in a forked child; returns the signal that ended it (0: none)."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    return os.waitpid(child, 0)[1] & 0x7F


@pytest.mark.parametrize("schedule", ["plateau", "one_cycle"])
@pytest.mark.parametrize("inside", [True, False], ids=["inside an epoch", "between epochs"])
def test_sigkill_and_resume(
    schedule: str,
    inside: bool,
    tiny: list[str],
    config_of: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = config_of(
        *tiny, *SCHEDULES[schedule], "augmentation=light", "data.workers=2", "trainer.max_epochs=4"
    )
    fit(config, tmp_path / "whole")

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def train_and_die() -> None:
        step = TransferModule.training_step

        def deadly(self: TransferModule, batch: dict[str, torch.Tensor], i: int) -> torch.Tensor:
            if self.current_epoch == 2 and i == 3:
                die()
            return step(self, batch, i)

        if inside:
            monkeypatch.setattr(TransferModule, "training_step", deadly)
        fit(
            config,
            tmp_path / "killed",
            on_epoch=lambda e, *_: die() if e == 2 and not inside else None,
        )

    assert in_a_child(train_and_die) == signal.SIGKILL
    assert not RunFolder(tmp_path / "killed").run.is_file()
    assert fit(config, tmp_path / "killed", resume=True).finished
    same(tmp_path / "whole", tmp_path / "killed")


def test_frozen_runs_resume_with_small_checkpoints(
    tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    config = config_of(*tiny, "mode=freeze", "trainer.max_epochs=3")
    fit(config, tmp_path / "whole")
    fit(config, tmp_path / "parts", on_epoch=until(1))
    last = RunFolder(tmp_path / "parts").last
    state = read_checkpoint(last)["state_dict"]
    assert set(state) == {"rest.fc.weight", "rest.fc.bias"}
    fit(config, tmp_path / "parts", resume=True)
    same(tmp_path / "whole", tmp_path / "parts")


def test_other_frozen_weights_are_refused_on_resume(
    tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    first, second = (create("test_resnet", num_classes=3).state_dict() for _ in range(2))
    save_file(first, tmp_path / "weights.safetensors")
    config = config_of(*tiny, "mode=freeze", f"model.weights={tmp_path}/weights.safetensors")
    fit(config, tmp_path / "run", on_epoch=until(1))
    save_file(second, tmp_path / "weights.safetensors")
    with pytest.raises(CheckpointError, match="not those this run began with"):
        fit(config, tmp_path / "run", resume=True)


def test_a_library_that_grew_is_refused_on_resume(
    tiny: list[str], config_of: Make, pictures: Path, tmp_path: Path
) -> None:
    config, folder = config_of(*tiny), tmp_path / "run"
    fit(config, folder, on_epoch=until(1))
    draw(pictures / "class 0" / "more.png", 0, 99)
    with pytest.raises(CheckpointError, match=r"1 more \(class 0/more.png\)"):
        fit(config, folder, resume=True)
    (pictures / "class 0" / "more.png").unlink()
    away = (pictures / "class 1" / "00.png").rename(tmp_path / "away.png")
    with pytest.raises(CheckpointError, match=r"1 gone \(class 1/00.png\)"):
        fit(config, folder, resume=True)
    away.rename(pictures / "class 1" / "00.png")
    assert fit(config, folder, resume=True).finished


def test_on_epoch_may_stop(tiny: list[str], config_of: Make, tmp_path: Path) -> None:
    told: list[tuple[int, float, bool]] = []

    def listen(epoch: int, metrics: dict[str, float], seconds: float, checkpoint: Path) -> bool:
        told.append((epoch, metrics["val/top1"], checkpoint.is_file()))
        return epoch < 2

    run = fit(config_of(*tiny, "trainer.max_epochs=5"), tmp_path / "run", on_epoch=listen)
    assert (run.epochs, run.finished) == (2, False)
    assert [(epoch, there) for epoch, _, there in told] == [(1, True), (2, True)]
