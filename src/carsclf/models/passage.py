"""Running a network up to the end of one of its modules, and from there on.

What runs before a module and what after it is found by watching one forward pass. The front half
stops at the module's end. The back half is the whole network again, in which whatever ran before
only says the shape of what it would have given: code between modules (a class token put in front,
positions added) goes on working on that, and at the boundary the activations take its place.
"""

import copy
import itertools
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_flatten, tree_unflatten


@dataclass
class Passage:
    """When each module ran in one forward pass, and what came out of it.

    A module's first start and last end are counted in calls and returns of all modules.
    """

    first: dict[str, int] = field(default_factory=dict)
    last: dict[str, int] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    given: dict[str, "Shapes | None"] = field(default_factory=dict)

    @classmethod
    def of(cls, network: nn.Module, pictures: torch.Tensor) -> "Passage":
        """Watches a network in evaluation mode."""
        seen, clock, handles = cls(), itertools.count(), []
        for name, module in network.named_modules():

            def enter(_: Any, args: Any, name: str = name) -> None:
                seen.first.setdefault(name, next(clock))

            def leave(_: Any, args: Any, out: Any, name: str = name) -> None:
                seen.last[name] = next(clock)
                seen.calls[name] = seen.calls.get(name, 0) + 1
                seen.given[name] = Shapes.of(args, out)

            handles.append(module.register_forward_pre_hook(enter))
            handles.append(module.register_forward_hook(leave))
        try:
            with torch.no_grad():
                network(pictures)
        finally:
            for handle in handles:
                handle.remove()
        return seen

    def before(self, name: str, boundary: str) -> bool:
        """Whether a module had run for the last time when the boundary's output was there."""
        return name in self.last and self.last[name] < self.last[boundary]

    def after(self, name: str, boundary: str) -> bool:
        """Whether it ran only later; what never ran may still be asked for something."""
        return name in self.first and self.first[name] > self.last[boundary]

    def parts(self, boundary: str) -> bool:
        """Whether a module ran once and gave one tensor, all that a back half could go on from."""
        shapes = self.given.get(boundary)
        tensors = [] if shapes is None else [x for x in shapes.leaves if isinstance(x, tuple)]
        return self.calls.get(boundary) == 1 and len(tensors) == 1


@dataclass(frozen=True)
class Shapes:
    """What a module gives: tensors whose first dimension is a multiple of its input's, and numbers.

    leaves: per value its multiple, its other dimensions and its type, or the number itself.
    """

    leaves: tuple[tuple[float, torch.Size, torch.dtype] | int | float | None, ...]
    tree: Any

    @classmethod
    def of(cls, args: Any, out: Any) -> "Shapes | None":
        """None for a module that takes or gives no tensors, or gives what cannot be told so."""
        taken = _first_tensor(args)
        leaves, tree = tree_flatten(out)
        plain = all(torch.is_tensor(x) or isinstance(x, int | float | None) for x in leaves)
        if taken is None or not plain or not any(map(torch.is_tensor, leaves)):
            return None
        n = taken.shape[0]
        told = [(x.shape[0] / n, x.shape[1:], x.dtype) if torch.is_tensor(x) else x for x in leaves]
        return cls(tuple(told), tree)

    def zeros(self, args: Any) -> Any:
        """Zeros for another input, which take no memory."""
        taken = _first_tensor(args)
        assert taken is not None
        n, nought = taken.shape[0], torch.zeros((), device=taken.device)
        made = [
            nought.to(leaf[2]).expand(round(leaf[0] * n), *leaf[1])
            if isinstance(leaf, tuple)
            else leaf
            for leaf in self.leaves
        ]
        return tree_unflatten(made, self.tree)

    def around(self, tensor: torch.Tensor) -> Any:
        """The only tensor of what is given, among its numbers."""
        made = [tensor if isinstance(leaf, tuple) else leaf for leaf in self.leaves]
        return tree_unflatten(made, self.tree)


def _first_tensor(args: Any) -> torch.Tensor | None:
    return next((x for x in tree_flatten(args)[0] if torch.is_tensor(x) and x.ndim), None)


class StandIn(nn.Module):
    """Gives zeros of the shapes that the module in its place would give; keeps its attributes."""

    def __init__(self, module: nn.Module, shapes: Shapes) -> None:
        super().__init__()
        known = {k: v for k, v in vars(module).items() if not k.startswith("_")}
        vars(self).update(known)
        self.shapes = shapes

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.shapes.zeros((args, kwargs))


class Entry(nn.Module):
    """Gives the activations that were handed over, whatever comes in."""

    def __init__(self, shapes: Shapes, *, image_size: int, times: float) -> None:
        super().__init__()
        self.shapes, self.image_size, self.times = shapes, image_size, times
        self.held: torch.Tensor | None = None

    def take(self, _: nn.Module, args: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Before the network runs: keeps the activations, and pictures of zeros go in instead."""
        (self.held,) = args
        pictures = round(self.held.shape[0] / self.times)
        return self.held.new_zeros(()).expand(pictures, 3, self.image_size, self.image_size)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        held, self.held = self.held, None
        assert held is not None
        return self.shapes.around(held)


class Reached(Exception):
    """Ends the front half, with its activations."""

    def __init__(self, activations: torch.Tensor) -> None:
        super().__init__()
        self.activations = activations


def stop(_: nn.Module, args: Any, out: Any) -> None:
    """A forward hook at the boundary: what is given may hold numbers beside its one tensor."""
    raise Reached(next(x for x in tree_flatten(out)[0] if torch.is_tensor(x)))


def front_of(network: nn.Module, boundary: str, passage: Passage) -> nn.Module:
    """A copy that raises `Reached` at the boundary's end, without what only runs later."""
    front = copy.deepcopy(network)
    for name in _beside(front, boundary, passage):
        if passage.after(name, boundary):
            front.set_submodule(name, nn.Identity())
    front.get_submodule(boundary).register_forward_hook(stop)
    return front


def back_of(
    network: nn.Module, boundary: str, passage: Passage, *, image_size: int, times: float
) -> nn.Module:
    """A copy that takes activations instead of pictures, without what ran before.

    times: rows of activations per picture.
    """
    back = copy.deepcopy(network)
    for name in _beside(back, boundary, passage):
        shapes = passage.given.get(name)
        if passage.before(name, boundary) and shapes is not None:
            back.set_submodule(name, StandIn(back.get_submodule(name), shapes))
    shapes = passage.given[boundary]
    assert shapes is not None
    entry = Entry(shapes, image_size=image_size, times=times)
    back.set_submodule(boundary, entry)
    back.register_forward_pre_hook(entry.take)
    return back


def _beside(network: nn.Module, boundary: str, passage: Passage, path: str = "") -> list[str]:
    """Modules that neither are the boundary nor hold it, as large as they ran; all but these do."""
    names = []
    for leaf, child in network.named_children():
        name = f"{path}{leaf}"
        if name == boundary:
            continue
        ran = name in passage.first
        below = [n for n in passage.first if n.startswith(f"{name}.")]
        if boundary.startswith(f"{name}.") or (below and not ran):  # lists of modules do not run
            names += _beside(child, boundary, passage, f"{name}.")
        else:
            names.append(name)
    return names
