"""What of its features a network's classifier sees, where that is not the network's own choice.

Each pooled vector passes what the network has between its pooling and its classifier (a norm, a
layer) as if it were a picture of one position; several stand side by side.
"""

import re
from functools import cache
from typing import Any, cast

import torch
from torch import nn

from carsclf.errors import ConfigError, nearest

DEFAULT = "default"
POOLS = ("default", "average", "token", "both", "gem")
LAST = re.compile(r"last([1-9]\d*)")
GEM_POWER = 3.0  # the first value of Radenovic et al. 2018, here as it is


def check_pool(pool: str) -> None:
    """Raises ConfigError for what is no pooling."""
    if pool not in POOLS and not LAST.fullmatch(pool):
        raise ConfigError(f"mode.pool={pool}: {nearest(pool, [*POOLS, 'last4'])}; or last<blocks>")


def vectors(pool: str) -> int:
    """How many pooled vectors stand side by side."""
    last = LAST.fullmatch(pool)
    return int(last[1]) if last else 2 if pool == "both" else 1


def pool_of(network: nn.Module) -> str:
    """Which pooling a network has: `default` is its own."""
    return network.pooling if isinstance(network, Pooled) else DEFAULT


def pooled(
    network: nn.Module, pool: str, *, name: str, img_size: tuple[int, int] | None = None
) -> nn.Module:
    """The same timm network with another pooling, and an untrained classifier of its width.

    pool: `average` of all positions; `token`, the class token; `both` of them; `gem`, the
    generalised mean (Radenovic et al. 2018); `last<k>`, the class tokens (else averages) of the
    last k blocks (k = 4: Oquab et al. 2023). img_size: of a network made for one size. Raises
    ConfigError where the network cannot.
    """
    check_pool(pool)
    if pool == DEFAULT:
        return network
    own = type(network)
    network.__class__ = _class_of(own)
    assert isinstance(network, Pooled)
    try:
        network.settle(pool, img_size or network.pretrained_cfg["input_size"][1:])  # type: ignore[index]
    except Exception as error:  # each network has its own way to stumble
        network.__class__ = own  # type: ignore[assignment]
        said = " ".join(str(error).split())[:200]
        raise ConfigError(f"mode.pool={pool} does not go with {name}: {said}") from None
    return network


@cache
def _class_of(own: type[nn.Module]) -> type[nn.Module]:
    # of the same name, by which messages call a network
    return type(own.__name__, (Pooled, own), {})


class Unpoolable(ValueError):
    """Why a network has no such pooling."""


class Pooled(nn.Module):
    """Mixed into a timm network's class: features are pooled vectors, (n, vectors, channels)."""

    pooling: str
    form: str  # of the network's own features: tokens, NCHW or NHWC
    ahead: int  # tokens before those of positions
    pooled_width: int

    def settle(self, pool: str, size: tuple[int, int]) -> None:
        """Learns the form of the network's features from a picture; replaces the classifier."""
        from carsclf.models.networks import head_names  # which makes networks of these

        if len(head_names(self)) > 1:
            raise Unpoolable("it has several classifiers, each of which sees something else")
        self.pooling, own = pool, cast(Any, super())
        self.ahead = int(getattr(self, "num_prefix_tokens", 0) or 0)
        training, picture = self.training, next(self.parameters()).new_zeros(1, 3, *size)
        self.eval()
        with torch.no_grad():
            self.form = _form_of(own.forward_features(picture), self)
            vectors = self.forward_features(picture)
            self.pooled_width = self.forward_head(vectors, pre_logits=True).shape[1]
        self.train(training)
        if self.num_classes:  # some come without a classifier, and get theirs later
            self.reset_classifier(self.num_classes)  # type: ignore[arg-type]

    def reset_classifier(self, num_classes: int, *_: Any, **__: Any) -> None:
        """An untrained linear layer of the pooled width in the classifier's place."""
        from carsclf.models.networks import head_names

        (head,) = head_names(self)
        self.num_classes = num_classes
        place = next(self.parameters())
        layer = nn.Linear(self.pooled_width, num_classes, device=place.device, dtype=place.dtype)
        self.set_submodule(head, layer.train(self.training))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(pictures))

    def forward_features(self, pictures: torch.Tensor) -> torch.Tensor:
        """(n, 3, h, w) to pooled vectors, (n, vectors, channels)."""
        if last := LAST.fullmatch(self.pooling):
            return torch.stack(self._of_blocks(pictures, int(last[1])), 1)
        features = cast(Any, super()).forward_features(pictures)
        tokens, positions = self._parted(features)
        if self.pooling in ("token", "both") and not tokens.shape[1]:
            raise Unpoolable("it has no class token: mode.pool=average or gem")
        vectors = {
            "average": lambda: [positions.mean(1)],
            "token": lambda: [tokens[:, 0]],
            "both": lambda: [tokens[:, 0], positions.mean(1)],
            "gem": lambda: [_generalised_mean(positions)],
        }[self.pooling]()
        return torch.stack(vectors, 1)

    def forward_head(self, features: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """(n, vectors, channels) to (n, pooled width), or logits."""
        n, vectors, channels = features.shape
        each = self._as_picture(features.reshape(n * vectors, channels))
        # a view, so that dropout of the network's own is still seen to enter the classifier
        wide = cast(Any, super()).forward_head(each, pre_logits=True).reshape(n, -1)
        return wide if pre_logits else self.get_classifier()(wide)  # type: ignore[operator]

    def _parted(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(class and other tokens, positions), each (n, number, channels)."""
        if self.form == "tokens":
            return features[:, : self.ahead], features[:, self.ahead :]
        positions = features.flatten(1, 2) if self.form == "NHWC" else features.flatten(2).mT
        return positions[:, :0], positions

    def _as_picture(self, vectors: torch.Tensor) -> torch.Tensor:
        """(m, channels) as features of pictures with a single position, tokens being the same."""
        if self.form == "tokens":
            return vectors[:, None].expand(-1, self.ahead + 1, -1)
        return vectors[:, None, None] if self.form == "NHWC" else vectors[:, :, None, None]

    def _of_blocks(self, pictures: torch.Tensor, last: int) -> list[torch.Tensor]:
        """A vector of each of the last blocks, of which all must be as wide as the features."""
        own, known = cast(Any, super()), getattr(self, "blocks", None)
        blocks = len(known) if isinstance(known, nn.Sequential | nn.ModuleList) else 0
        if blocks < last:
            raise Unpoolable(f"it has {blocks} blocks in a row to take the last {last} of")
        tokens = self.form == "tokens"
        more: dict[str, Any] = {"return_prefix_tokens": True} if self.ahead else {}
        try:
            features, maps = own.forward_intermediates(
                pictures, indices=last, norm=True, output_fmt="NLC" if tokens else "NCHW", **more
            )
        except (TypeError, AssertionError):  # not all networks take all of these
            raise Unpoolable("timm cannot tell what its blocks say: mode.pool=average") from None
        channels = self._parted(features)[1].shape[2]
        found = [
            m[1][:, 0] if self.ahead else m.mean(1) if tokens else m.flatten(2).mean(2)
            for m in maps
        ]
        if any(vector.shape[1] != channels for vector in found):
            raise Unpoolable("its blocks differ in width: mode.pool=average or gem")
        return found


def _form_of(features: Any, network: nn.Module) -> str:
    if not torch.is_tensor(features) or features.ndim not in (3, 4):
        raise Unpoolable("its features are neither a map nor tokens")
    return "tokens" if features.ndim == 3 else getattr(network, "output_fmt", "NCHW")


def _generalised_mean(positions: torch.Tensor) -> torch.Tensor:
    """(n, positions, channels) to (n, channels), of what is above zero."""
    return positions.clamp(min=1e-6).pow(GEM_POWER).mean(1).pow(1 / GEM_POWER)
