"""From a configuration to the objects of a training, in the order they are needed."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from carsclf.data.datamodule import CarsDataModule
from carsclf.errors import ConfigError
from carsclf.inference.predict import pick_device
from carsclf.models.boundary import cut, resolve
from carsclf.models.networks import build_network, head_name, normalisation
from carsclf.models.pixels import Normalise
from carsclf.models.weights import Weights
from carsclf.records import cache_root
from carsclf.training.callbacks import AtomicCheckpointIO
from carsclf.training.feature_cache import FeatureCache, content_key, run_prefix
from carsclf.training.modules import FreezeModule, TransferModule
from carsclf.training.precision import FULL, autocast


def make_network(config: DictConfig, classes: int) -> tuple[torch.nn.Module, Weights]:
    model = config.model
    args: dict[str, Any] = OmegaConf.to_container(model.args)  # type: ignore[assignment]
    return build_network(
        model.name, num_classes=classes, weights=model.weights, seed=config.seed, **args
    )


def make_module(
    config: DictConfig, network: torch.nn.Module, data: CarsDataModule
) -> tuple[TransferModule, str | None]:
    """The mode's LightningModule; what is frozen runs now, once per photo, where it can."""
    size, layout = config.data.image_size, config.model.channels_last
    boundary = resolve(config.mode.boundary, network)
    kind = instantiate(config.mode.module)
    settings: dict[str, Any] = {
        "head": head_name(network),
        "num_classes": len(data.class_names),
        "normalise": Normalise(*normalisation(network), channels_last=layout),
        "optimizer": instantiate(config.optimizer),
        "schedule": instantiate(config.schedule),
        "horizon": config.trainer.max_epochs,
        "steps": data.steps_per_epoch(),
        "seed": config.seed,
        "label_smoothing": config.mode.label_smoothing,
    }
    memory = torch.channels_last if layout else torch.contiguous_format
    network = network.to(memory_format=memory)  # type: ignore[call-overload]
    if not issubclass(kind, FreezeModule):
        if boundary is not None:
            raise ConfigError("mode=finetune trains everything: use mode=partial for a boundary")
        return compiled(config, kind(network, **settings)), None
    if boundary is None:
        raise ConfigError(f"mode.boundary={config.mode.boundary} freezes nothing: mode=finetune")
    prefix, rest = cut(network, boundary, size)
    module = kind(rest, prefix, **settings)
    if uses_cache(config, data):
        fill_features(module, data, boundary, config)
    return compiled(config, module), boundary


def uses_cache(config: DictConfig, data: CarsDataModule) -> bool:
    """Whether a frozen part runs once per photo instead of once per epoch."""
    return config.mode.cache and not data.train_transform.random


def compiled(config: DictConfig, module: TransferModule) -> TransferModule:
    """The module with its trained part under torch.compile where `model.compile` asks for it.

    In place, so that parameters keep timm's names. Compiled for each batch size there is: training
    and validation, whole and last batches. Raises ConfigError where there is no C++ compiler.
    """
    if config.model.compile:
        compiler = os.environ.get("CXX", "g++")
        if shutil.which(compiler) is None and shutil.which("clang++") is None:
            raise ConfigError(
                f"model.compile=true needs a C++ compiler, and {compiler} is not there: install "
                "g++, or set model.compile=false"
            )
        module.rest.compile(dynamic=False)
    return module


def fill_features(
    module: FreezeModule, data: CarsDataModule, boundary: str, config: DictConfig
) -> None:
    """Replaces training and validation pictures by the prefix's outputs."""
    key = content_key(
        module.prefix,
        boundary=boundary,
        transform=data.eval_transform.to_dict(),
        pixels=[module.normalise.mean.tolist(), module.normalise.std.tolist()],
        read=data.read,
        precision=config.trainer.precision,
    )
    cache = FeatureCache(cache_root(), key)
    device = device_of(config)
    samples = data.splits["train"] + data.splits["val"]

    def compute(missing: Any) -> torch.Tensor:
        loader = data.loader_of(missing)
        with autocast(config.trainer.precision, device):
            return run_prefix(module.prefix, module.normalise, loader, device)

    rows = cache.rows(samples, compute)
    first = len(data.splits["train"])
    data.features = {"train": rows[:first], "val": rows[first:]}


def device_of(config: DictConfig) -> torch.device:
    """Where the network runs."""
    return pick_device("cpu" if config.trainer.accelerator == "cpu" else "auto")


def make_trainer(
    config: DictConfig, folder: Path, epochs: int, callbacks: list[Any], *, head_only: bool = False
) -> pl.Trainer:
    """head_only: what trains is a head on cached features, which gains nothing from less than
    float32."""
    settings: dict[str, Any] = dict(OmegaConf.to_container(config.trainer, resolve=True))  # type: ignore[arg-type]
    settings["max_epochs"] = epochs
    settings["benchmark"] = not settings["deterministic"]  # cuDNN's search may choose differently
    if head_only:
        settings["precision"] = FULL
    if torch.cuda.is_available():
        torch.set_float32_matmul_precision("high")  # TF32; not yet run on a GPU
    logger: Any = False
    if config.get("logger"):
        # named after the folder, so that a resumed run goes on in the same W&B run; trials of
        # different studies share their folders' names, so the study's (the group) stands before it
        group = config.logger.get("group")
        id = f"{group}-{folder.name}" if group else folder.name
        logger = instantiate(config.logger, save_dir=str(folder), name=folder.name, id=id)
        logger.log_hyperparams(OmegaConf.to_container(config, resolve=True))
    return pl.Trainer(
        **settings,
        callbacks=callbacks,
        logger=logger,
        plugins=[AtomicCheckpointIO()],
        default_root_dir=folder,
        use_distributed_sampler=False,  # ours shards by itself
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
