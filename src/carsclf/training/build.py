"""From a configuration to the parts of a training, in the order they are needed."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn

from carsclf.data.datamodule import CarsDataModule
from carsclf.data.loaders import SplitLoaders
from carsclf.data.resizing import growing
from carsclf.errors import ConfigError
from carsclf.features.datamodule import FeatureDataModule
from carsclf.features.extract import check_views, extract
from carsclf.models.adapt import adapt
from carsclf.models.boundary import HEAD, Prefix, cut, holds_at, resolve
from carsclf.models.effects import check_effect
from carsclf.models.heads import Head, in_heads
from carsclf.models.layers import distances
from carsclf.models.networks import Weights, build_network, head_names, normalisation
from carsclf.models.pixels import Normalise
from carsclf.models.pooling import vectors
from carsclf.models.text_head import build_text_network
from carsclf.training.configuration import TRICKS, WHOLE, option_of, phases_of, pooling_of
from carsclf.training.growing import wanted_rows
from carsclf.training.modules import TransferModule
from carsclf.training.trainer import optimizer_steps, steps_are_ours


def make_network(
    config: DictConfig, classes: int, class_names: Sequence[str] = ()
) -> tuple[nn.Module, Weights]:
    """The timm network with a head for `classes`, and where its weights came from.

    class_names: of which `model.text` makes the head, and by which `model.head` knows its rows.
    """
    model = config.model
    args: dict[str, Any] = OmegaConf.to_container(model.args)  # type: ignore[assignment]
    given: dict[str, Any] = {
        "weights": model.weights,
        "seed": config.seed,
        "image_size": config.data.image_size,
        "model_args": args,
    }
    if text := model.get("text"):
        return build_text_network(model.name, class_names, text=text, **given)
    wanted = wanted_rows(config, class_names) if class_names else None
    pool = pooling_of(config)
    return build_network(model.name, num_classes=classes, pool=pool, wanted=wanted, **given)


@dataclass(frozen=True)
class Halves:
    """A network cut at the mode's boundary: a frozen prefix (or none), and the rest that trains."""

    prefix: Prefix | None
    rest: nn.Module
    boundary: str | None
    heads: tuple[str, ...]  # the classifiers' module names
    normalise: Normalise
    cached: bool  # the prefix runs once per photo

    @property
    def head_only(self) -> bool:
        """What trains is a head on cached features."""
        return self.cached and self.boundary == HEAD


def cut_network(config: DictConfig, network: nn.Module, pictures: CarsDataModule) -> Halves:
    """The network in its memory layout, cut where `mode.boundary` says.

    Raises ConfigError where that contradicts the mode or changing pictures.
    """
    mode, layout = config.mode, config.model.channels_last
    boundary = resolve(mode.boundary, network)
    _check_mode(mode.name, mode.boundary, boundary)
    cached = bool(mode.cache) and boundary is not None
    if boundary is not None:
        check_views(mode.views, cached=cached, random=pictures.train_transform.random)
    form: Any = torch.channels_last if layout else torch.contiguous_format
    network = network.to(memory_format=form)  # type: ignore[call-overload]
    size = config.data.image_size
    prefix, rest = (None, network) if boundary is None else cut(network, boundary, size)
    for other in {phase.size for phase in phases_of(config)}:
        if prefix is not None and not holds_at(network, prefix, rest, other):
            raise ConfigError(
                f"resizing.sizes: {type(network).__name__}, cut at {boundary} for "
                f"data.image_size={size}, cannot take pictures of {other} pixels: take "
                "mode=finetune, or resizing=none"
            )
    normalise = Normalise(*normalisation(network), channels_last=layout)
    halves = Halves(prefix, rest, boundary, head_names(network), normalise, cached)
    _check_rates(config, network, halves)
    if mode.name == "adapt":
        _adapt(config, halves)
    if "unfreezing" in config:  # refused here, before any feature is computed
        instantiate(config.unfreezing)(halves.rest, halves.heads)
    return halves


def extract_rows(
    config: DictConfig, halves: Halves, pictures: CarsDataModule, device: torch.device
) -> dict[str, Any]:
    """What the frozen prefix says of each training and validation picture; see `extract`."""
    assert halves.prefix is not None
    assert halves.boundary is not None
    return extract(
        pictures,
        halves.prefix,
        halves.normalise,
        boundary=halves.boundary,
        views=config.mode.views,
        precision=str(config.trainer.precision),
        device=device,
    )


def make_inputs(
    config: DictConfig, halves: Halves, pictures: CarsDataModule, trainer: pl.Trainer
) -> SplitLoaders:
    """What a batch is made of: pictures, or rows of features where the prefix runs only once.

    Features come in chunks of many mini-batches where the module may step through them by itself.
    """
    if not halves.cached:
        return _growing(config, pictures)
    optimizer = option_of(config.optimizer)
    whole = optimizer in WHOLE
    chunked = steps_are_ours(trainer)
    if whole and not chunked:
        raise ConfigError(
            f"optimizer={optimizer} needs trainer.devices=1, trainer.precision=32-true, and every "
            "picture in every step (no accumulate_grad_batches, no limit_train_batches); or take "
            "optimizer=adamw"
        )
    rows = extract_rows(config, halves, pictures, trainer.strategy.root_device)
    size = len(pictures.to_train) if whole else pictures.batch_size
    return FeatureDataModule(
        pictures, rows, batch_size=size, views=config.mode.views, chunked=chunked
    )


def _growing(config: DictConfig, pictures: CarsDataModule) -> SplitLoaders:
    """The pictures as they are, or of the sizes that `resizing` gives to epochs."""
    if not (phases := phases_of(config)):
        return pictures
    data, augmentation = config.data, instantiate(config.augmentation)
    ways = {"transform": data.transform, "interpolation": data.interpolation}
    return growing(pictures, phases, **ways, augmentation=augmentation)


def make_module(
    config: DictConfig, halves: Halves, inputs: SplitLoaders, trainer: pl.Trainer
) -> TransferModule:
    """The LightningModule, with its trained part under torch.compile where that is asked for."""
    chunked = isinstance(inputs, FeatureDataModule) and inputs.chunked
    optimizer = instantiate(config.optimizer)
    if option_of(config.optimizer) == "head_grid":
        optimizer = partial(optimizer, vectors=vectors(pooling_of(config)))
    if config.optimizer.get("layer_decay") is not None:
        layers = distances(halves.rest)
        names = [n for n, p in halves.rest.named_parameters() if p.requires_grad]
        own = [layers[name] for name in names if not in_heads(name, halves.heads)]
        optimizer = partial(optimizer, layers=own)
    world = trainer.world_size
    steps = optimizer_steps(inputs.batches_per_epoch(world), trainer)
    if option_of(config.optimizer) == "schedule_free":
        optimizer = partial(optimizer, steps=steps)
    batches = [inputs.batches_per_epoch(world, p.batch_size) for p in phases_of(config)]
    module = TransferModule(
        halves.rest,
        prefix=halves.prefix,
        heads=halves.heads,
        wholes=inputs.wholes,
        normalise=halves.normalise,
        optimizer=optimizer,
        schedule=instantiate(config.schedule),
        horizon=config.trainer.max_epochs,
        steps=steps,
        steps_each=[optimizer_steps(n, trainer) for n in batches],
        seed=config.seed,
        label_smoothing=config.mode.label_smoothing,
        clip=config.trainer.gradient_clip_val,
        clip_algorithm=config.trainer.get("gradient_clip_algorithm", "norm"),
        mini_batch=inputs.batch_size if chunked else None,
        **_tricks(config, inputs),
    )
    if config.model.compile:
        _compile(module.rest)
    return module


def _tricks(config: DictConfig, inputs: SplitLoaders) -> dict[str, Any]:
    """What the module is told of the groups that runs of earlier versions do not have."""
    targets, classes = [s.target for s in inputs.to_train], len(inputs.class_names)
    makers = {group: instantiate(config[group]) for group in TRICKS if group in config}
    if "unfreezing" in config:
        makers["unfreezing"] = instantiate(config.unfreezing)
    taken = {"mixing": classes, "class_weights": np.bincount(targets, minlength=classes)}
    return {group: make(taken[group]) if group in taken else make for group, make in makers.items()}


def _compile(rest: nn.Module) -> None:
    """In place, so that parameters keep timm's names.

    Compiled for each batch size there is: training and validation, whole and last batches. Raises
    ConfigError where there is no C++ compiler.
    """
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None and shutil.which("clang++") is None:
        raise ConfigError(
            f"model.compile=true needs a C++ compiler, and {compiler} is not there: install "
            "g++, or set model.compile=false"
        )
    rest.compile(dynamic=False)


def _check_rates(config: DictConfig, network: nn.Module, halves: Halves) -> None:
    """Refuses rates of `model.args` that would have no effect, or that no fit at once can have."""
    args: dict[str, Any] = OmegaConf.to_container(config.model.args)  # type: ignore[assignment]
    check_effect(
        network,
        halves.rest,
        halves.prefix,
        name=config.model.name,
        image_size=config.data.image_size,
        boundary=halves.boundary,
        model_args=args,
    )
    rate = halves.rest.dropout.p if isinstance(halves.rest, Head) else 0.0
    optimizer = option_of(config.optimizer)
    if rate and optimizer in WHOLE:
        raise ConfigError(
            f"optimizer={optimizer} needs model.args.drop_rate=0.0 (it is {rate}): dropout makes "
            "its function another one in each evaluation; or take optimizer=adamw"
        )


def _adapt(config: DictConfig, halves: Halves) -> None:
    """Puts what trains in `mode=adapt` into the rest."""
    mode, size = config.mode, config.data.image_size
    pictures = torch.zeros(2, 3, size, size)
    adapt(
        halves.rest,
        halves.heads,
        pictures if halves.prefix is None else halves.prefix(pictures),
        method=mode.method,
        rank=mode.rank,
        alpha=mode.alpha,
        layers=mode.layers,
        seed=config.seed,
    )


def _check_mode(name: str, asked: object, boundary: str | None) -> None:
    """Refuses a boundary that makes another mode of it than the one named."""
    if name == "finetune" and boundary is not None:
        raise ConfigError("mode=finetune trains everything: use mode=partial for a boundary")
    if name == "freeze" and boundary is None:
        raise ConfigError(f"mode.boundary={asked} freezes nothing: mode=finetune")
    if name == "adapt" and boundary == HEAD:
        raise ConfigError("mode=adapt mode.boundary=head has nothing to adapt: mode=freeze")
