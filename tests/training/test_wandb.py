"""W&B runs, read back from their offline files: what they hold, how they end, and their ids."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wandb
from omegaconf import DictConfig

from carsclf.errors import CarsclfError, ConfigError
from carsclf.training.checks import check_training
from carsclf.training.run import fit
from carsclf.training.wandb_log import wandb_id
from tests.conftest import until
from tests.offline_wandb import keys, logged, records
from tests.test_commands import error_of

Compose = Callable[..., DictConfig]


def runs_in(folder: Path) -> list[list[Any]]:
    """The records of each W&B run below a run folder, in the order they began."""
    wandb.teardown()  # its service writes the last records when it ends
    return [records(p) for p in sorted((folder / "wandb").glob("offline-run-*/*.wandb"))]


def exit_code(found: list[Any]) -> int | None:
    """How a run ended; None: it is still open."""
    codes = [r.exit.exit_code for r in found if r.HasField("exit")]
    return codes[0] if codes else None


def test_offline_run_holds_everything(
    tiny: list[str],
    config_of: Compose,
    tmp_path: Path,
) -> None:
    config = config_of(*tiny, "logger=wandb", "logger.group=team", "optimizer.lr=1e-6")
    fit(config, tmp_path / "logged")
    (found,) = runs_in(tmp_path / "logged")
    (run,) = [r.run for r in found if r.HasField("run")]
    assert re.fullmatch(r"team-logged-[0-9a-f]{8}", run.run_id)
    assert (run.run_group, run.project) == ("team", "carsclf")
    settings = keys(run.config.update) | {
        k for r in found if r.HasField("config") for k in keys(r.config.update)
    }
    assert any("optimizer" in key for key in settings)
    names = logged(found)
    assert {"train/loss", "val/top1", "lr/head", "lr/backbone"} <= names
    assert any("worst_mistakes" in key for key in names)
    assert any("confusion_matrix" in key for key in names)
    (table,) = (tmp_path / "logged" / "wandb").rglob("worst_mistakes*.table.json")
    assert 0 < len(json.loads(table.read_text())["data"]) <= 12
    assert list((tmp_path / "logged" / "wandb").rglob("media/images/worst_pictures*.png"))
    assert exit_code(found) == 0


def test_a_found_rate_is_logged(tiny: list[str], config_of: Compose, tmp_path: Path) -> None:
    finder = ["callbacks=lr_finder", "lr_finder.steps=40", "lr_finder.use=valley"]
    run = fit(config_of(*tiny, "logger=wandb", *finder), tmp_path / "found", on_epoch=until(1))
    (found,) = runs_in(tmp_path / "found")
    assert any("lr_finder" in key for key in logged(found))
    told = [i for r in found if r.HasField("config") for i in r.config.update]
    (*_, last) = [json.loads(i.value_json) for i in told if i.key == "optimizer"]
    assert str(run.suggested["valley"]) in str(last)


ENDS: dict[str, tuple[BaseException | None, int]] = {
    "stopped": (None, 0),
    "a mistake": (CarsclfError("the training loss became nan"), 1),
    "a bug": (ZeroDivisionError("x"), 1),
    "interrupted": (KeyboardInterrupt(), 255),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_run_is_closed_whatever_ends_it(
    end: str, tiny: list[str], config_of: Compose, tmp_path: Path
) -> None:
    error, code = ENDS[end]

    def on_epoch(*_: object) -> bool:
        if error is not None:
            raise error
        return False

    config = config_of(*tiny, "logger=wandb", "trainer.max_epochs=3")
    if error is None:
        fit(config, tmp_path / "run", on_epoch=on_epoch)
    else:
        with pytest.raises((type(error), SystemExit)):  # Lightning turns Ctrl-C into an exit
            fit(config, tmp_path / "run", on_epoch=on_epoch)
    assert wandb.run is None
    (found,) = runs_in(tmp_path / "run")
    assert exit_code(found) == code


def test_a_run_is_closed_where_the_trainer_cannot_be_made(
    tiny: list[str], config_of: Compose, tmp_path: Path
) -> None:
    config = config_of(*tiny, "logger=wandb", "trainer.strategy=nonsense")
    with pytest.raises(ConfigError, match="nonsense"):
        fit(config, tmp_path / "run")
    assert wandb.run is None
    (found,) = runs_in(tmp_path / "run")
    assert exit_code(found) == 1


def test_each_training_of_a_process_has_its_own_run_and_goes_on_in_it(
    tiny: list[str], config_of: Compose, tmp_path: Path
) -> None:
    config = config_of(*tiny, "logger=wandb", "look=false")
    for name in ("a", "b"):
        fit(config, tmp_path / name, on_epoch=lambda *_: False)
    fit(config, tmp_path / "a", resume=True)
    ids = {
        name: [
            r.run.run_id for found in runs_in(tmp_path / name) for r in found if r.HasField("run")
        ]
        for name in ("a", "b")
    }
    assert len(set(ids["a"])) == 1
    assert len(ids["a"]) == 2
    assert set(ids["a"]).isdisjoint(ids["b"])


def test_a_run_that_was_open_before_stays_open(
    tiny: list[str], config_of: Compose, tmp_path: Path
) -> None:
    own = wandb.init(project="mine", dir=tmp_path)
    try:
        fit(config_of(*tiny, "trainer.max_epochs=1"), tmp_path / "run")
        assert wandb.run is own
    finally:
        own.finish()


def test_ids_of_odd_names_are_wandbs(tmp_path: Path) -> None:
    names = ["2024", "a:b", "[x] y", "a=b;c,d#e?f'g", "größe", " ", "x" * 250, "..."]
    ids = [wandb_id(tmp_path / name, group) for name in names for group in (None, "team: 1")]
    assert len(set(ids)) == len(ids)
    for id in ids:
        assert wandb.Settings(run_id=id).run_id == id
        assert len(id) <= 128


def test_nobody_logged_in_is_told_before_the_work(
    command: Callable[..., int], tiny: list[str], tmp_path: Path, monkeypatch, capfd
) -> None:
    wandb.teardown()
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setattr("carsclf.training.run.make_data", lambda config: pytest.fail("worked"))
    try:
        for script in ("train.py", "tune.py"):
            assert command(script, *tiny, "logger=wandb", "name=x", "data.batch_size=8") == 1
            said = error_of(capfd)
            assert "nobody is logged in at Weights & Biases: type wandb login" in said
            assert "WANDB_MODE=offline" in said
        assert not [*tmp_path.glob("runs/train/*")]
        (tmp_path / "a").mkdir()
        assert command("report.py", "runs=[a]", "upload=true") == 1
        assert "upload=true: nobody is logged in" in error_of(capfd)
        monkeypatch.setenv("WANDB_API_KEY", "short")
        wandb.teardown()
        assert command("train.py", *tiny, "logger=wandb") == 1
        assert "WANDB_API_KEY" in error_of(capfd)
        monkeypatch.setenv("WANDB_MODE", "sometimes")
        wandb.teardown()
        assert command("train.py", *tiny, "logger=wandb") == 1
        assert "W&B: " in error_of(capfd)
    finally:
        wandb.teardown()


def test_offline_needs_no_login(tiny: list[str], config_of: Compose, monkeypatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    check_training(config_of(*tiny, "logger=wandb", "+logger.offline=true"))
    check_training(config_of(*tiny, "logger=wandb", "+logger.mode=disabled"))
