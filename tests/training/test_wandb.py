"""The offline W&B run is read back: configuration, metrics, rate, confusion, worst mistakes."""

import json
from collections.abc import Callable
from pathlib import Path

import wandb
from omegaconf import DictConfig

from carsclf.training.run import fit
from tests.offline_wandb import keys, logged, records


def test_offline_run_holds_everything(
    tiny: list[str],
    config_of: Callable[..., DictConfig],
    tmp_path: Path,
) -> None:
    config = config_of(*tiny, "logger=wandb", "logger.group=team", "optimizer.lr=1e-6")
    fit(config, tmp_path / "logged")
    wandb.teardown()  # its service writes the last records when it ends
    (path,) = (tmp_path / "logged" / "wandb").glob("offline-run-*/*.wandb")
    found = records(path)
    (run,) = [r.run for r in found if r.HasField("run")]
    assert (run.run_id, run.run_group, run.project) == ("team-logged", "team", "carsclf")
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
