"""The offline W&B run is read back: configuration, metrics, rate, confusion, worst mistakes."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import wandb
from omegaconf import DictConfig
from wandb.proto import wandb_internal_pb2

from carsclf.training.run import fit


def records(path: Path) -> list[Any]:
    """The protobuf records of a .wandb file: LevelDB's log format behind a header of 7 bytes."""
    data, place, found, parts = path.read_bytes(), 7, [], b""
    block = 32 * 1024
    while place + 7 <= len(data):
        if block - place % block < 7:  # what is left of a block is padding
            place += block - place % block
            continue
        size, kind = struct.unpack_from("<HB", data, place + 4)
        parts += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record()  # type: ignore[attr-defined]
            record.ParseFromString(parts)
            found.append(record)
            parts = b""
    return found


def keys(items: object) -> set[str]:
    return {i.key or "/".join(i.nested_key) for i in items}  # type: ignore[attr-defined]


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
    logged = {k for r in found if r.HasField("history") for k in keys(r.history.item)}
    assert {"train/loss", "val/top1", "lr/head", "lr/backbone"} <= logged
    assert any("worst_mistakes" in key for key in logged)
    assert any("confusion_matrix" in key for key in logged)
    (table,) = (tmp_path / "logged" / "wandb").rglob("worst_mistakes*.table.json")
    assert 0 < len(json.loads(table.read_text())["data"]) <= 12
    assert list((tmp_path / "logged" / "wandb").rglob("media/images/worst_pictures*.png"))
