"""The straight line: one configuration in, one run folder out."""

import time
from pathlib import Path

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf

from carsclf.data.build import make_data
from carsclf.errors import CheckpointError, ConfigError
from carsclf.records import Run, RunFolder, atomic_write
from carsclf.training.build import make_module, make_network, make_trainer
from carsclf.training.callbacks import EpochEnd, EpochProgress, OnEpoch
from carsclf.training.finish import describe, export, load_reported
from carsclf.training.look import look_at_data


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
    """
    files, began = RunFolder(folder), time.perf_counter()
    horizon = int(config.trainer.max_epochs)
    if stop_epoch is not None and not 1 <= stop_epoch <= horizon:
        raise ConfigError(f"stop_epoch={stop_epoch}: expected 1 to {horizon}, the horizon")
    save_config(config, files)
    pl.seed_everything(config.seed, verbose=False)

    data, unreadable = make_data(config)
    network, weights = make_network(config, len(data.class_names))
    module, boundary = make_module(config, network, data)
    if config.look and not files.last.is_file():
        look_at_data(data, folder)
    steps = data.steps_per_epoch()
    progress = EpochProgress(horizon, steps)
    epoch_end = EpochEnd(files, progress, on_epoch=on_epoch)
    trainer = make_trainer(config, folder, stop_epoch or horizon, [progress, epoch_end])
    last = str(files.last) if resume and files.last.is_file() else None
    trainer.fit(module, data, ckpt_path=last)
    if trainer.interrupted:
        raise KeyboardInterrupt

    reported = load_reported(module, files, epoch_end, config.reported)
    finished = trainer.current_epoch >= horizon
    run = describe(config, data, weights, boundary, trainer, unreadable) | {
        "epochs": len(epoch_end.rows),
        "horizon": horizon,
        "images_trained": len(epoch_end.rows) * len(data.splits["train"]),
        "reported": config.reported,
        "reported_epoch": int(reported["epoch"]),
        "finished": finished,
    }
    if finished:
        metrics = export(config, module, data, network, weights, files, trainer.is_global_zero)
    else:
        metrics = {name: value for name, value in reported.items() if name.startswith("val/")}
    spent = sum(row["seconds"] for row in epoch_end.rows[:-1]) if last else 0.0
    record = Run(**run, metrics=metrics, seconds=spent + time.perf_counter() - began)
    if trainer.is_global_zero:
        record.write(files.run)
    return record


def prepare(config: DictConfig) -> None:
    """Does once what all trials of a study share: draws or checks the data, fills the cache."""
    data, _ = make_data(config)
    network, _ = make_network(config, len(data.class_names))
    make_module(config, network, data)


def save_config(config: DictConfig, files: RunFolder) -> None:
    """Writes config.yaml once; a folder with another configuration is refused."""
    text = OmegaConf.to_yaml(config, resolve=True)
    if files.config.is_file():
        if files.config.read_text() != text:
            raise CheckpointError(f"{files.root} holds a run with another configuration: choose another name")  # fmt: skip
        return
    with atomic_write(files.config) as temporary:
        temporary.write_text(text)
