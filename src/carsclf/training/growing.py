"""A list of classes that grows: what is kept of an earlier head, and runs that look for photos."""

import glob
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import nn

from carsclf.data.datamodule import CarsDataModule
from carsclf.data.mapping import ClassMapping, mapping_of, read_mapping
from carsclf.data.samples import Sample, absolute
from carsclf.errors import ConfigError
from carsclf.files import atomic_write
from carsclf.models.known_rows import KnownRows, Wanted, mean_rows
from carsclf.models.networks import head_names, normalisation
from carsclf.models.pixels import Normalise
from carsclf.models.provenance import card_of
from carsclf.records import RunFolder


def settle_mapping(data: DictConfig) -> None:
    """Puts what the file of `data.mapping` says into its place, so that a run stands alone."""
    given = data.get("mapping")
    if given is None:
        return
    if OmegaConf.is_dict(given):
        told = mapping_of(OmegaConf.to_container(given, resolve=True))
    else:
        told = read_mapping(given)
    with open_dict(data):
        data.mapping = told


def check_head(model: DictConfig) -> None:
    """Refuses rows of a head that has no names, and new rows beside none that are kept."""
    keep, weights = model.get("head", "random") == "keep", model.weights
    if not keep and model.get("new_rows", "random") == "mean":
        raise ConfigError(
            "model.new_rows=mean puts new rows beside kept ones, whose scale it takes: add "
            "model.head=keep"
        )
    if keep and model.get("text"):
        raise ConfigError("model.head=keep and model.text both make the head: leave one out")
    if keep and card_of(Path(weights).expanduser()) is None:
        raise ConfigError(
            f"model.head=keep: model.weights={weights} does not name the classes of its head: "
            "expected the folder of a finished run, with its model.json"
        )


def wanted_rows(config: DictConfig, class_names: Sequence[str]) -> Wanted:
    """What is asked of an earlier run's head."""
    given: Any = OmegaConf.to_container(config.data)
    mapping = ClassMapping(**(given.get("mapping") or {}))
    return Wanted(class_names, config.model.get("head", "random") == "keep", mapping)


def place_new_rows(
    config: DictConfig,
    network: nn.Module,
    rows: KnownRows | None,
    pictures: CarsDataModule,
    device: torch.device,
) -> None:
    """With `model.new_rows=mean`: new rows at the mean features of their training pictures."""
    if config.model.get("new_rows", "random") != "mean" or rows is None or not rows.new:
        return
    new = {pictures.class_names.index(name) for name in rows.new}
    known = sorted({*range(len(pictures.class_names))} - new)
    by_class: dict[int, list[Sample]] = defaultdict(list)
    for sample in pictures.splits["train"]:
        by_class[sample.target].append(sample)
    one_each = [by_class[target][0] for target in known]  # of the known, one says enough
    of_new = [by_class[target] for target in sorted(new)]
    wanted = [*one_each, *(sample for samples in of_new for sample in samples)]
    for head, features in features_of(network, wanted, pictures, device).items():
        place: Any = network.get_submodule(head)
        parts = features[len(known) :].split([len(samples) for samples in of_new])
        with torch.no_grad():
            mean_rows(
                place.weight.flatten(1),  # a view: some heads are convolutions of one pixel
                place.bias,
                known=known,
                examples=features[: len(known)],
                new=sorted(new),
                means=torch.stack([part.mean(0) for part in parts]),
            )


def features_of(
    network: nn.Module, samples: Sequence[Sample], pictures: CarsDataModule, device: torch.device
) -> dict[str, torch.Tensor]:
    """What each classifier of a network gets of pictures in evaluation, (n, width) on the CPU."""
    seen: dict[str, list[torch.Tensor]] = defaultdict(list)

    def note(head: str, _: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        seen[head].append(given[0].flatten(1).float().cpu())

    hooks = [
        network.get_submodule(head).register_forward_pre_hook(partial(note, head))
        for head in head_names(network)
    ]
    training, normalise = network.training, Normalise(*normalisation(network)).to(device)
    # moved outside inference mode: what is moved inside can never be trained again
    network.eval().to(device)
    with torch.inference_mode():
        for batch in pictures.loader_of(samples):
            network(normalise(batch["pictures"].to(device)))
    network.train(training).cpu()
    for hook in hooks:
        hook.remove()
    return {head: torch.cat(parts) for head, parts in seen.items()}


def check_throw_away(settings: DictConfig) -> None:
    """Refuses pictures to identify that are not there, before hours of training."""
    if lacking := [key for key in ("cutoff_share", "identify") if key not in settings]:
        raise ConfigError(f"throw_away.{lacking[0]} has no value: add experiment=throw_away")
    if settings.identify is None:
        return
    settings.identify = str(absolute(settings.identify))
    if not Path(settings.identify).exists() and not glob.glob(settings.identify, recursive=True):
        raise ConfigError(
            f"throw_away.identify={settings.identify} is not there: expected a folder of pictures"
        )


def write_too_few(pictures: CarsDataModule, cutoff: int, files: RunFolder) -> None:
    """Lists the classes that the cutoff left out, those nearest to it first."""
    if not pictures.below:
        return
    ranked = sorted(pictures.below.items(), key=lambda pair: pair[1])
    rows = [(name, cutoff - lacks, lacks) for name, lacks in ranked]
    with atomic_write(files.too_few) as temporary:
        pd.DataFrame(rows, columns=["class", "images", "lacks"]).to_csv(temporary, index=False)
