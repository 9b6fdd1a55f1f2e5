"""Parameters from nested YAML: each leaf a range or choices, or `by` another parameter's choices.

    optimizer:
      choices: [adamw, sgd]
      lr: {low: 1.0e-4, high: 1.0, log: true}            # always searched
      momentum: {by: optimizer, sgd: {low: 0.5, high: 0.99}}  # with sgd only

A group with choices may have its own parameters beside them; beside `by` stand the choices, and
such parameters of the group as depend on something themselves.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from carsclf.errors import ConfigError, nearest
from carsclf.tuning.space.parameter import Condition, Parameter, text

OPTIONS = {"low", "high", "log", "int", "power", "choices"}


def read(config: Mapping[str, Any]) -> list[Parameter]:
    """All parameters, in the order of the configuration.

    Raises ConfigError for an unknown option, an empty range, or a condition that cannot be met.
    """
    parameters = list(_below(config, ""))
    _check_parents(parameters)
    _check_circles(parameters)
    _check_choices(parameters)
    return parameters


def _below(config: Mapping[str, Any], path: str) -> Iterator[Parameter]:
    for key, node in config.items():
        here = f"{path}.{text(key)}" if path else text(key)
        if not isinstance(node, Mapping):
            raise ConfigError(f"space.{here}: expected low and high, or choices, got {node!r}")
        if "by" in node:
            yield from _conditional(here, node)
        elif "choices" in node:
            own = {k: v for k, v in node.items() if not isinstance(v, Mapping)}
            yield _parameter(here, here, own)
            yield from _below({k: v for k, v in node.items() if k not in own}, here)
        elif set(node) & OPTIONS or not node:
            yield _parameter(here, here, node)
        else:
            yield from _below(node, here)


def _conditional(key: str, node: Mapping[str, Any]) -> Iterator[Parameter]:
    """One parameter for each choice of the other that is listed."""
    parent = node["by"]
    if mixed := sorted(set(node) & OPTIONS):
        raise ConfigError(
            f"space.{key}: expected by or {', '.join(mixed)}, not both: with by, each choice has "
            "low and high, or choices, of its own"
        )
    if not isinstance(parent, str):
        raise ConfigError(f"space.{key}.by={parent}: expected the key of a searched parameter")
    own = {k: v for k, v in node.items() if k != "by" and not _is_conditional(v)}
    if not own:
        raise ConfigError(
            f"space.{key}.by={parent}: nothing stands below it; expected a choice of {parent} with "
            "low and high, or choices"
        )
    for choice, entry in own.items():
        place = f"{key}.{text(choice)}"
        if not isinstance(entry, Mapping):
            raise ConfigError(f"space.{place}: expected low and high, or choices, got {entry!r}")
        condition = Condition(parent, text(choice))
        yield replace(_parameter(key, place, entry), condition=condition)
    yield from _below({k: v for k, v in node.items() if _is_conditional(v)}, key)


def _is_conditional(node: Any) -> bool:
    return isinstance(node, Mapping) and "by" in node


def _check_parents(parameters: Sequence[Parameter]) -> None:
    keys = {p.key for p in parameters}
    for p in parameters:
        if p.condition and p.condition.parent not in keys:
            parent = p.condition.parent
            raise ConfigError(
                f"space.{p.key}.by={parent}: {parent} is not searched: "
                f"{nearest(parent, sorted(keys - {p.key}))}"
            )


def _check_circles(parameters: Sequence[Parameter]) -> None:
    above = {p.key: p.condition.parent for p in parameters if p.condition}
    for key in above:
        seen = [key]
        while (following := above.get(seen[-1])) is not None:
            seen.append(following)
            if following in seen[:-1]:
                circle = " by ".join(seen[seen.index(following) :])
                raise ConfigError(f"the space goes in a circle: {circle}; remove one of these by")


def _check_choices(parameters: Sequence[Parameter]) -> None:
    """Every condition is a choice of its parent."""
    for parent in {p.condition.parent: None for p in parameters if p.condition}:
        lists = [p.choices for p in parameters if p.key == parent]
        depending = [p for p in parameters if p.condition and p.condition.parent == parent]
        if not all(lists):
            raise ConfigError(
                f"space.{depending[0].key}.by={parent}: expected a parameter with choices, and "
                f"space.{parent} has a range"
            )
        offered = list(dict.fromkeys(text(choice) for choices in lists for choice in choices))
        foreign = [p for p in depending if p.condition and p.condition.choice not in offered]
        if foreign:
            gone = _removal(foreign, depending)
            raise ConfigError(
                f"{', '.join(p.place for p in foreign)}: {parent} is one of {', '.join(offered)}; "
                f"remove {'it' if len(foreign) == 1 else 'them'} with {gone}"
            )


def _removal(foreign: Sequence[Parameter], depending: Sequence[Parameter]) -> str:
    """What removes these from the space: all of a key at once where nothing of it would be left."""
    kept = {p.key for p in depending if p not in foreign}
    return " ".join(
        dict.fromkeys(f"~{p.place if p.key in kept else f'space.{p.key}'}" for p in foreign)
    )


def _parameter(key: str, place: str, node: Mapping[str, Any]) -> Parameter:
    if "choices" in node:
        given = node["choices"]
        choices = tuple(given) if isinstance(given, list | tuple) else ()
        if not choices or len(node) > 1:
            raise ConfigError(
                f"space.{place}: expected a non-empty list of choices and nothing else beside it "
                "but parameters of the group"
            )
        return Parameter(key, choices=choices)
    unknown = sorted(text(name) for name in node if name not in OPTIONS)
    if unknown:
        raise ConfigError(f"space.{place}: unknown {unknown}; a range takes {sorted(OPTIONS)}")
    if not {"low", "high"} <= set(node):
        raise ConfigError(f"space.{place}: expected both low and high, got {sorted(node)}")
    for flag in ("log", "int"):
        if not isinstance(node.get(flag, False), bool):
            raise ConfigError(f"space.{place}.{flag}={node[flag]}: expected true or false")
    power = node.get("power")
    if power is not None and (
        isinstance(power, bool) or not isinstance(power, int | float) or power <= 0 or power == 1
    ):
        raise ConfigError(
            f"space.{place}.power={power}: expected a number above 0 other than 1, or null"
        )
    low, high, log = node["low"], node["high"], node.get("log", False)
    if any(isinstance(end, bool) or not isinstance(end, int | float) for end in (low, high)):
        raise ConfigError(f"space.{place}: low and high must be numbers, got {low!r} and {high!r}")
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError(f"space.{place}: empty range, low={low} must be below high={high}")
    if log and low <= 0:
        raise ConfigError(f"space.{place}: a log range must stay above zero, got low={low}")
    integer = node.get("int", False)
    if integer and not (float(low).is_integer() and float(high).is_integer()):
        raise ConfigError(f"space.{place}: an integer range needs whole ends, got {low} and {high}")
    return Parameter(key, low, high, log, integer, power)
