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
from carsclf.models.networks import head_name

HEAD = "head"


class Prefix(nn.Module):
    """Everything up to a boundary, always in evaluation mode, never with gradients."""

    def __init__(self, network: nn.Module, *, to_head: bool) -> None:
        super().__init__()
        self.network, self.to_head = network.eval().requires_grad_(False), to_head

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(n, 3, h, w) normalised floats to the activations at the boundary."""
        network: Any = self.network
        with torch.no_grad():
            maps = network.forward_features(pictures)
            return network.forward_head(maps, pre_logits=True) if self.to_head else maps

    @cached_property
    def key(self) -> str:
        """A key of its weights."""
        digest = hashlib.blake2b(digest_size=16)
        for name, tensor in sorted(self.network.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy())
        return digest.hexdigest()

    def train(self, mode: bool = True) -> "Prefix":
        return super().train(False)  # frozen BatchNorm keeps its statistics


class Head(nn.Module):
    """The classifier alone, below the same module names as in its network.

    dropout: the rate at which the network drops pooled features before its classifier.
    """

    def __init__(self, network: nn.Module, name: str, dropout: float = 0.0) -> None:
        super().__init__()
        self.path, self.dropout, place = name, nn.Dropout(dropout), self
        *parents, leaf = name.split(".")
        for parent in parents:
            place.add_module(parent, nn.Module())
            place = getattr(place, parent)
        place.add_module(leaf, copy.deepcopy(network.get_submodule(name)))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(n, width) pooled features to (n, classes) logits."""
        classifier, features = self.get_submodule(self.path), self.dropout(features)
        if isinstance(classifier, nn.Conv2d):  # of one pixel, as DLA, DPN and BiT classify
            return classifier(features[:, :, None, None]).flatten(1)
        return classifier(features)

    @property
    def linear(self) -> nn.Linear | None:
        """The layer that this head is, where it is a linear one and nothing else."""
        classifier = self.get_submodule(self.path)
        return classifier if type(classifier) is nn.Linear and not self.dropout.p else None


def stages(network: nn.Module) -> list[str]:
    """Module names at whose end the network may be cut, in order: timm's feature stages."""
    known = {name for name, _ in network.named_modules()}
    infos: Any = getattr(network, "feature_info", None) or []
    names = [info.get("module", "") for info in infos]
    return [name for name in dict.fromkeys(names) if name in known and name]


def resolve(boundary: str | int | None, network: nn.Module) -> str | None:
    """The boundary's name for a stage name, a number of frozen stages (0: none), or `head`."""
    names = stages(network)
    if boundary in (None, 0, "0"):
        return None
    if boundary == HEAD or boundary in names:
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


def join(prefix: Prefix, rest: nn.Module) -> dict[str, torch.Tensor]:
    """The whole network's state dict from its two halves, under timm's names."""
    return {**prefix.network.state_dict(), **rest.state_dict()}


def _halves(network: nn.Module, boundary: str, size: int) -> tuple[Prefix, nn.Module] | None:
    """The two halves, or None where they are not the whole."""
    front = copy.deepcopy(network)
    if boundary == HEAD:
        name = head_name(network)
        back = Head(network, name, head_dropout(network, size))
        front.set_submodule(name, nn.Identity())
    else:
        back = copy.deepcopy(network)
        _blank(front, boundary.split("."), before=False)
        _blank(back, boundary.split("."), before=True)
    prefix = Prefix(front, to_head=boundary == HEAD)
    return (prefix, back) if _equal(network, prefix, back, size) else None


def _blank(module: nn.Module, path: list[str], *, before: bool) -> None:
    """Replaces what lies before (with the module at `path`) or after it by Identity."""
    children = list(module.named_children())
    position = [name for name, _ in children].index(path[0])
    for i, (name, _) in enumerate(children):
        if i == position:
            continue
        if (i < position) == before:
            setattr(module, name, nn.Identity())
    child = children[position][1]
    if len(path) > 1:
        _blank(child, path[1:], before=before)
    elif before:
        setattr(module, path[0], nn.Identity())


def _equal(network: nn.Module, prefix: Prefix, rest: nn.Module, size: int) -> bool:
    picture = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    training = network.training
    network.eval()
    rest.eval()
    try:
        with torch.no_grad():
            whole, parts = network(picture), rest(prefix(picture))
    except Exception:
        return False  # the rest met a shape it was not made for
    finally:
        network.train(training)
        rest.train(training)
    return whole.shape == parts.shape and torch.allclose(whole, parts, rtol=1e-4, atol=1e-5)
