"""Lightning's own arguments do what they say, or are refused; what is no number ends a training."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from carsclf.errors import CarsclfError, CheckpointError, ConfigError
from carsclf.records import Run, RunFolder
from carsclf.training import trainer
from carsclf.training.checkpoints import read_checkpoint
from carsclf.training.run import fit

Make = Callable[..., DictConfig]
COSINE = ["optimizer=sgd", "optimizer.lr=0.1", "schedule=cosine", "schedule.warmup_epochs=0"]


def test_a_card_that_was_named_is_where_the_network_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "pick_device", lambda name: torch.device("cuda"))
    for devices, expected in (([1], "cuda:1"), (1, "cuda"), ("auto", "cuda")):
        config = OmegaConf.create({"trainer": {"accelerator": "gpu", "devices": devices}})
        assert trainer.device_of(config) == torch.device(expected)


@pytest.mark.parametrize(("head_only", "expected"), [(True, "highest"), (False, "high")])
def test_a_head_alone_is_trained_without_tf32(
    head_only: bool, expected: str, tiny: list[str], config_of: Make, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """On an H200 L-BFGS ended 2e-3 beside scikit-learn's coefficients with it."""
    said: list[str] = []
    monkeypatch.setattr(torch, "set_float32_matmul_precision", said.append)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    config = config_of(*tiny, "trainer.accelerator=cpu")
    trainer.make_trainer(config, tmp_path, [], head_only=head_only)
    assert said == [expected]


@pytest.mark.parametrize(
    ("options", "steps"),  # of an epoch of 48 pictures, 8 at a time
    [
        (["+trainer.accumulate_grad_batches=4"], 2),  # four batches, and the two that are left
        (["+trainer.limit_train_batches=3"], 3),
        (["+trainer.limit_train_batches=0.5"], 3),
        ([], 6),
    ],
)
@pytest.mark.parametrize("mode", ["finetune", "freeze"])
def test_a_schedule_counts_the_steps_there_are(
    mode: str, options: list[str], steps: int, tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    config = config_of(*tiny, f"mode={mode}", *COSINE, *options, "trainer.max_epochs=3")
    fit(config, tmp_path / "run")
    files = RunFolder(tmp_path / "run")
    assert read_checkpoint(files.last)["global_step"] == 3 * steps
    # after n of N steps the rate is lr (1 + cos(pi n / N)) / 2, however many steps an epoch has
    expected = [0.05 * (1 + math.cos(math.pi * epoch / 3)) for epoch in (1, 2, 3)]
    assert pd.read_csv(files.metrics)["lr/head"].tolist() == pytest.approx(expected)


def test_epochs_without_validation_have_no_figures(
    tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    options = ["+trainer.check_val_every_n_epoch=2", "trainer.max_epochs=3"]
    run = fit(config_of(*tiny, *options), tmp_path / "run")
    rows = pd.read_csv(RunFolder(tmp_path / "run").metrics)
    assert rows["val/top1"].isna().tolist() == [True, False, True]
    assert run.reported_epoch == 2
    assert run.metrics["val/top1"] == pytest.approx(rows["val/top1"][1])


REFUSED = {
    "+trainer.max_steps=10": "the length of a training is trainer.max_epochs",
    "+trainer.max_time=1": "the length of a training is trainer.max_epochs",
    "+trainer.fast_dev_run=true": "trainer.max_epochs=1 trainer.limit_train_batches=2",
    "+trainer.val_check_interval=0.5": "check_val_every_n_epoch",
    "+trainer.callbacks=[]": "honoured are accelerator, accumulate_grad_batches",
    "+trainer.acumulate_grad_batches=2": "did you mean 'accumulate_grad_batches'",
    "+trainer.limit_val_batches=0": "expected batches, or a share in",
    "+trainer.limit_train_batches=0.01": "leaves none of 6 batches",
    "+trainer.check_val_every_n_epoch=3": "expected 1 to 2",
    "+trainer.accumulate_grad_batches=0": "expected 1 or more",
    "trainer.max_epochs=0": "at least 1",
    "trainer.strategy=nonsense": "trainer: ",
}


@pytest.mark.parametrize("option", REFUSED)
def test_what_would_not_be_honoured_is_refused(
    option: str, tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=REFUSED[option]):
        fit(config_of(*tiny, option), tmp_path / "run")


WILD = ["optimizer=sgd", "optimizer.lr=1e38", "schedule=constant", "trainer.max_epochs=1"]


def test_one_batch_that_is_no_number_ends_a_training(
    tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    with pytest.raises(CarsclfError, match="the training loss became nan in epoch 1: lower"):
        fit(config_of(*tiny, *WILD, "+trainer.limit_train_batches=2"), tmp_path / "run")
    assert not RunFolder(tmp_path / "run").weights.exists()


def test_a_validation_loss_that_is_no_number_ends_a_training(
    tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    with pytest.raises(CarsclfError, match="the validation loss became nan in epoch 1: lower"):
        fit(config_of(*tiny, *WILD, "data.batch_size=48"), tmp_path / "run")


def test_the_table_of_epochs_and_the_record_agree_on_the_loss(
    tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    """Also where a class is given less than 1e-12, which one of them used to clip at."""
    wild = ["mode=freeze", "optimizer=sgd", "optimizer.lr=1e4", "schedule=constant"]
    run = fit(config_of(*tiny, *wild, "reported=last"), tmp_path / "run")
    loss = pd.read_csv(RunFolder(tmp_path / "run").metrics)["val/loss"].iloc[-1]
    assert loss > -math.log(1e-12)
    assert run.metrics["val/loss"] == pytest.approx(loss, rel=1e-4)


def test_what_is_no_number_is_never_written_as_json(
    tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    fit(config_of(*tiny, "trainer.max_epochs=1"), tmp_path / "run")
    file = RunFolder(tmp_path / "run").run
    before = json.loads(file.read_text())
    run = Run.read(file)
    run.metrics["val/top1"] = math.nan
    with pytest.raises(CheckpointError, match="no number"):
        run.write(file)
    assert json.loads(file.read_text()) == before
