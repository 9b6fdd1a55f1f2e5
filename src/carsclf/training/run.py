"""The straight line: one configuration in, one run folder out."""

import logging
import time
import warnings
from pathlib import Path

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf

from carsclf.data.build import make_data
from carsclf.errors import CheckpointError, ConfigError
from carsclf.files import atomic_write
from carsclf.machine.memory import keep_freed_memory
from carsclf.machine.precision import adopt
from carsclf.models.boundary import HEAD
from carsclf.records import Run, RunFolder
from carsclf.training.build import (
    device_of,
    make_module,
    make_network,
    make_trainer,
    train_in_chunks,
)
from carsclf.training.callbacks import EpochEnd, EpochProgress, OnEpoch
from carsclf.training.checks import lightning_mistakes
from carsclf.training.cost_meter import CostMeter
from carsclf.training.finish import describe, export, git_commit, reported_row, val_metrics
from carsclf.training.look import look_at_data
from carsclf.training.timed_steps import settle_training
from carsclf.training.wandb_log import close_wandb, ending_wandb


@ending_wandb()
@lightning_mistakes()
def fit(
    config: DictConfig,
    folder: Path,
    *,
    stop_epoch: int | None = None,
    resume: bool = False,
    on_epoch: OnEpoch | None = None,
) -> Run:
    """Trains into `folder`; `trainer.max_epochs` is the schedule's horizon.

    stop_epoch: train up to this epoch only; the schedule stays that of the horizon.
    resume: go on exactly from checkpoints/last.ckpt, or begin where there is none yet.
    on_epoch(epoch, metrics, seconds, checkpoint): called after each epoch; False stops there.
    A run stopped before its horizon is resumable, and has no model.safetensors yet.
    """
    files, began, commit = RunFolder(folder), time.perf_counter(), git_commit()
    horizon = int(config.trainer.max_epochs)
    if horizon < 1:
        raise ConfigError(f"trainer.max_epochs={horizon}: expected at least 1")
    if stop_epoch is not None and not 1 <= stop_epoch <= horizon:
        raise ConfigError(f"stop_epoch={stop_epoch}: expected 1 to {horizon}, the horizon")
    if config.reported not in ("best", "last"):
        raise ConfigError(f"reported={config.reported}: expected best or last")
    config = save_config(config, files)
    quiet()
    keep_freed_memory()
    pl.seed_everything(config.seed, verbose=False)

    data, unreadable = make_data(config)
    network, weights = make_network(config, len(data.class_names))
    cached = bool(config.mode.cache)
    config, _ = settle_training(config, network, device_of(config), cached=cached)
    write_config(config, files)
    module, boundary = make_module(config, network, data)
    last = files.last if resume and files.last.is_file() else None
    if config.look and last is None:
        look_at_data(data, folder)
    progress, meter = EpochProgress(horizon), CostMeter()
    epoch_end = EpochEnd(files, progress, on_epoch=on_epoch)
    callbacks, head_only = [progress, meter, epoch_end], cached and boundary == HEAD
    epochs = stop_epoch or horizon
    trainer = make_trainer(config, folder, epochs, callbacks, head_only=head_only)
    module.steps = progress.steps = data.steps_per_epoch(trainer.world_size)
    if data.features:
        train_in_chunks(module, data, trainer)
    trainer.fit(module, data, ckpt_path=last, weights_only=True)
    progress.console.print(str(meter), highlight=False, soft_wrap=True)

    row = reported_row(module, files, epoch_end, config.reported)
    finished = len(epoch_end.rows) >= horizon
    metrics = {name: value for name, value in row.items() if name.startswith("val/")}
    predictions = None
    if finished:
        write = trainer.is_global_zero
        predictions = export(config, module, data, network, weights, files, write)
        metrics = val_metrics(predictions)
    record = Run(
        **describe(config, data, weights, boundary, trainer),
        git_commit=commit,
        unreadable=unreadable,
        epochs=len(epoch_end.rows),
        horizon=horizon,
        images_trained=len(epoch_end.rows) * len(data.splits["train"]),
        seconds=epoch_end.seconds_before + time.perf_counter() - began,
        reported=config.reported,
        reported_epoch=int(row["epoch"]),
        metrics=metrics,
        finished=finished,
        cost=meter.cost,
    )
    if trainer.is_global_zero:
        record.write(files.run)
        if trainer.logger is not None:
            close_wandb(record, predictions, data.splits["val"])
    return record


def prepare(config: DictConfig) -> list[str]:
    """Does once what all trials of a study share: draws or checks the data, fills the cache.

    Returns what `auto` was settled to, as overrides for the trials; none where nothing was open.
    """
    quiet()
    keep_freed_memory()
    data, _ = make_data(config)
    network, _ = make_network(config, len(data.class_names))
    cached = bool(config.mode.cache)
    settled, choice = settle_training(config, network, device_of(config), cached=cached)
    make_module(settled, network, data)
    return choice.overrides if settled != config else []


def save_config(config: DictConfig, files: RunFolder) -> DictConfig:
    """Writes config.yaml, or takes from it what an earlier part settled on instead of `auto`.

    A folder with another configuration is refused.
    """
    if files.config.is_file():
        kept = OmegaConf.load(files.config)
        assert isinstance(kept, DictConfig)
        config = adopt(config, kept)
        if files.config.read_text() != OmegaConf.to_yaml(config, resolve=True):
            raise CheckpointError(
                f"{files.root} holds a run with another configuration: choose another name"
            )
    else:
        write_config(config, files)
    return config


def write_config(config: DictConfig, files: RunFolder) -> None:
    """Writes config.yaml where it does not say this already."""
    text = OmegaConf.to_yaml(config, resolve=True)
    if not files.config.is_file() or files.config.read_text() != text:
        with atomic_write(files.config) as temporary:
            temporary.write_text(text)


def quiet() -> None:
    """Silences Lightning's tips and hints; its warnings about real trouble stay."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for hint in (
        ".*does not have many workers.*",
        ".*isinstance.treespec.*",
        ".*module.s. in eval mode at the start.*",
        ".*smaller than the logging interval.*",
        ".*Checkpoint directory.*",
        ".*ended before the epoch ended.*",  # of chunks it knows nothing; ours end with an epoch
    ):
        warnings.filterwarnings("ignore", message=hint)
