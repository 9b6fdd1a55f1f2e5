"""A state dict as it was found, made to fit a network: through timm's own filter, and told.

timm converts names of original repositories, resamples position embeddings and patches, and drops
what only pretraining used; which function does it is known to its builder alone, so the builder is
asked: it makes the network once more, and what it would have loaded is taken.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import timm
import torch
from torch import nn
from torch.nn.modules.module import _IncompatibleKeys

from carsclf.errors import CheckpointError
from carsclf.models.checkpoint_files import StateDict, short
from carsclf.models.heads import in_heads

# wrappers in whose favour a tie is decided: averaged weights are what their methods evaluate
AVERAGED = ("ema", "teacher", "momentum", "target")
AT_RANDOM = "drawn at random"
JUNK = ("total_ops", "total_params", "n_averaged")  # counters of profilers and of weight averaging


@dataclass
class Fit:
    """What of a state dict goes into a network, and all that does not, with the reason."""

    state: StateDict = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def load_fitting(
    network: nn.Module,
    state: StateDict,
    heads: tuple[str, ...],
    *,
    origin: str,
    name: str,
    args: dict[str, Any],
) -> list[str]:
    """Loads weights into a network of timm's; returns how much, what was changed, and what left out
    and why.

    Only a head of another width and modules that the network does not have may be left out.
    Raises CheckpointError with the whole reason for anything else.
    """
    own = network.state_dict()
    bare, notes = unwrapped(state, own)
    fit = compare(bare, own, heads)
    if fit.wrong:
        direct, bare = bare, filtered(bare, name, num_classes=_classes(network), args=args)
        fit = compare(bare, own, heads)
        notes += _resampled(direct, fit.state)
    if fit.wrong:
        raise CheckpointError(
            f"weights from {origin} do not fit {name}: {'; '.join(fit.wrong)}; is model.name the "
            "network they were trained as, with the same model.args?"
        )
    learnt = {name for name, _ in network.named_parameters()}  # masks may well hold infinity
    if bad := [k for k, v in fit.state.items() if k in learnt and not torch.isfinite(v).all()]:
        raise CheckpointError(
            f"weights from {origin} hold NaN or infinity in {len(bad)} tensors, e.g. {bad[0]}: "
            "that training had diverged; take an earlier checkpoint"
        )
    network.load_state_dict(fit.state, strict=False)
    return [f"{len(fit.state)} of {len(own)} tensors loaded", *notes, *fit.notes]


def unwrapped(state: StateDict, own: StateDict) -> tuple[StateDict, list[str]]:
    """The part of a state dict that is the network, without what wrappers put before its names.

    Wrappers (DDP, torch.compile, Lightning, self-supervision) nest, and one file may hold several
    networks: the prefix under which most of the network's own names appear is taken. Foreign names
    are left for timm's filter, without what stands before all of them alike.
    """
    fits: Counter[str] = Counter({"": 0})
    for name in state:
        parts = name.split(".")
        for depth in range(len(parts)):
            if ".".join(parts[depth:]) in own:
                fits["".join(f"{part}." for part in parts[:depth])] += 1
    best = max(fits, key=lambda p: (fits[p], any(word in p for word in AVERAGED), -len(p)))
    if fits[best] < len(own) / 4:
        best = _wrapped_by(state)
    inside = {k[len(best) :]: v for k, v in state.items() if k.startswith(best)}
    left = Counter(k.split(".")[0] for k in state if not k.startswith(best) and k not in JUNK)
    notes = [f"taken from {best}*"] if best and left else []
    notes += [f"left out: {', '.join(f'{k}.* ({n})' for k, n in left.items())}"] if left else []
    return inside, notes


def _wrapped_by(state: StateDict) -> str:
    """What well-known wrappers put before every name."""
    prefix = ""
    while True:
        first = {k[len(prefix) :].split(".")[0] for k in state}
        wrapper = next(iter(first)) if len(first) == 1 else ""
        if wrapper not in ("_orig_mod", "module", "model", "net", "network", "backbone"):
            return prefix
        prefix += f"{wrapper}."


def compare(state: StateDict, own: StateDict, heads: tuple[str, ...]) -> Fit:
    """What fits by name and shape.

    A module that the network lacks altogether (an auxiliary head, a decoder) may be left out; a
    part more of one that it has means another depth, and another network.
    """
    fit = Fit()
    roots = {name.split(".")[0] for name in own} - {*heads}
    missing, shapes, unknown = [], [], []
    left: Counter[str] = Counter()
    redrawn = [k for k in own if in_heads(k, heads)]
    for name, tensor in state.items():
        if name in own and own[name].shape == tensor.shape:
            fit.state[name] = tensor
        elif name.endswith(JUNK) or in_heads(name, heads):
            continue
        elif name in own:
            shapes.append(f"{name} is {_size(tensor)} there and {_size(own[name])} here")
        elif name.split(".")[0] in roots and "." in name and not _beside_head(name, heads):
            unknown.append(name)
        else:
            left[name.split(".")[0]] += 1
    for name, tensor in own.items():
        # whole numbers are indices, masks and counters, which the network makes itself
        if name not in state and not in_heads(name, heads) and tensor.is_floating_point():
            missing.append(name)
    for found, what in (
        (missing, "missing"),
        (shapes, "of another shape"),
        (unknown, "unknown to it"),
    ):
        if found:
            fit.wrong.append(f"{len(found)} of {len(own)} tensors are {what} ({_some(found)})")
    if left:
        parts = ", ".join(f"{k} ({n} tensors)" for k, n in left.items())
        fit.notes.append(f"left out, as the network has no such part: {parts}")
    for head in heads:
        if all(k in fit.state for k in redrawn if in_heads(k, (head,))):
            continue
        width = state[f"{head}.bias"].shape[0] if f"{head}.bias" in state else None
        there = f"that of the file has {width}" if width else "the file has none that fits"
        fit.notes.append(f"head {head} {AT_RANDOM}: {there}")
    return fit


def filtered(state: StateDict, name: str, *, num_classes: int, args: dict[str, Any]) -> StateDict:
    """The state dict that timm would load into the network of that name."""
    # as many classes as the network has: else timm would drop a head that fits
    overlay = {"state_dict": state, "num_classes": num_classes, "label_offset": 0}
    with torch.random.fork_rng(devices=[]), _watched() as seen:
        try:
            timm.create_model(
                name,
                pretrained=True,
                pretrained_cfg_overlay=overlay,
                **{**args, "num_classes": num_classes},
            )
        except Exception as error:  # a filter stumbles over names it was not made for
            raise CheckpointError(
                f"weights for {name}: timm's filter cannot read them ({short(error)}), whose names "
                f"begin with {_some(list(state))}; is model.name the network they were trained as?"
            ) from None
    return seen[-1]


@contextmanager
def _watched() -> Iterator[list[StateDict]]:
    """Notes what is about to be loaded into a module, instead of loading it."""
    seen: list[StateDict] = []
    loading = nn.Module.load_state_dict

    def note(module: nn.Module, state_dict: Any, *args: Any, **kwargs: Any) -> _IncompatibleKeys:
        seen.append(dict(state_dict))
        return _IncompatibleKeys([], [])

    nn.Module.load_state_dict = note  # type: ignore[method-assign,assignment]
    try:
        yield seen
    finally:
        nn.Module.load_state_dict = loading  # type: ignore[method-assign]


def _resampled(before: StateDict, after: StateDict) -> list[str]:
    changed = [
        f"{k} from {_size(before[k])} to {_size(v)}"
        for k, v in after.items()
        if k in before and before[k].shape != v.shape
    ]
    renamed = len(after.keys() - before.keys())
    notes = [f"resampled by timm: {_some(changed)}"] if changed else []
    return notes + ([f"{renamed} names converted by timm"] if renamed else [])


def _classes(network: nn.Module) -> int:
    return int(network.num_classes)  # type: ignore[arg-type]


def _beside_head(name: str, heads: tuple[str, ...]) -> bool:
    """In the classifier's own container: layers of another kind of head."""
    return any("." in h and name.startswith(h.rpartition(".")[0] + ".") for h in heads)


def _size(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"


def _some(found: list[str]) -> str:
    return ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
