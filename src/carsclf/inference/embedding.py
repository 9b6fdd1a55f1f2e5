"""What a network's classifier sees, beside what it says of it, in one pass."""

import threading
from typing import Any

import torch
from torch import nn

from carsclf.models.networks import head_names


def embed(network: nn.Module, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (n, classes), and the pooled features that enter the classifier (n, width).

    pictures: (n, 3, h, w), normalised. Of a network with several classifiers, what enters each of
    them stands side by side. Threads may share a network.
    """
    entered: list[torch.Tensor] = []
    thread = threading.get_ident()

    def note(_: nn.Module, given: tuple[Any, ...]) -> None:
        if threading.get_ident() == thread:
            entered.append(given[0].flatten(1))

    places = [network.get_submodule(name) for name in head_names(network)]
    watch = [place.register_forward_pre_hook(note) for place in places]
    try:
        logits = network(pictures)
    finally:
        for handle in watch:
            handle.remove()
    return logits, torch.cat(entered, dim=1)
