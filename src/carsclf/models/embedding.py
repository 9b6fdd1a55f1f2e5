"""CLIP's embedding of a picture as the features of a timm network, so that its head stays linear.

timm keeps the projection of a CLIP network as its classifier. Here it stands before the classifier,
in a place that timm leaves empty, and gives rows of unit length; what follows is a head as any.
"""

import torch
from torch import nn
from torch.nn.functional import normalize

from carsclf.errors import ConfigError
from carsclf.models.networks import head_names

PLACES = ("fc_norm", "head.pre_logits")  # last before the classifier, in ViT and EVA; in ConvNeXt
EXAMPLE = "vit_base_patch16_clip_quickgelu_224.openai"


class Embedding(nn.Linear):
    """CLIP's projection of pooled features, (n, width) to (n, embedding) rows of unit length."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return normalize(super().forward(input), dim=-1)


def embedding_width(network: nn.Module) -> int | None:
    """Numbers in the embedding that the head sees; None where it sees plain features."""
    module = dict(network.named_modules()).get(_place(network) or "")
    return module.out_features if isinstance(module, Embedding) else None


def add_embedding(network: nn.Module, width: int, name: str) -> tuple[nn.Linear, nn.Linear]:
    """Puts an embedding before the classifier, and a classifier of its width; both untrained.

    Returns them. Raises ConfigError where the network has no place for it.
    """
    place, head = check_place(network, name), head_names(network)[0]
    features = network.get_submodule(head).in_features
    embedding = Embedding(features, width)  # type: ignore[arg-type]
    classifier = nn.Linear(width, network.num_classes)  # type: ignore[arg-type]
    network.set_submodule(place, embedding)
    network.set_submodule(head, classifier)
    return embedding, classifier


def check_place(network: nn.Module, name: str) -> str:
    """Where an embedding would stand; ConfigError where the network has no such place."""
    if (place := _place(network)) is None:
        raise ConfigError(
            f"model.text: {name} cannot take a head made of class names: take a CLIP network "
            f"whose classifier is its projection, such as model.name={EXAMPLE}"
        )
    return place


def _place(network: nn.Module) -> str | None:
    modules = dict(network.named_modules())
    free = [place for place in PLACES if isinstance(modules.get(place), nn.Identity | Embedding)]
    return free[0] if free and isinstance(modules.get(head_names(network)[0]), nn.Linear) else None
