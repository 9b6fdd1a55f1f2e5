"""What `auto` stands for is decided once per study, and a resumed study keeps it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from carsclf.records import RunFolder

Command = Callable[..., int]

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]


def decided(folder: Path) -> list[list[str]]:
    lines = (folder / "events.jsonl").read_text().splitlines()
    return [e["overrides"] for e in map(json.loads, lines) if e["kind"] == "settled"]


def of_trial(folder: Path, trial: str) -> list[str]:
    config = OmegaConf.load(RunFolder(folder / "trials" / trial).config)
    layout = str(config.model.channels_last).lower()
    return [f"trainer.precision={config.trainer.precision}", f"model.channels_last={layout}"]


def test_a_study_decides_once_and_keeps_it(
    tiny: list[str], command: Command, tmp_path: Path, ray_cluster: None
) -> None:
    study = [
        *(o for o in tiny if not o.startswith("data.batch")),
        "trainer.precision=auto",
        "model.channels_last=auto",
        "space.data.batch_size.high=5",  # other sizes of batches ask nothing again
        "resources.workers=1",
        "search=random",
        "search.budget=3",
        "search.final=0",
        "name=auto",
    ]
    folder = tmp_path / "runs/tune/auto"
    assert command("tune.py", *study) == 0
    (settled,) = decided(folder)
    assert [o.split("=")[0] for o in settled] == ["trainer.precision", "model.channels_last"]
    assert all(of_trial(folder, f"000{i}") == settled for i in range(3))
    assert set(settled) <= set(yaml.safe_load((folder / "best.yaml").read_text()))

    # the same study, killed before its first trial, with another decision than would fall here
    other = [settled[0], "model.channels_last=" + ("false" if "true" in settled[1] else "true")]
    events = folder / "events.jsonl"
    first, second = (json.loads(line) for line in events.read_text().splitlines()[:2])
    events.write_text(json.dumps(first) + "\n" + json.dumps(second | {"overrides": other}) + "\n")
    shutil.rmtree(folder / "trials")
    assert command("tune.py", f"resume={folder}") == 0
    assert decided(folder) == [other]
    assert all(of_trial(folder, f"000{i}") == other for i in range(3))
