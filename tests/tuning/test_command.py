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
    """Multitask on five epochs: two for the incumbent, then one for every trial."""
    study = [
        *(o for o in tiny if not o.startswith(("look", "trainer.max_epochs", "data.batch"))),
        *("trainer.max_epochs=2", "space.data.batch_size.high=5", "resources.workers=1"),
        *("space=modern", "~space.schedule", "optimizer=adamw"),
        *("schedule=cosine", "schedule.warmup_epochs=0"),
        *("search=multitask", "search.fidelities=[0.5,1.0]", "search.budget=2.5", "search.final=0"),
        *("objective.metric=val/loss", "objective.mode=min", "name=small"),
    ]
    assert command("tune.py", *study) == 0
    folder = tmp_path / "runs/tune/small"
    trials = pd.read_parquet(folder / "trials.parquet")
    assert trials["epochs"].tolist() == [2, 1, 1, 1]
    assert trials["cost"].tolist() == [1, 0.5, 0.5, 0.5]
    losses = []
    for number, epochs in enumerate([2, 1, 1, 1]):
        files = RunFolder(folder / "trials" / f"{number:04d}")
        assert OmegaConf.load(files.config).trainer.max_epochs == epochs
        run, rows = Run.read(files.run), pd.read_csv(files.metrics)
        assert (run.finished, run.horizon) == (True, epochs)
        assert rows["lr/head"].tolist()[-1] == pytest.approx(0, abs=1e-12)  # its schedule has ended
        losses.append(min(rows["val/loss"]))
    assert len(set(losses)) == 4
    assert trials["best"].tolist() == pytest.approx(losses)
    best = losses.index(min(losses))
    told = json.loads((folder / "study.json").read_text())
    assert (told["best_trial"], told["spent"], told["mode"]) == (best, 2.5, "min")
    assert told["best"] == pytest.approx(min(losses))
    winner = yaml.safe_load((folder / "best.yaml").read_text())
    assert set(trials["overrides"][best]) <= set(winner)
    assert trials["overrides"][0].tolist() == []  # the study as it was composed
    assert not any(set(trials["overrides"][n]) <= set(winner) for n in {1, 2, 3} - {best})
    assert (folder / "trials" / f"{best:04d}" / "model.safetensors").is_file()
