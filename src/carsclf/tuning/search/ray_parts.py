"""A scheduler or a searcher of Ray Tune from its class and options, or the reason why not."""

import inspect
import pkgutil
from collections.abc import Mapping
from typing import Any

from ray.tune.schedulers import (
    PopulationBasedTraining,
    PopulationBasedTrainingReplay,
    ResourceChangingScheduler,
)
from ray.tune.search import Repeater

from carsclf.errors import ConfigError, nearest, one_line
from carsclf.tuning.trial import SCORE

Given = Mapping[str, Any]
"""A class as `_target_`, and its options, of which some may be such parts themselves."""
REWRITES = "it rewrites the configurations of trainings under way, and here a trial is one for good"
REFUSED: dict[type, str] = {
    PopulationBasedTraining: REWRITES,
    PopulationBasedTrainingReplay: REWRITES,
    ResourceChangingScheduler: "it changes the resources of trainings under way, and here all have "
    "the same; give resources.cpu and resources.gpu",
    Repeater: "it trains a configuration again with the same seed; search.final draws other seeds",
}
OURS = ("metric", "mode", "time_attr", "space")


def target_of(given: Given | None) -> str:
    """The class that is named; '' for none."""
    return str((given or {}).get("_target_") or "")


def made(place: str, given: Given, kind: type, filled: Mapping[str, Any]) -> Any:
    """An object of the class that is named, its parts first; of `filled` the innermost get theirs.

    Raises ConfigError naming the class or option that cannot be used, and why.
    """
    whole = _class(place, target_of(given), kind)
    options = {key: value for key, value in given.items() if key != "_target_"}
    for key in options:
        if key in OURS and kind is not object:
            raise ConfigError(f"{place}.{key}: the study gives it; remove {place}.{key}")
    taken = inspect.signature(whole).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in taken.values()):
        for key in options.keys() - taken.keys():
            raise ConfigError(
                f"{place}.{key}: {whole.__name__} has no such option: {nearest(key, taken)}"
            )
    parts = {
        key: made(f"{place}.{key}", value, kind if key == "searcher" else object, filled)
        for key, value in options.items()
        if isinstance(value, Mapping) and "_target_" in value
    }
    if not parts:
        options = {key: filled[key] for key in filled if key in taken} | options
    try:
        return whole(**{**options, **parts})
    except Exception as error:  # whatever a constructor says of the options it got
        raise ConfigError(f"{place}: {whole.__name__}: {one_line(error)}") from None


def _class(place: str, target: str, kind: type) -> type:
    try:
        found = pkgutil.resolve_name(target)
    except Exception as error:  # whatever a module says while it is imported
        raise ConfigError(f"{place}._target_={target}: {one_line(error)}") from None
    if not isinstance(found, type) or not issubclass(found, kind):
        raise ConfigError(f"{place}._target_={target}: expected {_named(kind)}")
    for refused, reason in REFUSED.items():
        if issubclass(found, refused):
            raise ConfigError(f"{place}._target_={target}: {reason}")
    return found


def _named(kind: type) -> str:
    return "a class" if kind is object else f"a {kind.__name__} of Ray Tune, or null"


def claim(place: str, part: Any, space: Mapping[str, Any]) -> None:
    """Sets metric, mode and, for a searcher, the space."""
    try:
        done = part.set_search_properties(SCORE, "max", **space)
    except Exception as error:  # such as a kind of range that it does not know
        raise ConfigError(f"{place}: {type(part).__name__}: {one_line(error)}") from None
    if not done:
        raise ConfigError(f"{place}: {type(part).__name__} does not take metric, mode and space")


def check_grace(given: Mapping[str, Any], scheduler: Any, horizon: int) -> None:
    """A rule that waits longer than any training is no rule; Ray's default counts seconds."""
    options = inspect.signature(type(scheduler)).parameters
    if "grace_period" not in options:
        return
    grace = given.get("grace_period", options["grace_period"].default)
    if grace > horizon:
        raise ConfigError(
            f"search.scheduler.grace_period={grace:g}: a training has {horizon} epochs, so nothing "
            f"would be stopped; give '+search.scheduler.grace_period={max(1, horizon // 10)}'"
        )
