"""A head for another list of classes: rows of an earlier one taken by name, and rows for new ones.

Qi et al., CVPR 2018 (weight imprinting) begin new rows at class means; there without a bias.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from carsclf.data.mapping import ClassMapping
from carsclf.data.samples import list_some
from carsclf.errors import CheckpointError
from carsclf.models.checkpoint_files import StateDict
from carsclf.models.heads import in_heads


@dataclass(frozen=True)
class Wanted:
    """The classes of a head in order, and whether rows of an earlier one are kept for them."""

    names: Sequence[str]
    keep: bool = False
    mapping: ClassMapping = field(default_factory=ClassMapping)


@dataclass(frozen=True)
class KnownRows:
    """What became of the rows of an earlier head, by the names of classes."""

    kept: list[str]  # those that are what they were, under their name of now
    merged: list[str]  # that began at the mean of several
    parts: list[str]  # that began as a share of the class that they are told as
    new: list[str]
    dropped: list[str]  # by their names of then

    def __str__(self) -> str:
        told = [f"{len(self.kept)} rows kept by name"]
        for what, names in asdict(self).items():
            if names and what != "kept":
                told.append(f"{len(names)} {what} ({list_some(names, 3)})")
        return ", ".join(told)

    def record(self) -> dict[str, Any]:
        """For run.json: names, and of those kept the number."""
        return {**asdict(self), "kept": len(self.kept)}


def rows_by_name(
    state: StateDict, own: StateDict, heads: tuple[str, ...], before: Sequence[str], wanted: Wanted
) -> tuple[StateDict, KnownRows]:
    """The state dict with a head for the wanted classes; `own` has rows for those that are new.

    Merged classes begin at the mean of their rows with log n on the bias, the tangent to the
    logarithm of their summed exponentials where their logits agree; of n parts of a known class
    each has its row with -log n, so that their probabilities sum to what it had. Raises
    CheckpointError where no class is known, or heads are of other features.
    """
    begins, rows = _beginnings(before, wanted)
    if not begins:
        raise CheckpointError(
            f"model.head=keep: none of {len(wanted.names)} classes is one of the run's "
            f"{len(before)} ({list_some(before, 3)}): name them in data.mapping, or take "
            "model.head=random"
        )
    shares = Counter(begins.values())
    made = dict(state)
    for name, new in own.items():
        if not in_heads(name, heads):
            continue
        old = state.get(name)
        if old is None or old.shape[1:] != new.shape[1:] or len(old) != len(before):
            there = "not there" if old is None else " x ".join(map(str, old.shape))
            raise CheckpointError(
                f"model.head=keep: {name} is {there} in that run, and its rows have to fit "
                f"{' x '.join(map(str, new.shape))}: is mode.pool as it was, and model.name?"
            )
        made[name] = new.clone()
        for place, wanted_name in enumerate(wanted.names):
            if (key := begins.get(wanted_name)) is None:
                continue
            if len(rows[key]) == 1 and shares[key] == 1:
                made[name][place] = old[rows[key][0]]  # to the bit
            else:
                shift = math.log(len(rows[key]) / shares[key]) if new.ndim == 1 else 0.0
                made[name][place] = old[rows[key]].mean(0) + shift
    return made, _told(before, wanted, begins, rows)


def _beginnings(
    before: Sequence[str], wanted: Wanted
) -> tuple[dict[str, str], dict[str, list[int]]]:
    """Class -> name whose rows it begins from; and those rows."""
    rows: dict[str, list[int]] = defaultdict(list)
    for place, old in enumerate(before):
        rows[wanted.mapping.name(old)].append(place)
    ways = {name: (name, wanted.mapping.report.get(name)) for name in wanted.names}
    begins = {
        name: next(way for way in own if way in rows)
        for name, own in ways.items()
        if any(way in rows for way in own)
    }
    return begins, rows


def _told(
    before: Sequence[str], wanted: Wanted, begins: dict[str, str], rows: dict[str, list[int]]
) -> KnownRows:
    used = {place for key in begins.values() for place in rows[key]}
    own = [name for name, key in begins.items() if name == key]
    return KnownRows(
        kept=[name for name in own if len(rows[name]) == 1],
        merged=[name for name in own if len(rows[name]) > 1],
        parts=[name for name, key in begins.items() if name != key],
        new=[name for name in wanted.names if name not in begins],
        dropped=[name for place, name in enumerate(before) if place not in used],
    )


def mean_rows(
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    *,
    known: Sequence[int],
    examples: torch.Tensor,
    new: Sequence[int],
    means: torch.Tensor,
) -> None:
    """Puts rows for new classes at their class means into a linear head, in place.

    examples: (known, width) features of a picture of each known class; means: (new, width). Around
    the mean known row a new one points from the centre of the examples to its class mean; it is as
    long as makes its own logit rise there by what known classes' logits rise on their examples,
    and at the centre its logit is their mean one. So nothing depends on where the features' origin
    lies, nor on what is added to all rows alike.
    """
    base, centre = weight[known].mean(0), examples.mean(0)
    rise = ((weight[known] - base) * (examples - centre)).sum(1).mean()
    away = means - centre
    squared = away.square().sum(1, keepdim=True)
    added = rise * away / squared.clamp(min=torch.finfo(weight.dtype).tiny)
    weight[new] = base + added
    if bias is not None:
        bias[new] = bias[known].mean() - added @ centre
