"""The straight line: one configuration in, one run folder out."""

import logging
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytorch_lightning as pl
import yaml
from lightning_fabric.utilities.rank_zero import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from carsclf.data.build import cutoff, make_data
from carsclf.data.datamodule import CarsDataModule
from carsclf.data.decided import Decided
from carsclf.data.exclude import Exclusion, changed
from carsclf.data.photos_of_run import check_photos, trained_before, write_photos
from carsclf.data.reference import NOTE, check_same
from carsclf.data.resizing import told
from carsclf.data.withhold import Withheld
from carsclf.errors import CheckpointError
from carsclf.files import AnyPath, atomic_write, write_json
from carsclf.machine.memory import keep_freed_memory
from carsclf.machine.precision import adopt
from carsclf.records import Run, RunFolder
from carsclf.terminal import terminal
from carsclf.training.build import (
    cut_network,
    extract_rows,
    make_inputs,
    make_module,
    make_network,
)
from carsclf.training.callbacks import EpochEnd, EpochProgress, OnEpoch
from carsclf.training.checks import lightning_mistakes
from carsclf.training.configuration import phases_of
from carsclf.training.cost_meter import CostMeter
from carsclf.training.finish import (
    describe,
    export,
    git_commit,
    reported_row,
    trained,
    val_metrics,
    write_heads,
)
from carsclf.training.growing import place_new_rows, write_too_few
from carsclf.training.leak import leak_of
from carsclf.training.look import LOOK_ONLY, look_at_data
from carsclf.training.lr_finder import (
    adopt_rate,
    find_rate,
    only_finds,
    suggested,
    taken,
    write_rates,
)
from carsclf.training.schedule_curve import look_at_schedule
from carsclf.training.timed_steps import settle_training
from carsclf.training.trainer import device_of, make_trainer
from carsclf.training.wandb_log import close_wandb, ending_wandb


@ending_wandb()
@lightning_mistakes()
def fit(
    config: DictConfig,
    folder: AnyPath,
    *,
    resume: bool = False,
    on_epoch: OnEpoch | None = None,
    overrides: Sequence[str] | None = None,
) -> Run:
    """Trains into `folder`; `trainer.max_epochs` is the schedule's horizon.

    resume: go on exactly from checkpoints/last.ckpt, or begin where there is none yet.
    on_epoch(epoch, metrics, seconds, checkpoint): called after each epoch; False stops there.
    overrides: of the command line that made `config`, kept beside it so that it can be repeated.
    A run stopped before its horizon is resumable, and has no model.safetensors yet.
    """
    folder = Path(folder).expanduser()
    files, began, commit = RunFolder(folder), time.perf_counter(), git_commit()
    config = save_config(config, files)
    write_overrides(overrides, files)
    quiet()
    keep_freed_memory()
    pl.seed_everything(config.seed, verbose=False)

    pictures, unreadable = make_data(config)
    keep_exclusion(pictures.exclusion, files)
    keep_decided(pictures.decided, files)
    keep_withheld(pictures.withheld, files)
    names = pictures.class_names
    last = files.last if resume and files.last.is_file() else None
    keep_photos(pictures, files, going_on=last is not None)
    write_too_few(pictures, cutoff(config), files)
    network, weights = make_network(config, len(names), names)
    if weights.notes:
        tell(str(weights))
    # the list is the first process's, and may not be there yet for others
    seen = rank_zero_only(trained_before)(config.model.weights, files.photos) or {}
    for split, count in seen.items():
        tell(
            f"{count} of {len(pictures.splits[split])} {split} photos are ones that the run in "
            f"model.weights, or one before it, had trained on, so {split} flatters: one "
            "data.split_seed for all keeps them apart"
        )
    place_new_rows(config, network, weights.rows, pictures, device_of(config))
    parameters = sum(p.numel() for p in network.parameters())  # before any are added
    config, _ = settle_training(config, network, device_of(config))
    write_config(config, files)
    halves = cut_network(config, network, pictures)
    if config.look and last is None:
        look_at_data(pictures, folder)
    phases = phases_of(config)
    costs = [phase.size**2 for phase in phases]  # nearly the pixels
    progress, meter = EpochProgress(config.trainer.max_epochs, costs), CostMeter()
    if phases:
        progress.say(told(phases))
    monitor = config.get("monitor", "val/top1")
    epoch_end = EpochEnd(files, progress, monitor=monitor, on_epoch=on_epoch, leak=leak_of(config))
    watching = [progress, meter, epoch_end]
    trainer = make_trainer(config, folder, watching, head_only=halves.head_only)
    inputs = make_inputs(config, halves, pictures, trainer)
    module = make_module(config, halves, inputs, trainer)
    if "lr_finder" in config and not files.rates.is_file():
        config, table = find_rate(config, module, inputs, trainer, files)
        keep_rate(config, table, overrides, files)
        module = make_module(config, halves, inputs, trainer)
    if config.look and last is None:
        look_at_schedule(config, module, folder)
    if config.trainer.max_epochs and config.look != LOOK_ONLY and not only_finds(config):
        trainer.fit(module, inputs, ckpt_path=last, weights_only=True)
    progress.say(str(meter))

    row = reported_row(module, files, epoch_end, config.reported)
    if (average := module.average) is not None and 0 < row["epoch"] <= average.first:
        progress.say(
            f"the best epoch, {row['epoch']}, lies before the weights that are averaged, those of "
            f"{average.first + 1} and later: it is kept as it is; reported=last keeps the average"
        )
    finished = len(epoch_end.rows) >= config.trainer.max_epochs
    metrics = {name: value for name, value in row.items() if name.startswith("val/")}
    predictions, chosen = None, {}
    if finished:
        first = trainer.is_global_zero
        predictions = export(config, module, pictures, inputs, network, weights, files, first)
        metrics = val_metrics(predictions)
        chosen = write_heads(epoch_end, files)
    record = Run(
        **describe(config, pictures, weights, halves.boundary, trainer),
        **trained(config, pictures, epoch_end, parameters, module),
        git_commit=commit,
        unreadable=unreadable,
        seconds=epoch_end.seconds_before + time.perf_counter() - began,
        reported_epoch=int(row["epoch"]),
        metrics=metrics,
        finished=finished,
        cost=meter.cost,
        chosen=chosen,
        suggested=suggested(config, files),
        seen=seen,
    )
    if trainer.is_global_zero:
        record.write(files.run)
        if trainer.logger is not None:
            close_wandb(record, predictions, pictures.splits["val"])
    return record


@rank_zero_only
def tell(line: str) -> None:
    """Says what somebody should know of the weights that it begins with."""
    terminal(stderr=True, soft_wrap=True).print(line)


def prepare(config: DictConfig) -> list[str]:
    """Does once what all trials of a study share: draws or checks the data, fills the cache.

    Returns what `auto` was settled to, as overrides for the trials; none where nothing was open.
    """
    quiet()
    keep_freed_memory()
    pictures, _ = make_data(config)
    names = pictures.class_names
    network, _ = make_network(config, len(names), names)
    settled, choice = settle_training(config, network, device_of(config))
    halves = cut_network(settled, network, pictures)
    if halves.cached:
        extract_rows(settled, halves, pictures, device_of(settled))
    return choice.overrides if settled != config else []


def save_config(config: DictConfig, files: RunFolder) -> DictConfig:
    """Writes config.yaml, or takes from it what an earlier part settled on instead of `auto`.

    A folder with another configuration is refused.
    """
    if files.config.is_file():
        kept = OmegaConf.load(files.config)
        assert isinstance(kept, DictConfig)
        config = adopt_rate(adopt(config, kept), kept)
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


def keep_exclusion(exclusion: Exclusion | None, files: RunFolder) -> None:
    """Notes what data.exclude left out; a run does not go on with a list that is another now."""
    if exclusion is None:
        return
    if changed(exclusion, files.excluded):
        raise CheckpointError(
            f"data.exclude={exclusion.file} is not what it was when {files.root} began: put the "
            "old list back, or train anew with another name"
        )
    if not files.excluded.is_file():
        write_json(files.excluded, exclusion.record())


def keep_decided(decided: Decided | None, files: RunFolder) -> None:
    """Keeps a copy of data.decisions; a run does not go on with decisions that are others now."""
    if decided is None:
        return
    if not files.decisions.is_file():
        with atomic_write(files.decisions) as temporary:
            temporary.write_bytes(decided.content)
    elif files.decisions.read_bytes() != decided.content:
        raise CheckpointError(
            f"data.decisions={decided.file} is not what it was when {files.root} began: put the "
            f"old one back ({files.decisions} is a copy), or train anew with another name"
        )


def keep_withheld(withheld: Withheld | None, files: RunFolder) -> None:
    """Notes what was held back for reference sets; a run does not go on with other ones."""
    if withheld is None:
        return
    note = files.root / NOTE
    check_same(withheld.sets, note, files.root)
    if not note.is_file():
        write_json(note, withheld.record())


def keep_photos(pictures: CarsDataModule, files: RunFolder, *, going_on: bool) -> None:
    """Notes which photos are in which split; a run does not go on where they are others now."""
    if going_on and files.photos.is_file():
        check_photos(pictures.splits, pictures.class_names, files.photos)
    else:
        rank_zero_only(write_photos)(pictures.splits, pictures.class_names, files.photos)


def keep_rate(
    config: DictConfig, table: pd.DataFrame, overrides: Sequence[str] | None, files: RunFolder
) -> None:
    """Writes what a finder found, and took over, where resuming and repeating look for it."""
    if overrides is not None:
        write_overrides([*overrides, *taken(config)], files)
    write_config(config, files)
    write_rates(table, files)  # the last, so that a kill before it finds the same again


def write_overrides(overrides: Sequence[str] | None, files: RunFolder) -> None:
    """Writes overrides.yaml; of a resumed run, or one that no command line began, nothing."""
    if overrides is not None:
        with atomic_write(files.overrides) as temporary:
            temporary.write_text(
                "# What train.py was told: python train.py overrides=<this file>\n"
                + yaml.safe_dump(list(overrides), width=1000, allow_unicode=True)
            )


def quiet() -> None:
    """Silences Lightning's tips and hints; its warnings about real trouble stay."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # why all processes of a run ended: that one was killed
    logging.getLogger("lightning_fabric.strategies.launchers").setLevel(logging.INFO)
    for hint in (
        ".*does not have many workers.*",
        ".*isinstance.treespec.*",
        ".*module.s. in eval mode at the start.*",
        ".*smaller than the logging interval.*",
        ".*Checkpoint directory.*",
        ".*no `validation_step`.*",  # a GAN has none
        ".*ended before the epoch ended.*",  # of chunks it knows nothing; ours end with an epoch
    ):
        warnings.filterwarnings("ignore", message=hint)
