"""Rows of a candidate's frozen network for some pictures, and linear heads fitted to them."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from omegaconf import DictConfig, open_dict

from carsclf.curation.frozen import make_backbone
from carsclf.data.datamodule import CarsDataModule
from carsclf.data.splits import Splits
from carsclf.data.wholes import Wholes
from carsclf.errors import ConfigError
from carsclf.features.extract import extract
from carsclf.features.head_grid import Rows, next_head
from carsclf.machine.precision import FULL
from carsclf.models.boundary import HEAD
from carsclf.models.networks import create
from carsclf.models.pooling import DEFAULT
from carsclf.training.trainer import device_of

PENALTIES = tuple(10 ** (-k / 2) for k in range(1, 11))  # 0.3 to 1e-5, from strong to weak
PATIENCE = 2  # weaker penalties in a row that do no better end a grid: they take the longest
BOTH = ("both", "token", "average")  # by the vector of mode.pool=both that a head is fitted to


@dataclass(frozen=True)
class Head:
    """The best of a grid on validation: its pooling, its penalty, which pictures it got right."""

    pooling: str
    penalty: float
    right: torch.Tensor  # (n,) bool, of the validation pictures
    loss: float  # mean negative log-likelihood there

    @property
    def top1(self) -> float:
        return int(self.right.sum()) / len(self.right)


@dataclass(frozen=True)
class Frozen:
    """What a frozen network says of training and validation pictures, by the pooling's name."""

    rows: Mapping[str, tuple[torch.Tensor, torch.Tensor]]  # (n, d) float32 of train, of val
    targets: tuple[torch.Tensor, torch.Tensor]
    wholes: Wholes  # as what the classes are told

    def best(self) -> Head:
        """The head that is right most often; of equals, the surest."""
        heads = [head for pooling in self.rows for head in self.heads(pooling)]
        return max(heads, key=lambda head: (head.top1, -head.loss))

    def heads(self, pooling: str, among: Sequence[int] | None = None) -> Iterator[Head]:
        """Heads for falling penalties, until two do no better; among: training pictures."""
        x, held = self.rows[pooling]
        y, truth = self.targets[0], self.wholes.targets(self.targets[1])
        if among is not None:
            x, y = x[list(among)], y[list(among)]
        rows, solved = Rows.of(x, y), list[torch.Tensor]()
        best, since = -1.0, 0
        for penalty in PENALTIES:
            solved.append(next_head(rows, solved, len(self.wholes.parts), penalty))
            logits = self.wholes.logits(held @ solved[-1][:, :-1].T + solved[-1][:, -1])
            loss = float(torch.nn.functional.cross_entropy(logits, truth))
            head = Head(pooling, penalty, logits.argmax(1) == truth, loss)
            yield head
            best, since = (head.top1, 0) if head.top1 > best else (best, since + 1)
            if since >= PATIENCE:
                return


def frozen(config: DictConfig, splits: Splits, data: CarsDataModule) -> Frozen:
    """Rows of the training and validation pictures in `splits`; from the feature cache, or new.

    config: with the candidate's network. All poolings that one pass gives are kept apart.
    """
    config = config.copy()
    with open_dict(config.mode):
        config.mode.pool = pool_of_one_pass(config.model.name, config.data.image_size)
    part = copy.copy(data)  # whatever else it says of the data stays
    part.splits, part.extra, part.to_train = splits, {}, splits["train"]
    backbone = make_backbone(config, part, device_of(config))
    found = extract(
        part, backbone.prefix, backbone.normalise,
        boundary=HEAD, views=1, precision=FULL, device=backbone.device,
    )  # fmt: skip
    train, val = (_flat(found[split], len(splits[split])) for split in ("train", "val"))
    rows = {config.mode.pool: (train, val)}
    if config.mode.pool == "both":
        half = train.shape[1] // 2
        parts = (slice(None), slice(half), slice(half, None))
        rows = {name: (train[:, own], val[:, own]) for name, own in zip(BOTH, parts, strict=True)}
    targets = [torch.tensor([s.target for s in splits[split]]) for split in ("train", "val")]
    return Frozen(rows, (targets[0], targets[1]), data.wholes)


@cache
def pool_of_one_pass(name: str, image_size: int) -> str:
    """`both` for a network with a class token, from which token and average can be told apart."""
    try:
        create(name, image_size=image_size, pool="both")
    except (ConfigError, RuntimeError):
        return DEFAULT
    return "both"


def _flat(rows: Any, n: int) -> torch.Tensor:
    return rows[torch.arange(n)].float().flatten(1)
