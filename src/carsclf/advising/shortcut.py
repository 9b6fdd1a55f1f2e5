"""The cheaper fine-tuning: early layers frozen, what they say of a few views of each photo kept.

On Stanford Cars it is as good as training all of it (experiments/time_to_85).
"""

import shutil
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from hydra import compose
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from carsclf.advising.advice import Advice
from carsclf.advising.plan import VIEWS as OVERRIDE
from carsclf.data.build import transforms_of
from carsclf.errors import ConfigError
from carsclf.files import cache_root
from carsclf.models.boundary import cut, stages
from carsclf.training.configuration import training_part

BELOW = 0.5
"""Share of a forward's multiplications that is frozen at most."""
VIEWS = (3, 2)
"""Of each training picture, where pictures change at random: rather three, and two where keeping
the third takes too much of the time. Two are enough for six epochs (experiments/time_to_85)."""
TRIES = 2  # places that are tried, the deepest first: each costs some forwards
HALF = 2  # bytes of a number that is kept


def half_way(network: nn.Module, size: int) -> tuple[str, int] | None:
    """The deepest place to cut below which at most BELOW of the multiplications lie.

    With the bytes that it keeps of a picture; None where there is none.
    """
    for name, kept in list(_places(network, size))[: -TRIES - 1 : -1]:
        try:
            cut(network, name, size)
        except ConfigError:
            continue
        return name, HALF * kept
    return None


def _places(network: nn.Module, size: int) -> Iterator[tuple[str, int]]:
    """Places early enough with the numbers of their output, in the order in which they run."""
    names = dict.fromkeys(stages(network))
    for name in list(names):  # blocks between those that timm names
        parent, _, last = name.rpartition(".")
        if last.isdigit():
            own = network.get_submodule(parent).named_children()
            names |= dict.fromkeys(f"{parent}.{child}" for child, _ in own)
    passed: dict[str, tuple[int, int]] = {}

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor):
                passed[name] = counter.get_total_flops(), output.numel()

        return hook

    counter = FlopCounterMode(display=False)
    training, device = network.training, next(network.parameters()).device
    hooks = [network.get_submodule(name).register_forward_hook(note(name)) for name in names]
    try:
        with torch.inference_mode(), counter:
            network.eval()(torch.rand(1, 3, size, size, device=device))
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    total = counter.get_total_flops()
    early = {name: (done, kept) for name, (done, kept) in passed.items() if done <= BELOW * total}
    for name in sorted(early, key=lambda name: early[name][0]):
        yield name, early[name][1]


def kept_views(advice: Advice) -> tuple[list[str], Sequence[int]] | None:
    """What trains with kept views, as overrides, and how many there may be, most of them first.

    None where a training's settings exclude them.
    """
    told = ["look=false", *advice.overrides]
    chosen = compose("train", told, return_hydra_config=True).hydra.runtime.choices["augmentation"]
    own = any(one.startswith("augmentation=") for one in advice.overrides)
    random = transforms_of(advice.training)[0].random
    lines = [] if own else [f"augmentation={chosen}"]  # of which mode=partial alone has none
    many = VIEWS if random else (1,)
    partly = ["mode=partial", "mode.boundary=1", *lines, of_views(many[0])]
    try:
        training_part(compose("train", [*told, *partly]))
    except ConfigError:
        return None
    return lines, many


def of_views(many: int) -> str:
    """As an override."""
    return f"{OVERRIDE}{many}"


def room_on_disk() -> float:
    """Bytes that kept views may take: half of what is free."""
    root = cache_root().absolute()
    return shutil.disk_usage(next(p for p in (root, *root.parents) if p.exists())).free / 2
