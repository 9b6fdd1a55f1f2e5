"""Options that would silently change nothing: what a frozen part drops at random, it never does."""

import copy
from typing import Any

import torch
from torch import nn

from carsclf.errors import ConfigError
from carsclf.models.boundary import HEAD, Prefix, cut
from carsclf.models.embedding import add_embedding, embedding_width
from carsclf.models.networks import create
from carsclf.models.pooling import pool_of


def check_effect(
    network: nn.Module,
    rest: nn.Module,
    prefix: Prefix | None,
    *,
    name: str,
    image_size: int,
    boundary: str | None,
    model_args: dict[str, Any],
) -> None:
    """Refuses rates of `model.args` (drop_rate, drop_path_rate, ...) that the training ignores.

    network: the whole; rest: what trains of it. Each rate is taken away in turn, and where the rest
    then gives the same logits in training, from the same draws, it had no effect.
    """
    for option in [key for key, value in model_args.items() if "drop" in key and value]:
        others = {key: value for key, value in model_args.items() if key != option}
        with torch.random.fork_rng(devices=[]):
            plain = create(name, image_size=image_size, pool=pool_of(network), **others)
            plain.reset_classifier(network.num_classes)  # type: ignore[operator]
            if width := embedding_width(network):
                add_embedding(plain, width, name)
        plain.load_state_dict(network.state_dict())
        plain_rest = plain if boundary is None else cut(plain, boundary, image_size)[1]
        pictures = torch.rand(8, 3, image_size, image_size, generator=torch.Generator())
        given = pictures if prefix is None else prefix(pictures)
        if torch.equal(_trained_on(rest, given), _trained_on(plain_rest, given)):
            given_as = f"model.args.{option}={model_args[option]}"
            raise ConfigError(f"{given_as} would have no effect: {_why(network, boundary)}")


def _why(network: nn.Module, boundary: str | None) -> str:
    if boundary is None:
        return f"{type(network).__name__} drops nothing by it at this data.image_size; leave it out"
    return (
        f"what is frozen (mode.boundary={boundary}) runs without it, and nothing of it is in the "
        "rest; leave it out, or train more with mode=finetune"
        + ("" if boundary != HEAD else "; drop_rate is what acts before the head")
    )


def _trained_on(rest: nn.Module, given: torch.Tensor) -> torch.Tensor:
    """Logits in training mode, from the same draws each time, of a copy in which every branch acts.

    Untrained networks begin with branches at zero (BatchNorm's last scale, layer scale), where it
    would not show that they are dropped: parameters that are one number throughout are drawn.
    """
    active = copy.deepcopy(rest).train()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        for parameter in active.parameters():
            if parameter.numel() > 1 and (parameter == parameter.flatten()[0]).all():
                parameter.uniform_(0.5, 1.5)
        return active(given)
