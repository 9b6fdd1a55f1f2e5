"""The cost of a run: its parts are parts of the run's time, and resumed parts add up."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from omegaconf import DictConfig

from carsclf.records import Run, RunFolder
from carsclf.training.cost_meter import CostMeter
from carsclf.training.run import fit
from tests.conftest import until

Make = Callable[..., DictConfig]


def parts(run: Run) -> dict[str, float]:
    return {k: v for k, v in run.cost.items() if k.endswith("_seconds")}


def test_parts_add_up_over_a_resume(
    tiny: list[str], config_of: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = config_of(*tiny, "trainer.max_epochs=4")
    first = fit(config, tmp_path / "run", on_epoch=until(2))
    run = fit(config, tmp_path / "run", resume=True)
    seconds = sum(pd.read_csv(RunFolder(tmp_path / "run").metrics)["seconds"].tolist())
    names = {f"{p}_seconds" for p in ("data", "forward", "backward", "optimizer", "validation")}
    assert parts(run).keys() == names
    assert all(parts(run)[name] > parts(first)[name] > 0 for name in names)
    assert 0.5 * seconds < sum(parts(run).values()) <= seconds
    training = sum(parts(run).values()) - run.cost["validation_seconds"]
    assert run.cost["images_per_second"] * training == pytest.approx(run.images_trained)
    assert run.cost["share_waited"] == pytest.approx(run.cost["data_seconds"] / training)
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("cost: ")]
    assert len(said) == 2
    assert "the device waited for data" in said[1]


def test_a_step_that_optimizes_by_itself_counts_in_one_piece() -> None:
    meter, batch = CostMeter(), {"targets": torch.zeros(3, 16)}
    trainer = SimpleNamespace(
        strategy=SimpleNamespace(root_device=torch.device("cpu")), world_size=1
    )
    module = SimpleNamespace(automatic_optimization=False)
    meter.on_train_epoch_start(trainer, module)  # type: ignore[arg-type]
    meter.on_train_batch_start(trainer, module, batch, 0)  # type: ignore[arg-type]
    for _ in range(3):
        meter.on_before_backward(trainer, module, None)
        meter.on_after_backward(trainer, module)
    meter.on_train_batch_end(trainer, module, None, batch, 0)
    meter.on_train_epoch_end(trainer, module)  # type: ignore[arg-type]
    assert meter.seconds.keys() == {"data", "training"}
    assert meter.images == 48


def test_a_run_that_had_nothing_to_do_costs_nothing() -> None:
    assert CostMeter().cost == {}
    assert "nothing was trained" in str(CostMeter())
