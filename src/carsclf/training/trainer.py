"""Lightning's Trainer: which of its arguments a training takes, and what they make of an epoch."""

import math
import os
from inspect import signature
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf

from carsclf.errors import ConfigError, nearest
from carsclf.machine.devices import pick_device
from carsclf.machine.precision import FULL
from carsclf.training.checkpoints import AtomicCheckpointIO
from carsclf.training.configuration import trick
from carsclf.training.wandb_log import make_logger

HONOURED = (
    "accelerator",
    "accumulate_grad_batches",
    "benchmark",
    "check_val_every_n_epoch",
    "detect_anomaly",
    "deterministic",
    "devices",
    "gradient_clip_algorithm",
    "gradient_clip_val",
    "limit_train_batches",
    "limit_val_batches",
    "log_every_n_steps",
    "max_epochs",
    "num_nodes",
    "precision",
    "profiler",
    "strategy",
    "sync_batchnorm",
)
INSTEAD = {
    "max_steps": "the length of a training is trainer.max_epochs, which its schedule needs to know",
    "max_time": "the length of a training is trainer.max_epochs; tune.py has a budget",
    "min_epochs": "a training runs trainer.max_epochs",
    "min_steps": "a training runs trainer.max_epochs",
    "fast_dev_run": "try with trainer.max_epochs=1 trainer.limit_train_batches=2",
    "overfit_batches": "use data.fraction, and augmentation=none",
    "val_check_interval": "validation ends an epoch; trainer.check_val_every_n_epoch=2 thins it",
}
CLIPPING = ("gradient_clip_val", "gradient_clip_algorithm")  # the module's, which steps by itself


def check_trainer(settings: dict[str, Any]) -> None:
    """Refuses arguments of pl.Trainer that this training would not honour, with what to do."""
    for key in settings:
        if key in HONOURED:
            continue
        if key not in signature(pl.Trainer.__init__).parameters:
            raise ConfigError(f"trainer.{key} is unknown: {nearest(key, HONOURED)}")
        instead = INSTEAD.get(key, f"honoured are {', '.join(HONOURED)}")
        raise ConfigError(f"trainer.{key} has no place here: {instead}")
    epochs, every = settings["max_epochs"], settings.get("check_val_every_n_epoch", 1)
    if not isinstance(epochs, int) or epochs < 0:
        raise ConfigError(f"trainer.max_epochs={epochs}: expected at least 0")
    if not isinstance(every, int) or not 1 <= every <= max(epochs, 1):
        raise ConfigError(
            f"trainer.check_val_every_n_epoch={every}: expected 1 to {epochs}, the epochs there are"
        )
    for key in ("limit_train_batches", "limit_val_batches"):
        limit = settings.get(key, 1.0)
        share = isinstance(limit, float) and 0 < limit <= 1
        if not share and not (type(limit) is int and limit >= 1):
            raise ConfigError(f"trainer.{key}={limit}: expected batches, or a share in (0, 1]")
    size = settings.get("accumulate_grad_batches", 1)
    if type(size) is not int or size < 1:
        raise ConfigError(f"trainer.accumulate_grad_batches={size}: expected 1 or more")


def make_trainer(
    config: DictConfig, folder: Path, callbacks: list[Any], *, head_only: bool = False
) -> pl.Trainer:
    """head_only: what trains is a head on cached features, which gains nothing from less than
    float32. Raises ConfigError for arguments that cannot be honoured here."""
    settings: dict[str, Any] = dict(OmegaConf.to_container(config.trainer, resolve=True))  # type: ignore[arg-type]
    check_trainer(settings)
    check_untrained(config)
    for key in CLIPPING:
        settings.pop(key, None)
    if trick(config, "resizing") != "none":
        settings["reload_dataloaders_every_n_epochs"] = 1  # of pictures of that epoch's size
    settings.setdefault("benchmark", not settings["deterministic"])  # else cuDNN chooses anew
    if head_only:
        settings["precision"] = FULL
    if torch.cuda.is_available():
        # high is TF32, in which the line search of L-BFGS stops a thousandth from the optimum
        torch.set_float32_matmul_precision("highest" if head_only else "high")
    try:
        trainer = pl.Trainer(
            **settings,
            callbacks=callbacks,
            logger=make_logger(config, folder),
            plugins=[AtomicCheckpointIO()],
            default_root_dir=folder,
            use_distributed_sampler=False,  # ours shares out by itself
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise ConfigError(f"trainer: {' '.join(str(error).split())}") from None
    check_processes(trainer.world_size)
    return trainer


def check_untrained(config: DictConfig) -> None:
    """Refuses no epochs for a head that would be left as it was drawn."""
    known = config.model.get("text") or config.model.get("head") == "keep"
    if not config.trainer.max_epochs and not known:
        raise ConfigError(
            "trainer.max_epochs=0 trains nothing, and a head drawn at random knows nothing: "
            "expected at least 1, or a head made of class names with model.text=auto, or that of "
            "an earlier run with model.head=keep"
        )


def optimizer_steps(batches: int, trainer: pl.Trainer) -> int:
    """Optimizer steps that an epoch of so many batches makes, as Lightning counts them."""
    limit = trainer.limit_train_batches or 1.0
    taken = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    if not taken:
        raise ConfigError(
            f"trainer.limit_train_batches={limit} leaves none of {batches} batches: raise it"
        )
    return math.ceil(taken / trainer.accumulate_grad_batches)


def steps_are_ours(trainer: pl.Trainer) -> bool:
    """Whether the module may step by itself through chunks of mini-batches.

    Not with gradients of several ranks, scaled or accumulated ones, nor where Lightning counts
    batches.
    """
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    counts = trainer.limit_train_batches not in (None, 1.0) or trainer.accumulate_grad_batches > 1
    return trainer.world_size == 1 and scaler is None and not counts


def device_of(config: DictConfig) -> torch.device:
    """Where the network runs: of several cards the first that the trainer names."""
    device = pick_device("cpu" if config.trainer.accelerator == "cpu" else "auto")
    cards = config.trainer.get("devices")
    if device.type == "cuda" and OmegaConf.is_list(cards) and cards:
        return torch.device("cuda", int(cards[0]))
    return device


def check_processes(world: int) -> None:
    """Refuses processes that someone else started, where they would train side by side."""
    started = int(os.environ.get("WORLD_SIZE", 1))
    if started not in (1, world):
        raise ConfigError(
            f"{started} processes were started from outside (torchrun?), and the trainer has "
            f"{world}: give trainer.strategy=ddp and trainer.devices= and trainer.num_nodes= so "
            f"that devices x nodes is {started}"
        )
