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
from carsclf.features.extract import check_views, fill_features
from carsclf.features.steps import fits_chunks
from carsclf.machine.devices import pick_device
from carsclf.machine.precision import FULL
from carsclf.models.boundary import HEAD, cut, resolve
from carsclf.models.networks import build_network, head_name, normalisation
from carsclf.models.pixels import Normalise
from carsclf.models.weights import Weights
from carsclf.training.checkpoints import AtomicCheckpointIO
from carsclf.training.modules import FreezeModule, TransferModule
from carsclf.training.optimizers import lbfgs
from carsclf.training.wandb_log import make_logger


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
    cached, views = config.mode.cache, config.mode.views
    if settings["optimizer"].func is lbfgs:
        check_lbfgs(config, boundary)
    check_views(views, cached=cached, random=data.train_transform.random)
    prefix, rest = cut(network, boundary, size)
    module = kind(rest, prefix, **settings)
    if cached:
        precision, device = str(config.trainer.precision), device_of(config)
        fill_features(module, data, device, boundary=boundary, views=views, precision=precision)
    if settings["optimizer"].func is lbfgs:
        data.batch_size = len(data.splits["train"])  # it sees all rows at once
    return compiled(config, module), boundary


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


def check_lbfgs(config: DictConfig, boundary: str | None) -> None:
    """Refuses L-BFGS where its one smooth function of a linear head is not what is trained."""
    wrong = {
        "mode=freeze: it trains a linear head on frozen features": boundary != HEAD,
        "mode.cache=true: it sees all pictures in each iteration": not config.mode.cache,
        "mode.views=1: pictures must not change from epoch to epoch": config.mode.views != 1,
        "schedule=constant: its line search finds the rate": not config.schedule._target_.endswith(
            ".constant"
        ),
        "trainer.gradient_clip_val=null: its line search needs the whole gradient": bool(
            config.trainer.gradient_clip_val
        ),
    }
    if reasons := [reason for reason, here in wrong.items() if here]:
        raise ConfigError(f"optimizer=lbfgs needs {'; '.join(reasons)}")


def train_in_chunks(module: TransferModule, data: CarsDataModule, trainer: pl.Trainer) -> None:
    """Cached features come many mini-batches at a time, and the module steps through them.

    Where that cannot be, on several devices or with scaled gradients, they come one at a time.
    """
    if not fits_chunks(trainer):
        if module.make_optimizer.func is lbfgs:  # type: ignore[attr-defined]
            raise ConfigError(
                "optimizer=lbfgs needs trainer.devices=1 and trainer.precision=32-true"
            )
        return
    data.chunked = True
    module.step_by_itself(data.batch_size, trainer.gradient_clip_val)
    trainer.gradient_clip_val = None  # Lightning refuses to clip where it does not step


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
    return pl.Trainer(
        **settings,
        callbacks=callbacks,
        logger=make_logger(config, folder),
        plugins=[AtomicCheckpointIO()],
        default_root_dir=folder,
        use_distributed_sampler=False,  # ours shards by itself
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
