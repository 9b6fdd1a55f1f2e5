"""A study of real trainings: what its trials trained, and what it says of them."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml
from omegaconf import OmegaConf

from carsclf.records import Run, RunFolder

Command = Callable[..., int]

pytestmark = pytest.mark.xdist_group("ray")


def test_short_trials_are_whole_trainings_and_the_smallest_loss_wins(
    command: Command, tiny: list[str], tmp_path: Path, ray_cluster: None
) -> None:
    """Multitask on a budget of three epochs, of which every trial first gets one."""
    study = [
        *(o for o in tiny if not o.startswith(("look", "trainer.max_epochs", "data.batch"))),
        *("trainer.max_epochs=2", "space.data.batch_size.high=5", "resources.workers=1"),
        *("space=modern", "~space.schedule", "optimizer=adamw"),
        *("schedule=cosine", "schedule.warmup_epochs=0"),
        *("search=multitask", "search.fidelities=[0.5,1.0]", "search.budget=1.5"),
        *("objective.metric=val/loss", "objective.mode=min", "name=small"),
    ]
    assert command("tune.py", *study) == 0
    folder = tmp_path / "runs/tune/small"
    trials = pd.read_parquet(folder / "trials.parquet")
    assert trials["epochs"].tolist() == [1, 1, 1]
    assert trials["cost"].tolist() == [0.5, 0.5, 0.5]
    losses = []
    for number in range(3):
        files = RunFolder(folder / "trials" / f"{number:04d}")
        assert OmegaConf.load(files.config).trainer.max_epochs == 1
        run, rows = Run.read(files.run), pd.read_csv(files.metrics)
        assert (run.finished, run.horizon) == (True, 1)
        assert rows["lr/head"].tolist()[0] == pytest.approx(0, abs=1e-12)  # its schedule has ended
        losses.append(rows["val/loss"].tolist()[0])
    assert len(set(losses)) == 3
    assert trials["best"].tolist() == pytest.approx(losses)
    best = losses.index(min(losses))
    told = json.loads((folder / "study.json").read_text())
    assert (told["best_trial"], told["spent"], told["mode"]) == (best, 1.5, "min")
    assert told["best"] == pytest.approx(min(losses))
    winner = yaml.safe_load((folder / "best.yaml").read_text())
    assert set(trials["overrides"][best]) <= set(winner)
    assert not set(trials["overrides"][1 - best]) <= set(winner)
    assert (folder / "trials" / f"{best:04d}" / "model.safetensors").is_file()
