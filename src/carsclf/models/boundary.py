"""Cutting a network in two at a stage boundary: a frozen prefix and a trained rest.

Both halves keep the names of the whole, so their state dicts put together are the whole's again.
"""

import copy
import hashlib
from functools import cached_property
from typing import Any

import torch
from torch import nn

from carsclf.errors import ConfigError, nearest
from carsclf.models.dropout import head_dropout
from carsclf.models.heads import Head
from carsclf.models.networks import head_names
from carsclf.models.passage import Passage, Reached, back_of, front_of
from carsclf.models.pooling import DEFAULT, pool_of

HEAD = "head"
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
LISTS = ("stages", "blocks", "layers", "levels")  # where networks keep what timm does not name


class Prefix(nn.Module):
    """Everything up to a boundary, always in evaluation mode, never with gradients.

    heads: names of the classifiers that were taken out; none where it ends in the middle.
    """

    def __init__(self, network: nn.Module, heads: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.network, self.heads = network.eval().requires_grad_(False), heads

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(n, 3, h, w) normalised floats to the activations at the boundary."""
        network: Any = self.network
        with torch.no_grad():
            if len(self.heads) == 1:
                return network.forward_head(network.forward_features(pictures), pre_logits=True)
            return self._entering(pictures) if self.heads else self._reached(pictures)

    def _entering(self, pictures: torch.Tensor) -> torch.Tensor:
        """What enters each of several classifiers, (n, classifiers, width)."""
        entered: list[torch.Tensor] = []
        places = [self.network.get_submodule(name) for name in self.heads]
        watch = [p.register_forward_pre_hook(lambda _, x: entered.append(x[0])) for p in places]
        try:
            self.network(pictures)
        finally:
            for handle in watch:
                handle.remove()
        return torch.stack(entered, dim=1)

    def _reached(self, pictures: torch.Tensor) -> torch.Tensor:
        try:
            self.network(pictures)
        except Reached as reached:
            return reached.activations
        raise AssertionError("it was cut where it never comes")

    @cached_property
    def key(self) -> str:
        """A key of its weights, and of what it pools."""
        pool, key = pool_of(self.network), key_of(self.network.state_dict())
        return key if pool == DEFAULT else f"{key}-{pool}"

    def train(self, mode: bool = True) -> "Prefix":
        return super().train(False)  # frozen BatchNorm keeps its statistics


def key_of(state: dict[str, torch.Tensor]) -> str:
    """A key of names and weights."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(state.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def stages(network: nn.Module) -> list[str]:
    """Names of modules at whose end the network is usually cut, in order.

    timm's feature stages, each as the whole block that it lies in, or else the network's blocks.
    """
    known = {name for name, _ in network.named_modules()}
    infos: Any = getattr(network, "feature_info", None) or []
    told = [name for info in infos if (name := info.get("module")) in known and name]
    if not told:
        held = next((name for name in LISTS if name in known), None)
        told = (
            [f"{held}.{n}" for n, _ in network.get_submodule(held).named_children()] if held else []
        )
    return list(dict.fromkeys(_block_of(network, name) for name in told))


def _block_of(network: nn.Module, name: str) -> str:
    """The outermost module around it that runs by itself: inside, a shortcut may pass it by."""
    parts = name.split(".")
    for depth in range(1, len(parts)):
        outer = ".".join(parts[:depth])
        if not isinstance(network.get_submodule(outer), CONTAINERS):
            return outer
    return name


def resolve(boundary: str | int | None, network: nn.Module) -> str | None:
    """The boundary's name: of a number of frozen stages (0: none), of any module, or `head`."""
    names = stages(network)
    if boundary in (None, 0, "0"):
        return None
    modules = {name for name, _ in network.named_modules()} - {""}
    if boundary == HEAD or (boundary in modules and not str(boundary).isdigit()):
        return str(boundary)
    if not names:
        raise ConfigError(
            f"mode.boundary={boundary}: {type(network).__name__} has no stages to cut between: "
            f"mode=freeze (mode.boundary={HEAD}) or mode=finetune"
        )
    if str(boundary).isdigit() and int(boundary) <= len(names):
        return names[int(boundary) - 1]
    known = [HEAD, *names]
    raise ConfigError(
        f"mode.boundary={boundary}: expected 0 to {len(names)} frozen stages, or "
        f"{nearest(str(boundary), known)}"
    )


def cut(network: nn.Module, boundary: str, image_size: int) -> tuple[Prefix, nn.Module]:
    """(prefix, rest) with rest(prefix(x)) == network(x), checked on a random picture.

    Raises ConfigError, naming boundaries that would do, where the network does not run its modules
    one after the other there.
    """
    halves = _halves(network, boundary, image_size)
    if halves is None:
        others = [n for n in [*stages(network), HEAD] if n != boundary]
        works = [name for name in others if _halves(network, name, image_size) is not None]
        what = ", ".join(works) or "none: mode=finetune"
        raise ConfigError(
            f"{type(network).__name__} cannot be cut at {boundary}: its modules do not simply "
            f"follow one another there; mode.boundary can be {what}"
        )
    return halves


def holds_at(network: nn.Module, prefix: Prefix, rest: nn.Module, size: int) -> bool:
    """Whether the halves are the whole for pictures of another size, too."""
    pictures = torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(0))
    try:
        return _equal(network, rest, pictures, prefix(pictures))
    except Exception:
        return False  # as in `_halves`


def join(prefix: Prefix, rest: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The whole network's state dict from those of its two halves, under timm's names."""
    return {**prefix.network.state_dict(), **rest}


def _halves(network: nn.Module, boundary: str, size: int) -> tuple[Prefix, nn.Module] | None:
    """The two halves, or None where they are not the whole."""
    pictures = torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(0))
    try:
        parted = _at_head if boundary == HEAD else _between
        prefix, rest, rows = parted(network, boundary, pictures)
        if not _equal(network, rest, pictures, rows):
            return None
    except Exception:
        return None  # each network has its own way to stumble, and the rest at shapes not its own
    return (prefix, rest) if _leave_frozen(prefix, rest, pictures, rows) else None


Parted = tuple[Prefix, nn.Module, torch.Tensor]
"""The halves, and what the first says of the pictures."""


def _at_head(network: nn.Module, _: str, pictures: torch.Tensor) -> Parted:
    front, names = copy.deepcopy(network), head_names(network)
    for name in names:
        front.set_submodule(name, nn.Identity())
    prefix = Prefix(front, names)
    dropout = head_dropout(network, names[0], pictures.shape[-1])
    return prefix, Head(network, names, dropout), prefix(pictures)


def _between(network: nn.Module, boundary: str, pictures: torch.Tensor) -> Parted:
    # two pictures to watch, more to compare: what depends on their number shows
    passage = Passage.of(copy.deepcopy(network).eval(), pictures[:2])
    if not passage.parts(boundary):
        raise ValueError(boundary)
    prefix = Prefix(front_of(network, boundary, passage))
    rows = prefix(pictures)
    times, size = len(rows) / len(pictures), pictures.shape[-1]
    return prefix, back_of(network, boundary, passage, image_size=size, times=times), rows


def _equal(network: nn.Module, rest: nn.Module, pictures: torch.Tensor, rows: torch.Tensor) -> bool:
    training = network.training
    network.eval()
    rest.eval()
    try:
        with torch.no_grad():
            whole, parts = network(pictures), rest(rows)
    finally:
        network.train(training)
        rest.train(training)
    return whole.shape == parts.shape and torch.allclose(whole, parts, rtol=1e-4, atol=1e-5)


def _leave_frozen(
    prefix: Prefix, rest: nn.Module, pictures: torch.Tensor, rows: torch.Tensor
) -> bool:
    """What the rest holds and does not use (a class token, positions) will not train.

    False where nothing would, or what the prefix uses too.
    """
    used = _used(rest, rows)
    for name, parameter in rest.named_parameters():
        parameter.requires_grad_(name in used)
    if not used & {name for name, _ in prefix.network.named_parameters()}:
        return bool(used)
    return not used & _used(prefix.network, pictures)


def _used(module: nn.Module, taken: torch.Tensor) -> set[str]:
    """The parameters that a half's result depends on."""
    # a copy, in training before: in evaluation some keep what they once computed from parameters
    watched = copy.deepcopy(module).train().eval().requires_grad_(True)
    parameters = dict(watched.named_parameters())
    with torch.enable_grad():
        try:
            result = watched(taken)
        except Reached as reached:
            result = reached.activations
        if not result.requires_grad:
            return set()
        slopes = torch.autograd.grad(result.sum(), list(parameters.values()), allow_unused=True)
    return {name for name, slope in zip(parameters, slopes, strict=True) if slope is not None}
