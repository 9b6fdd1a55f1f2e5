"""Gradual unfreezing: the head trains first, and stages follow from the last one downwards.

Howard and Ruder 2018 (ULMFiT); with one number, fastai's `fine_tune`. A stage that waits has no
gradients, costs no backward pass, and keeps its BatchNorm statistics. What waits hangs on the epoch
alone, so a resumed training goes on as it would have.
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from carsclf.errors import ConfigError
from carsclf.models.heads import in_heads
from carsclf.models.layers import distances


def none(rest: nn.Module, heads: tuple[str, ...]) -> dict[str, int]:
    """All that trains does so from the start."""
    return {}


def gradual(rest: nn.Module, heads: tuple[str, ...], *, epochs: Sequence[int]) -> dict[str, int]:
    """The epoch, from 0, in which each parameter begins that does not from the start, by its name.

    epochs: done when the last stage begins, the one before it, and so on; at the last of these
    numbers all others do. What stands between the last stage and the head begins with that stage.
    Raises ConfigError for more numbers than there are stages.
    """
    if any(one >= two for one, two in pairwise([0, *epochs])):
        raise ConfigError(f"unfreezing.epochs={[*epochs]}: expected numbers that grow, from 1 on")
    stages = distances(rest, "unfreezing=gradual", coarse=True)
    waiting = {
        name: max(1, stages[name])
        for name, parameter in rest.named_parameters()
        if parameter.requires_grad and not in_heads(name, heads)
    }
    found = sorted(set(waiting.values()))
    if len(epochs) > len(found):
        raise ConfigError(
            f"unfreezing.epochs={[*epochs]}: {type(rest).__name__} trains {len(found)} stages "
            "below its head: expected at most as many numbers"
        )
    begins = {stage: epochs[min(i, len(epochs) - 1)] for i, stage in enumerate(found)}
    return {name: begins[stage] for name, stage in waiting.items()}
