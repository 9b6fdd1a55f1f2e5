"""Settings of a training as dotted keys: which of them say something, and when two are the same."""

import math
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException

import carsclf
from carsclf.report.flat import Flat, flat

BESIDE = ("logger", "objective", "space", "search", "cluster", "resources")
"""Groups that say nothing of what was trained."""
CHANCE = {
    *("seed", "data.split_seed", "data.root", "data.workers", "look", "name", "runs", "resume"),
    *("overrides", "trainer.accelerator", "trainer.devices", "trainer.strategy"),
    *("trainer.log_every_n_steps", "trainer.deterministic", "mode.cache"),
    *("data.packed", "data.references", "model.channels_last", "model.compile"),
}
"""Keys in which runs of one configuration may differ."""
RECIPE = (
    *("optimizer", "schedule", "augmentation", "data.batch_size", "data.transform"),
    *("mixing", "averaging", "class_weights", "resizing", "unfreezing"),
    *("data.sampling", "data.bootstrap", "data.leak", "data.extra", "data.exclude"),
    "data.decisions",
    *("model.text", "model.args", "model.head", "model.new_rows", "reported", "monitor"),
    *("mode.boundary", "mode.label_smoothing", "mode.views", "mode.pool", "mode.method"),
    *("mode.rank", "mode.alpha", "mode.layers", "trainer.gradient_clip_val"),
    *("trainer.gradient_clip_algorithm", "trainer.accumulate_grad_batches"),
)
"""What one tunes. Every option of a training stands here, in PROBLEM, in CHANCE or in BESIDE."""
PROBLEM = (
    *("data.name", "data.source", "data.class_depth", "data.ignore", "data.table", "data.columns"),
    *("data.protocol", "data.val_fraction", "data.test_fraction", "data.fraction", "data.classes"),
    *("data.min_images_per_class", "data.image_size", "data.interpolation", "data.crop"),
    *("data.margin", "data.skip_unreadable", "data.mapping", "model.name", "model.weights"),
    *("mode.name", "trainer.max_epochs", "trainer.precision", "throw_away"),
    "gan",  # whose runs are not compared with others
    "lr_finder",  # what it found and was used is optimizer.lr
)
"""What is given: data, size, network and mode, and the budget."""
NEW: Flat = {
    "mode.pool": "default",
    "data.sampling": "natural",
    "data.extra": [],
    "data.leak": "none",
    "mixing._target_": "carsclf.data.mixing.none",
    "averaging._target_": "carsclf.training.averaging.none",
    "class_weights._target_": "carsclf.training.class_weights.none",
    "resizing._target_": "carsclf.data.resizing.none",
    "unfreezing._target_": "carsclf.training.unfreezing.none",
    **{
        f"{group}._partial_": True
        for group in ("mixing", "averaging", "class_weights", "resizing", "unfreezing")
    },
}
"""What runs of earlier versions do not have in their configuration, and would say there."""
CONF = Path(carsclf.__file__).parents[2] / "conf"


def under(key: str, parents: Iterable[str]) -> bool:
    """Whether a dotted key is one of the parents or lies below one."""
    return any(key == parent or key.startswith(f"{parent}.") for parent in parents)


def says_something(key: str) -> bool:
    """Whether a key tells configurations apart."""
    return key not in CHANCE and not under(key, BESIDE)


def same(one: Any, other: Any) -> bool:
    """Equal numbers, or equal words, whatever they were read from."""
    numbers = [v for v in (one, other) if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) == 2:
        return math.isclose(*numbers, rel_tol=1e-9)
    return str(one).lower() == str(other).lower()  # a choice kept as text


def identity(config: Flat) -> frozenset[Any]:
    """Equal for runs of one configuration, also where an earlier version had fewer options."""
    told = {k: v for k, v in config.items() if says_something(k)}
    return frozenset((k, str(v)) for k, v in told.items() if v is not None and NEW.get(k) != v)


def is_default(config: Flat) -> bool:
    """Whether a network was trained as `train.py` trains it in that mode if nothing is tuned.

    False where conf/ is not at hand (the library without its checkout).
    """
    name, mode = config.get("model.name"), config.get("mode.name")
    default = composed(str(name), str(mode)) if name and mode else None
    if default is None:
        return False
    config = NEW | config
    keys = [key for key in {*default, *config} if under(key, RECIPE)]
    # an option that one of them does not have is one left at null
    return all(same(default.get(k), config.get(k)) for k in keys)


@cache
def composed(model: str, mode: str) -> Flat | None:
    """What train.py composes for a network in a mode; None where it cannot."""
    overrides = [f"mode={mode}", f"model.name='{model}'"]
    try:
        if GlobalHydra.instance().is_initialized():
            return flat(compose("train", overrides))
        if not CONF.is_dir():
            return None
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return flat(compose("train", overrides))
    except HydraException:  # a mode or a configuration of one's own
        return None
