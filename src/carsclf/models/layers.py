"""How far each of a network's layers lies from its head, as timm's own table of layers has it."""

from typing import Any

from timm.models import group_parameters
from torch import nn

from carsclf.errors import ConfigError


def distances(
    network: nn.Module, asked: str = "optimizer.layer_decay", *, coarse: bool = False
) -> dict[str, int]:
    """Layers between each parameter and the logits, by the parameter's name: 0 is the last layer.

    A layer is a block of timm's table (`group_matcher`), as for its own layer-wise decay; coarse: a
    stage, where the network has some. Raises ConfigError, about the option `asked`, for a network
    without a table of several layers.
    """
    made: Any = getattr(network, "group_matcher", None)
    # a head on pooled features has none
    table: Any = {}
    if made is not None:
        table = group_parameters(network, made(coarse=coarse), reverse=True)
    last = max(table.values(), default=0)
    if not last:
        raise ConfigError(
            f"{asked}: {type(network).__name__} has no table of layers: leave it out, and "
            "optimizer.head_lr_factor sets the head's rate apart"
        )
    return {name: last - layer for name, layer in table.items()}
