"""Cutting a network in two at a stage boundary: a frozen prefix and a trained rest.

Both halves keep the names of the whole, so their state dicts put together are the whole's again.
"""

import copy
import hashlib
from functools import cached_property

import torch
from torch import nn

from carsclf.errors import ConfigError, nearest
from carsclf.models.networks import head_name

HEAD = "head"


class Prefix(nn.Module):
    """Everything up to a boundary, always in evaluation mode, never with gradients."""

    def __init__(self, network: nn.Module, *, to_head: bool) -> None:
        super().__init__()
        self.network, self.to_head = network.eval().requires_grad_(False), to_head

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(n, 3, h, w) normalised floats to the activations at the boundary."""
        with torch.no_grad():
            if self.to_head:
                return self.network(pictures)
            return self.network.forward_features(pictures)  # type: ignore[operator]

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
    """The classifier alone, below the same module names as in its network."""

    def __init__(self, network: nn.Module, name: str) -> None:
        super().__init__()
        self.path, place = name, self
        *parents, leaf = name.split(".")
        for parent in parents:
            place.add_module(parent, nn.Module())
            place = getattr(place, parent)
        place.add_module(leaf, copy.deepcopy(network.get_submodule(name)))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(n, width) pooled features to (n, classes) logits."""
        return self.get_submodule(self.path)(features)


def stages(network: nn.Module) -> list[str]:
    """Module names at whose end the network can be cut, in order: timm's feature stages."""
    return [info["module"] for info in network.feature_info]  # type: ignore[union-attr]


def resolve(boundary: str | int | None, network: nn.Module) -> str | None:
    """The boundary's name for a stage name, a number of frozen stages (0: none), or `head`."""
    names = stages(network)
    if boundary in (None, 0, "0"):
        return None
    if boundary == HEAD or boundary in names:
        return str(boundary)
    if str(boundary).isdigit() and int(boundary) <= len(names):
        return names[int(boundary) - 1]
    known = [HEAD, *names]
    raise ConfigError(
        f"mode.boundary={boundary}: expected 0 to {len(names)} frozen stages, or "
        f"{nearest(str(boundary), known)}"
    )


def cut(network: nn.Module, boundary: str, image_size: int) -> tuple[Prefix, nn.Module]:
    """(prefix, rest) with rest(prefix(x)) == network(x), checked on a random picture.

    Raises ConfigError where the network does not run its modules one after the other there.
    """
    front, back = copy.deepcopy(network), copy.deepcopy(network)
    if boundary == HEAD:
        back = Head(network, head_name(network))
        front.reset_classifier(0)  # type: ignore[operator]
    else:
        _blank(front, boundary.split("."), before=False)
        _blank(back, boundary.split("."), before=True)
    prefix = Prefix(front, to_head=boundary == HEAD)
    if not _equal(network, prefix, back, image_size):
        raise ConfigError(
            f"{type(network).__name__} cannot be cut at {boundary}: its modules do not simply "
            f"follow one another there; mode.boundary={HEAD} always works"
        )
    return prefix, back


def join(prefix: Prefix, rest: nn.Module) -> dict[str, torch.Tensor]:
    """The whole network's state dict from its two halves, under timm's names."""
    return {**prefix.network.state_dict(), **rest.state_dict()}


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
    except (RuntimeError, ValueError, TypeError, AttributeError):
        return False  # the rest met a shape it was not made for
    finally:
        network.train(training)
        rest.train(training)
    return whole.shape == parts.shape and torch.allclose(whole, parts, rtol=1e-4, atol=1e-5)
