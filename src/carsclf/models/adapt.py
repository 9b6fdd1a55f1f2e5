"""Small additions that train inside a network whose own parameters stay.

They act while training, have names of their own beside timm's, and are merged into the plain
weights at the end: what is exported is an ordinary network with the same predictions.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from carsclf.errors import ConfigError, nearest
from carsclf.models.heads import in_heads

METHODS = ("lora", "bias", "scale_shift")
ADDED = "lora"


class LowRank(nn.Module):
    """A product of two thin layers beside a linear one or a convolution (Hu et al. 2021).

    It begins at zero: adapted, a network first says what it said before.
    """

    def __init__(self, layer: nn.Linear | nn.Conv2d, rank: int, alpha: float) -> None:
        super().__init__()
        self.scale = alpha / rank
        if isinstance(layer, nn.Linear):
            self.down: nn.Module = nn.Linear(layer.in_features, rank, bias=False)
            self.up: nn.Module = nn.Linear(rank, layer.out_features, bias=False)
        else:
            window = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
            self.down = nn.Conv2d(layer.in_channels, rank, *window, bias=False)  # type: ignore[arg-type]
            self.up = nn.Conv2d(rank, layer.out_channels, 1, bias=False)
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))  # type: ignore[arg-type]
        nn.init.zeros_(self.up.weight)  # type: ignore[arg-type]

    def forward(self, taken: torch.Tensor) -> torch.Tensor:
        """What is added to the layer's output."""
        return self.up(self.down(taken)) * self.scale

    @property
    def product(self) -> torch.Tensor:
        """What is added to the layer's weight, flattened to (out, in)."""
        up, down = (part.weight.flatten(1) for part in (self.up, self.down))  # type: ignore[union-attr,operator]
        return self.scale * up @ down


class Scale(nn.Module):
    """A factor for each output of a layer, on its weight (Lian et al. 2022)."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(len(weight), *[1] * (weight.ndim - 1)))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight * self.factor


class Shift(nn.Module):
    """A number added to each output of a layer, on its bias."""

    def __init__(self, bias: torch.Tensor) -> None:
        super().__init__()
        self.added = nn.Parameter(torch.zeros_like(bias))

    def forward(self, bias: torch.Tensor) -> torch.Tensor:
        return bias + self.added


def adapt(
    rest: nn.Module,
    heads: tuple[str, ...],
    taken: torch.Tensor,
    *,
    method: str,
    rank: int,
    alpha: float,
    layers: Sequence[str] | None,
    seed: int,
) -> None:
    """Freezes all of `rest` but its heads, and puts additions that train into it.

    taken: an input, by which layers are found that the network calls. method: `lora` (`rank` and
    `alpha`, at linear layers and ungrouped convolutions), `bias` (the biases themselves: Ben Zaken
    et al. 2022) or `scale_shift`. layers: endings of the names of those that are adapted; None:
    all that can be. Raises ConfigError where there is nothing to adapt.
    """
    if method not in METHODS:
        raise ConfigError(f"mode.method={method}: {nearest(method, list(METHODS))}")
    chosen = _chosen(rest, heads, layers)
    for name, parameter in rest.named_parameters():
        parameter.requires_grad_(in_heads(name, heads) and parameter.requires_grad)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if method == "lora":
            _add_low_rank(_wide(rest, chosen, taken, rank, named=bool(layers)), rank, alpha)
        elif method == "bias":
            _train_biases(rest, chosen)
        else:
            _add_scales(chosen)


def merged(rest: nn.Module) -> dict[str, torch.Tensor]:
    """The state dict of the plain network that says the same."""
    state, inside = rest.state_dict(), (f".{ADDED}.", ".parametrizations.")
    plain = {n: t for n, t in state.items() if not any(part in f".{n}" for part in inside)}
    with torch.no_grad():
        for path, module in rest.named_modules():
            at = f"{path}." if path else ""
            if isinstance(added := module._modules.get(ADDED), LowRank):
                weight = plain[f"{at}weight"]
                plain[f"{at}weight"] = weight + added.product.view_as(weight)
            for name in module._modules.get("parametrizations") or ():  # type: ignore[union-attr]
                plain[f"{at}{name}"] = getattr(module, name)
    return plain


def _chosen(
    rest: nn.Module, heads: tuple[str, ...], layers: Sequence[str] | None
) -> dict[str, nn.Module]:
    """Layers with a weight outside the heads whose names end as asked."""
    own = {
        name: module
        for name, module in rest.named_modules()
        if "weight" in module._parameters and not in_heads(f"{name}.", heads)
    }
    if layers is None:
        return own
    for ending in layers:
        if not any(f".{name}".endswith(f".{ending}") for name in own):
            ends = sorted({name.rpartition(".")[2] for name in own})
            raise ConfigError(
                f"mode.layers={ending}: no layer is called so: {nearest(ending, ends)}"
            )
    return {n: m for n, m in own.items() if any(f".{n}".endswith(f".{e}") for e in layers)}


def _wide(
    rest: nn.Module, chosen: dict[str, nn.Module], taken: torch.Tensor, rank: int, *, named: bool
) -> list[nn.Module]:
    """Linear layers and convolutions that are called, and wider than the rank."""
    if rank < 1:
        raise ConfigError(f"mode.rank={rank}: expected 1 or more")
    fit = {name: module for name, module in chosen.items() if _width(module)}
    called = _called(rest, taken)
    unseen = [name for name, module in fit.items() if module not in called]
    narrow = {name: w for name, m in fit.items() if (w := _width(m)) <= rank}
    if named and unseen:
        raise ConfigError(
            f"mode.layers: {type(rest).__name__} takes the weights of {unseen[0]} without calling "
            "it, so that nothing can be added there: leave it out of mode.layers"
        )
    if (fit and len(narrow) == len(fit)) or (named and narrow):
        name, width = max(narrow.items(), key=lambda item: item[1])
        raise ConfigError(
            f"mode.rank={rank}: {name} is {width} wide, and the rank must be less: "
            f"mode.rank={max(1, width // 4)}"
        )
    found = [m for n, m in fit.items() if n not in narrow and n not in unseen]
    if not found:
        raise ConfigError(
            f"mode.method=lora: what trains of this {type(rest).__name__} has no linear layer or "
            "convolution to add to: mode.method=bias, or a lower mode.boundary"
        )
    return found


def _width(module: nn.Module) -> int:
    """The smaller side of a layer's matrix; 0 where it has none.

    Convolutions of pictures are left out: they have next to no width, and oneDNN's gradient of one
    from 3 channels to 2, channels last, writes beyond its memory.
    """
    if isinstance(module, nn.Linear):
        return min(module.in_features, module.out_features)
    if isinstance(module, nn.Conv2d) and module.groups == 1 and module.in_channels > 3:
        return min(module.weight[0].numel(), module.out_channels)
    return 0


def _called(rest: nn.Module, taken: torch.Tensor) -> set[nn.Module]:
    """Some blocks pass a layer's weights on instead of calling it."""
    seen: set[nn.Module] = set()
    watched = [m for m in rest.modules() if _width(m)]
    handles = [m.register_forward_hook(lambda m, *_: seen.add(m)) for m in watched]
    training = rest.training
    try:
        with torch.no_grad():
            rest.eval()(taken)
    finally:
        rest.train(training)
        for handle in handles:
            handle.remove()
    return seen


def _add(module: Any, args: tuple[torch.Tensor, ...], out: torch.Tensor) -> torch.Tensor:
    return out + module.lora(args[0]) if ADDED in module._modules else out


def _add_low_rank(layers: list[nn.Module], rank: int, alpha: float) -> None:
    for layer in layers:
        assert isinstance(layer, nn.Linear | nn.Conv2d)
        layer.add_module(ADDED, LowRank(layer, rank, alpha))
        layer.register_forward_hook(_add)


def _train_biases(rest: nn.Module, chosen: dict[str, nn.Module]) -> None:
    biases = [
        m._parameters["bias"] for m in chosen.values() if m._parameters.get("bias") is not None
    ]
    if not biases:
        raise ConfigError(
            f"mode.method=bias: what trains of this {type(rest).__name__} has no biases: "
            "mode.method=lora"
        )
    for bias in biases:
        assert bias is not None
        bias.requires_grad_(True)


def _add_scales(chosen: dict[str, nn.Module]) -> None:
    for module in chosen.values():
        weight, bias = module._parameters["weight"], module._parameters.get("bias")
        if weight is not None:
            parametrize.register_parametrization(module, "weight", Scale(weight))
        if bias is not None:
            parametrize.register_parametrization(module, "bias", Shift(bias))
