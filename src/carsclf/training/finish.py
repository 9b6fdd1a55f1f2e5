"""What a finished training leaves: the reported weights, predictions, and run.json."""

import platform
import subprocess
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf

import carsclf
from carsclf.analysis.metrics import metrics
from carsclf.data.datamodule import CarsDataModule
from carsclf.data.loaders import SplitLoaders
from carsclf.files import atomic_write
from carsclf.inference.predict import predict
from carsclf.machine.devices import device_name
from carsclf.models.embedding import embedding_width
from carsclf.models.networks import Weights, normalisation
from carsclf.models.pooling import pool_of
from carsclf.records import ModelCard, Predictions, RunFolder
from carsclf.training.callbacks import EpochEnd
from carsclf.training.checkpoints import read_checkpoint
from carsclf.training.leak import leak_of
from carsclf.training.modules import TransferModule
from carsclf.training.trainer import device_of

PENALTY, VECTOR = "weight_decay/head", "vector/head"  # in metrics.csv, where they are scheduled


def reported_row(
    module: TransferModule, files: RunFolder, epoch_end: EpochEnd, reported: str
) -> dict[str, float]:
    """Puts the reported epoch's weights into the module; returns its row of metrics.

    Epoch 0 is the network as it began, where no epoch was to be trained.
    """
    if not epoch_end.rows:
        return {"epoch": 0}
    if reported == "last":
        return epoch_end.rows[-1]
    state = read_checkpoint(files.best)["state_dict"]
    module.load_state_dict(state | module.frozen)
    return epoch_end.best


def export(
    config: DictConfig,
    module: TransferModule,
    pictures: CarsDataModule,
    inputs: SplitLoaders,
    network: torch.nn.Module,
    weights: Weights,
    files: RunFolder,
    write: bool,
) -> Predictions:
    """Writes the model and its validation predictions, made from `inputs`."""
    from safetensors.torch import save_file

    mean, std = normalisation(network)
    args: dict[str, Any] = OmegaConf.to_container(config.model.args)  # type: ignore[assignment]
    card = ModelCard(
        config.model.name,
        pictures.wholes.names,
        pictures.eval_transform.to_dict(),
        mean,
        std,
        weights.origin,
        args,
        crop=config.data.crop,
        pool=pool_of(network),
        embedding=embedding_width(network),
        weights_license=weights.provenance.license,
        weights_source=weights.provenance.source,
        leak=leak_of(config),
        parts=dict(pictures.wholes.parts) if pictures.wholes.any else {},
        deployable="throw_away" not in config,
    )
    device = device_of(config)
    module = module.eval().to(device)

    def forward(batch: Any) -> torch.Tensor:
        return inputs.wholes.logits(
            module({name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()})
        )

    samples = inputs.wholes.samples(inputs.splits["val"])
    predictions = predict(forward, inputs.eval_loader("val"), samples, inputs.wholes.names)
    predictions = replace(predictions, leak=card.leak)
    if write:
        state = {name: tensor.cpu().contiguous() for name, tensor in module.whole().items()}
        # one entry only: safetensors writes several in any order, and files would differ
        told = {"weights_license": card.weights_license} if card.weights_license else None
        with atomic_write(files.weights) as temporary:
            save_file(state, temporary, told)
        card.write(files.card)
        predictions.write(files.predictions("val"))
        if pictures.noted is not None:
            with atomic_write(files.causes) as temporary:
                pictures.noted.to_csv(temporary, index=False)
    return predictions


def val_metrics(predictions: Predictions) -> dict[str, float]:
    """The metrics of validation predictions under the names of metrics.csv."""
    values = metrics(predictions.targets, predictions.probabilities)
    return {f"val/{name}": value for name, value in values.items()}


def write_heads(epoch_end: EpochEnd, files: RunFolder) -> dict[str, float]:
    """Writes heads.csv for a grid of heads; the penalty of the one kept, and its vector where there
    are several. Nothing for other runs."""
    if not epoch_end.rows or PENALTY not in epoch_end.best:
        return {}
    chosen = {PENALTY: "weight_decay"} | ({VECTOR: "vector"} if VECTOR in epoch_end.best else {})
    named = chosen | {c: c for c in ("val/top1", "val/loss", "train/loss")}
    table = pd.DataFrame({name: [r[c] for r in epoch_end.rows] for c, name in named.items()})
    table["kept"] = [row is epoch_end.best for row in epoch_end.rows]
    with atomic_write(files.heads) as temporary:
        table.to_csv(temporary, index=False)
    return {name: epoch_end.best[column] for column, name in chosen.items()}


def describe(
    config: DictConfig,
    data: CarsDataModule,
    weights: Weights,
    boundary: str | None,
    trainer: pl.Trainer,
) -> dict[str, Any]:
    """What run.json says of a run besides its results."""
    return {
        "model": config.model.name,
        "weights": weights.origin,
        "weights_license": weights.provenance.license,
        "weights_source": weights.provenance.source,
        "mode": config.mode.name,
        "boundary": boundary,
        "channels_last": config.model.channels_last,
        "excluded": data.exclusion.record() if data.exclusion else {},
        "decided": data.decided.record() if data.decided else {},
        "references": data.withheld.record() if data.withheld else {},
        "leak": leak_of(config),
        "head": weights.rows.record() if weights.rows else {},
        "too_few": len(data.below),
        "deployable": "throw_away" not in config,
        **surroundings(config, data, trainer),
    }


def surroundings(config: DictConfig, data: CarsDataModule, trainer: pl.Trainer) -> dict[str, Any]:
    """What run.json says of data and machine, whatever is trained."""
    packages = ("torch", "torchvision", "pytorch-lightning", "timm", "hydra-core")
    device = trainer.strategy.root_device
    return {
        "source": config.data.name + (f" ({config.data.root})" if config.data.root else ""),
        "protocol": data.protocol,
        "split_sizes": {name: len(part) for name, part in data.splits.items()},
        "classes": len(data.wholes.names),
        "seed": config.seed,
        "device": f"{trainer.world_size} x {device.type} {device_name(device)}".strip(),
        "precision": config.trainer.precision,
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in packages},
            "carsclf": carsclf.__version__,  # also where it was not installed, but put on the path
        },
    }


def trained(
    config: DictConfig,
    data: CarsDataModule,
    epoch_end: EpochEnd,
    parameters: int,
    module: TransferModule,
) -> dict[str, Any]:
    """What run.json says of what was trained, of a network's so many parameters, and how far."""
    epochs = len(epoch_end.rows)
    learnt = sum(p.numel() for p in module.rest.parameters() if p.requires_grad)
    return {
        "parameters": {"network": parameters, "trained": learnt},
        "epochs": epochs,
        "horizon": config.trainer.max_epochs,
        "images_trained": epochs * len(data.to_train),
        "extra": {kind: len(made) for kind, made in data.extra.items()},
        "reported": config.reported,
    }


def git_commit() -> str | None:
    """The checkout's commit, with `+` when tracked files differ; None outside a checkout."""
    try:
        return _git("rev-parse", "HEAD") + ("+" if _git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    here = Path(__file__).parent
    done = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True)
    return done.stdout.strip()
