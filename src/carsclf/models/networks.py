"""timm networks with a head of our width, and what can be asked of any of them."""

import warnings
from collections.abc import Iterator
from typing import Any

import timm
import torch
from torch import nn

from carsclf.errors import CheckpointError, ConfigError, nearest
from carsclf.models.weights import StateDict, Weights, find_weights


def build_network(
    name: str, *, num_classes: int, weights: str, seed: int, **model_args: Any
) -> tuple[nn.Module, Weights]:
    """A timm network whose head has `num_classes` outputs, and where its weights came from.

    A head of another width is popped and re-added at random (drawn from `seed`). Raises ConfigError
    for an unknown name (offering the nearest) and CheckpointError for weights that do not fit.
    """
    torch.manual_seed(seed)
    network = create(name, **model_args)
    found = find_weights(weights, network, name)
    torch.manual_seed(seed)  # the head does not depend on where the weights were found
    network.reset_classifier(num_classes)  # type: ignore[operator]
    if found.state is not None:
        load_fitting(network, found.state, origin=found.origin)
    return network, found


def create(name: str, *, num_classes: int | None = None, **model_args: Any) -> nn.Module:
    """A timm network with random weights."""
    base = name.split(".")[0]
    if not timm.is_model(base):
        raise ConfigError(
            f"model.name={name} is no timm model: {nearest(base, timm.list_models())}"
        )
    if num_classes is not None:
        model_args["num_classes"] = num_classes
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # timm's deprecations of old model names
            network = timm.create_model(name, pretrained=False, **model_args)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(f"model.name={name} cannot be made: {error}") from None
    if not isinstance(head_name(network), str):
        raise ConfigError(f"model.name={name} has several heads, which is not supported")
    return network


def head_name(network: nn.Module) -> str:
    """The module name of the classifier, e.g. `fc` or `head.fc`."""
    config: Any = network.pretrained_cfg
    return config["classifier"]


def split_parameters(
    network: nn.Module, head: str
) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """(backbone, head) parameters that train."""
    parts: tuple[list[nn.Parameter], list[nn.Parameter]] = ([], [])
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            parts[name.startswith(f"{head}.")].append(parameter)
    return parts


def normalisation(network: nn.Module) -> tuple[list[float], list[float]]:
    """Mean and standard deviation (of pixels in 0..1) that the network was pretrained with."""
    config: Any = network.pretrained_cfg
    return list(config["mean"]), list(config["std"])


def load_fitting(network: nn.Module, state: StateDict, *, origin: str) -> None:
    """Loads weights; only a head of another width may be left out, anything else is refused."""
    head = head_name(network)
    own = network.state_dict()
    kept = {
        name: tensor for name, tensor in state.items() if not _other_head(name, tensor, own, head)
    }
    wrong = sorted(_mismatches(kept, own, head))
    if wrong:
        raise CheckpointError(
            f"weights from {origin} do not fit {type(network).__name__}: {len(wrong)} parameters "
            f"differ, e.g. {', '.join(wrong[:3])}; is model.name the one they were trained as?"
        )
    network.load_state_dict(kept, strict=False)


def _other_head(name: str, tensor: torch.Tensor, own: StateDict, head: str) -> bool:
    return name.startswith(f"{head}.") and (name not in own or own[name].shape != tensor.shape)


def _mismatches(state: StateDict, own: StateDict, head: str) -> Iterator[str]:
    for name, tensor in own.items():
        if name.startswith(f"{head}."):
            continue
        if name not in state:
            if not name.endswith("num_batches_tracked"):  # old checkpoints lack it
                yield f"{name} is missing"
        elif state[name].shape != tensor.shape:
            yield f"{name} has shape {tuple(state[name].shape)}, not {tuple(tensor.shape)}"
    for name in state.keys() - own.keys():
        yield f"{name} is not in the network"
