"""A worker tells the epochs a killed one had finished, and trains only what is left."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from carsclf.records import RunFolder
from carsclf.training.run import fit
from carsclf.tuning.workers.protocol import Epoch, Failure, Job
from carsclf.tuning.workers.worker import Worker

Make = Callable[..., DictConfig]


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    """One in this process, without Ray."""
    monkeypatch.chdir(tmp_path)  # which it does too
    threads = torch.get_num_threads()
    made = Worker(1, str(tmp_path))
    yield made
    made.halt()
    torch.set_num_threads(threads)


@pytest.fixture
def killed(tiny: list[str], config_of: Make, tmp_path: Path) -> tuple[DictConfig, Path]:
    """A training of four epochs that ended after the second."""
    config = config_of(*tiny, "reported=last", "trainer.max_epochs=4")
    fit(config, tmp_path / "trial", on_epoch=lambda epoch, *_: epoch < 2)
    return config, tmp_path / "trial"


def job_of(config: DictConfig, folder: Path, epoch: int) -> Job:
    plain: Any = OmegaConf.to_container(config, resolve=True)
    return Job(plain, str(folder), epoch)


@pytest.mark.parametrize("known", [0, 1, 2])
def test_finished_epochs_are_told_and_not_trained_again(
    known: int, killed: tuple[DictConfig, Path], worker: Worker
) -> None:
    config, folder = killed
    before = pd.read_csv(RunFolder(folder).metrics)
    job: Job | None = job_of(config, folder, known)
    told = []
    for _ in range(4 - known):
        came = worker.advance(job)
        assert isinstance(came, Epoch)
        told.append(came)
        job = None
    assert [epoch.epoch for epoch in told] == list(range(known + 1, 5))
    rows = pd.read_csv(RunFolder(folder).metrics)
    assert rows["epoch"].tolist() == [1, 2, 3, 4]
    pd.testing.assert_frame_equal(
        rows.head(2), before
    )  # seconds included: these are the same epochs
    for epoch in told:
        row = rows.iloc[epoch.epoch - 1].to_dict()
        assert epoch.metrics == pytest.approx(
            {k: v for k, v in row.items() if k not in ("epoch", "seconds")}
        )
        assert epoch.seconds == pytest.approx(row["seconds"])


def test_a_trial_goes_on_elsewhere_only_with_its_checkpoint(
    killed: tuple[DictConfig, Path], worker: Worker
) -> None:
    config, folder = killed
    RunFolder(folder).last.unlink()
    came = worker.advance(job_of(config, folder, 2))
    assert isinstance(came, Failure)
    assert came.stop  # about files, not about this trial
    assert "last.ckpt is missing, so epoch 2 cannot be continued" in came.error


def test_a_diverging_training_is_a_failure_that_would_come_again(
    tiny: list[str], config_of: Make, tmp_path: Path, worker: Worker
) -> None:
    config = config_of(*tiny, "mode=freeze", "optimizer=sgd", "optimizer.lr=1e38")
    came = worker.advance(job_of(config, tmp_path / "trial", 0))
    assert isinstance(came, Failure)
    assert (came.final, came.stop) == (True, False)
    assert "the training loss became" in came.error
