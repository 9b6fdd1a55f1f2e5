"""What a training can stumble over, found before it begins."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf
from torch import nn

from carsclf.data.build import make_data
from carsclf.errors import CarsclfError, ConfigError, raised_in
from carsclf.machine.precision import FULL
from carsclf.models.boundary import resolve
from carsclf.models.embedding import check_place
from carsclf.models.layers import distances
from carsclf.models.networks import create, head_names, known_name, passes
from carsclf.models.pooling import DEFAULT
from carsclf.models.text_head import check_text, find_tower
from carsclf.models.weights import NAMED
from carsclf.training.build import make_network
from carsclf.training.configuration import check_changing, phases_of, pooling_of, trick
from carsclf.training.lr_finder import check_one_process
from carsclf.training.trainer import check_processes, check_trainer, check_untrained
from carsclf.training.wandb_log import check_wandb

TINY = 1e-9


def check_training(config: DictConfig) -> None:
    """Raises ConfigError for what can be known to fail before any data is read."""
    check_lengths(config)
    check_untrained(config)
    check_wandb(config.get("logger"))
    world = check_lightning(config.trainer)
    check_one_process(config, world)
    if world > 1 and trick(config, "unfreezing") != "none":
        raise ConfigError(
            f"unfreezing=gradual needs one process, and here are {world}: they agree at the start "
            "on what has gradients; take trainer.devices=1, or unfreezing=none"
        )
    if "gan" not in config:  # which has networks of its own
        check_network(config)
        check_changing(config)


def check_lengths(config: DictConfig) -> None:
    """Refuses what of a schedule or warm-up the training would not live to see the end of."""
    schedule, epochs = config.schedule, config.trainer.max_epochs
    lengths = {f"schedule.{key}": schedule.get(key, 0) for key in ("warmup_epochs", "cycle_epochs")}
    lengths["optimizer.warmup_epochs"] = config.optimizer.get("warmup_epochs", 0)
    for key, length in lengths.items():
        if length > epochs:
            raise ConfigError(f"{key}={length}: expected at most trainer.max_epochs={epochs}")
    each = config.trainer.get("check_val_every_n_epoch") or 1
    if str(schedule.get("monitor", "")).startswith("val/") and each > 1:
        raise ConfigError(
            f"schedule.monitor={schedule.monitor} is looked at after each epoch, and "
            f"trainer.check_val_every_n_epoch={each} leaves epochs out: take 1, or "
            "schedule.monitor=train/loss"
        )
    if "decay_share" in schedule:
        stable = stable_epochs(schedule, epochs)
        if schedule.warmup_epochs > stable + TINY:
            raise ConfigError(
                f"schedule.warmup_epochs={schedule.warmup_epochs}: expected at most {stable:g}, as "
                f"the decay begins there (schedule.decay_share={schedule.decay_share} of "
                f"trainer.max_epochs={epochs})"
            )


def stable_epochs(schedule: DictConfig, epochs: int) -> float:
    """The epochs before a `stable_decay` begins to decay; being a share, exact but for TINY."""
    return epochs * (1 - schedule.decay_share)


def check_lightning(config: DictConfig) -> int:
    """Refuses what Lightning would refuse on this machine; how many processes there will be."""
    settings: dict[str, Any] = dict(OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type]
    check_trainer(settings)
    settings["precision"] = FULL  # ours may still be open, and is checked
    log = logging.getLogger("pytorch_lightning")
    level = log.level
    log.setLevel(logging.WARNING)  # what there is and what is used of it, the run itself tells
    try:
        trainer = pl.Trainer(**settings, logger=False, enable_checkpointing=False)
    except Exception as error:  # whatever Lightning raises, it is about these settings
        raise ConfigError(f"trainer: {_told(error, settings)}") from None
    finally:
        log.setLevel(level)
    check_processes(trainer.world_size)
    return trainer.world_size


def check_network(config: DictConfig) -> None:
    """Refuses a network that cannot be made, weights that are not there, an unknown stage."""
    model, weights = config.model, Path(config.model.weights).expanduser()
    args: dict[str, Any] = OmegaConf.to_container(model.args)  # type: ignore[assignment]
    text, pool = model.get("text"), pooling_of(config)
    if model.weights not in NAMED and not weights.exists():
        raise ConfigError(
            f"model.weights={weights}: no such file; expected {', '.join(NAMED)}, a weights file "
            "or a run folder"
        )
    known_name(model.name)
    if text and pool != DEFAULT:
        raise ConfigError(
            f"mode.pool={pool}: a head made of class names (model.text) stands on CLIP's own "
            "embedding: leave mode.pool=default"
        )
    if text:
        check_text(model.weights)
        find_tower(text, model.weights, model.name)
    args |= {"image_size": config.data.image_size, "pool": pool}
    try:
        with torch.device("meta"):  # costs no memory, and hardly any time
            network = create(model.name, **args)
    except (CarsclfError, RuntimeError):
        network = create(model.name, **args)  # not every network can be made so
    resolve(config.mode.boundary, network)
    if config.optimizer.get("layer_decay") is not None:
        distances(network)
    if "unfreezing" in config:
        instantiate(config.unfreezing)(network, head_names(network))
    for size in sorted({phase.size for phase in phases_of(config)}):
        check_size(network, model.name, size, args)
    if text:
        check_place(network, model.name)


def check_size(network: nn.Module, name: str, size: int, args: dict[str, Any]) -> None:
    """Refuses a size of `resizing.sizes` that a network made for data.image_size cannot take."""
    classes: Any = network.num_classes
    with torch.device("meta"):
        if passes(network, size, classes) is None:
            return
    # not every network goes that way
    if (reason := passes(create(name, **args), size, classes)) is None:
        return
    told: dict[str, Any] = {**args, "dynamic_img_size": True}
    what = "take another size, or a network that takes any, as most convolutional ones do"
    try:
        if passes(create(name, **told), size, classes) is None:
            what = "with +model.args.dynamic_img_size=true it can"
    except ConfigError:
        pass  # it does not know that argument
    raise ConfigError(
        f"resizing.sizes: model.name={name} with data.image_size={args['image_size']} cannot take "
        f"pictures of {size} pixels: {what} ({reason})"
    )


def rehearse(config: DictConfig) -> None:
    """Raises here what a worker would before its first step, data and weights included.

    What is drawn, decoded or downloaded for it is kept, and found again by the workers.
    """
    check_training(config)
    data, _ = make_data(config)
    make_network(config, len(data.class_names), data.class_names)


@contextmanager
def lightning_mistakes() -> Iterator[None]:
    """Lightning's refusals, and BatchNorm's, found only when it fits, as one line."""
    try:
        yield
    except (MisconfigurationException, ValueError) as error:
        if "more than 1 value per channel" in str(error):
            raise ConfigError(
                "a BatchNorm of this network gets a single value of each channel, from which it "
                "has no statistics: take data.batch_size=2 or more, or a larger data.image_size"
            ) from error
        if not raised_in(error, "pytorch_lightning.", "lightning_fabric."):
            raise
        raise ConfigError(f"trainer: {' '.join(str(error).split())}") from error


def _told(error: Exception, settings: dict[str, Any]) -> str:
    """Lightning's words, and the settings that they may be about."""
    said = " ".join(str(error).split()) or type(error).__name__
    own = " ".join(
        f"trainer.{key}={settings[key]}" for key in ("accelerator", "devices", "strategy")
    )
    return f"{said} ({own})"
