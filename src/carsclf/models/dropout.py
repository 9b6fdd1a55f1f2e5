"""What is dropped at random while training, found by watching a network do it."""

import copy
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class _Watch(TorchFunctionMode):
    """Keeps the rate and the result of every dropout that acts: modules and functions alike."""

    def __init__(self) -> None:
        super().__init__()
        self.acted: list[tuple[float, torch.Tensor]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is F.dropout and kwargs["training"] and kwargs["p"] > 0:
            self.acted.append((float(kwargs["p"]), result))
        return result


def head_dropout(network: nn.Module, classifier: str, image_size: int) -> float:
    """The rate at which pooled features are dropped on their way into the classifier; 0 for none.

    Dropout inside the classifier itself, or further ahead, does not count.
    """
    watched: Any = copy.deepcopy(network).eval()
    entered: list[torch.Tensor] = []
    watched.get_submodule(classifier).register_forward_pre_hook(
        lambda _, given: entered.append(given[0])
    )
    with torch.no_grad():
        maps = watched.forward_features(torch.zeros(2, 3, image_size, image_size))
        with _Watch() as watch:
            watched.train().forward_head(maps)
    if not entered:
        return 0.0
    place = entered[0].data_ptr()  # a view of what the dropout gave, flattened or not
    rates = [rate for rate, result in watch.acted if result.data_ptr() == place]
    return rates[-1] if rates else 0.0
