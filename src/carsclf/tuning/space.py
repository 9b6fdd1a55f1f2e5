"""What is searched: parameters keyed by the Hydra override that sets them.

A search sees *raw* values (an exponent, the index of a choice); a trial sees the plain Python
values they decode to, as Hydra overrides. Keeping the two apart is what keeps numpy scalars,
which OmegaConf refuses and ``torch.load(weights_only=True)`` chokes on, out of a training.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray import tune

from carsclf.errors import ConfigError
from carsclf.options.command_line import quoted

Raw = dict[str, Any]
Value = int | float | str | bool | None
OPTIONS = {"low", "high", "log", "int", "power", "choices"}
RESERVED = {"true", "false", "null", "inf", "nan"}


@dataclass(frozen=True)
class Parameter:
    """One searched option: a range (linear, log, integer, exponent) or a list of choices."""

    key: str
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    integer: bool = False
    power: float | None = None
    choices: tuple[Value, ...] = ()

    @property
    def domain(self) -> Any:
        """The Ray Tune domain of the raw value; a choice is searched by its index."""
        if self.choices:
            return tune.choice(list(range(len(self.choices))))
        if self.integer:
            draw = tune.lograndint if self.log else tune.randint
            return draw(int(self.low), int(self.high) + 1)
        return (
            tune.loguniform(self.low, self.high) if self.log else tune.uniform(self.low, self.high)
        )

    def plain(self, raw: Any) -> int | float:
        """The raw value as a Python number: searchers hand out numpy scalars."""
        value = raw.item() if isinstance(raw, np.generic) else raw
        return int(value) if self.choices or self.integer else float(value)

    def corner(self, step: int) -> int | float:
        """Low end, high end, low end, ... or each choice in turn."""
        if self.choices:
            return step % len(self.choices)
        return self.plain((self.low, self.high)[step % 2])

    def value(self, raw: int | float) -> Value:
        """What the training gets."""
        if self.choices:
            return self.choices[int(raw)]
        if self.power is None:
            return raw
        result = self.power**raw
        return round(result) if self.integer and float(self.power).is_integer() else result

    def to_unit(self, raw: NDArray[Any]) -> NDArray[np.float64]:
        """Raw values on [0, 1]; a choice sits in the middle of its share."""
        raw = np.asarray(raw, dtype=float)
        if self.choices:
            return (raw + 0.5) / len(self.choices)
        low, high = self._ends()
        place = np.log(raw) if self.log else raw
        return np.clip((place - low) / (high - low), 0.0, 1.0)

    def from_unit(self, unit: NDArray[np.float64]) -> NDArray[Any]:
        """Raw values from [0, 1]; integers get equal shares of the line."""
        if self.choices:
            return np.minimum(np.floor(unit * len(self.choices)), len(self.choices) - 1)
        low, high = self._ends()
        place = low + np.asarray(unit) * (high - low)
        raw = np.exp(place) if self.log else place
        return np.clip(np.rint(raw) if self.integer else raw, self.low, self.high)

    def _ends(self) -> tuple[float, float]:
        """Both ends on the searched scale, integers with half a step of margin."""
        margin = 0.5 if self.integer else 0.0
        ends = self.low - margin, self.high + margin
        return (math.log(max(ends[0], 1e-300)), math.log(ends[1])) if self.log else ends


class Space(Sequence[Parameter]):
    """All parameters of a study, in the order of its configuration."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self._parameters = tuple(parameters)
        if not self._parameters:
            raise ConfigError("the space is empty: choose one, for example space=published")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Space":
        """Reads nested YAML; raises ConfigError for an unknown option or an empty range."""
        return cls(list(_leaves(config, ())))

    def __len__(self) -> int:
        return len(self._parameters)

    def __getitem__(self, index: Any) -> Any:
        return self._parameters[index]

    @property
    def domains(self) -> dict[str, Any]:
        """Ray Tune's param_space of raw values."""
        return {p.key: p.domain for p in self}

    def plain(self, raw: Raw) -> Raw:
        """Raw values as Python numbers, in the order of the space."""
        return {p.key: p.plain(raw[p.key]) for p in self}

    def values(self, raw: Raw) -> dict[str, Value]:
        """What the training gets, keyed by override."""
        return {p.key: p.value(raw[p.key]) for p in self}

    def overrides(self, raw: Raw) -> list[str]:
        """The trial as Hydra overrides."""
        return [f"{key}={_literal(value)}" for key, value in self.values(raw).items()]

    def from_unit(self, units: NDArray[np.float64]) -> list[Raw]:
        """Raw values of (n, d) points in the unit cube."""
        columns = [p.from_unit(units[:, i]) for i, p in enumerate(self)]
        return [
            {p.key: p.plain(column[row]) for p, column in zip(self, columns, strict=True)}
            for row in range(len(units))
        ]

    def to_unit(self, raws: Sequence[Raw]) -> NDArray[np.float64]:
        """(n, d) points in the unit cube."""
        return np.stack([p.to_unit(np.array([r[p.key] for r in raws])) for p in self], axis=1)

    def extremes(self) -> Iterator[Raw]:
        """Trials that together use both ends of every range and every choice."""
        for step in range(max(len(p.choices) or 2 for p in self)):
            yield {p.key: p.corner(step) for p in self}

    def largest(self, key: str) -> list[str]:
        """The override with the largest value of one parameter; none where it is not searched."""
        values: list[Any] = [self.values(raw)[key] for raw in self.extremes() if key in raw]
        return [f"{key}={_literal(max(values))}"] if values else []


def _leaves(config: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[Parameter]:
    for key, node in config.items():
        here = (*path, str(key))
        if not isinstance(node, Mapping):
            raise ConfigError(
                f"space.{'.'.join(here)}: expected low and high, or choices, got {node!r}"
            )
        if set(node) & OPTIONS or not node:
            yield _parameter(".".join(here), node)
        else:
            yield from _leaves(node, here)


def _parameter(key: str, node: Mapping[str, Any]) -> Parameter:
    unknown = sorted(set(node) - OPTIONS)
    if unknown:
        raise ConfigError(f"space.{key}: unknown {unknown}; a range takes {sorted(OPTIONS)}")
    if "choices" in node:
        given = node["choices"]
        choices = tuple(given) if isinstance(given, list | tuple) else ()
        if not choices or len(node) > 1:
            raise ConfigError(f"space.{key}: expected a non-empty list of choices and nothing else")
        return Parameter(key, choices=choices)
    if not {"low", "high"} <= set(node):
        raise ConfigError(f"space.{key}: expected both low and high, got {sorted(node)}")
    for flag in ("log", "int"):
        if not isinstance(node.get(flag, False), bool):
            raise ConfigError(f"space.{key}.{flag}={node[flag]}: expected true or false")
    power = node.get("power")
    if power is not None and (
        isinstance(power, bool) or not isinstance(power, int | float) or power <= 0
    ):
        raise ConfigError(f"space.{key}.power={power}: expected a number above 0, or null")
    low, high, log = node["low"], node["high"], node.get("log", False)
    if any(isinstance(end, bool) or not isinstance(end, int | float) for end in (low, high)):
        raise ConfigError(f"space.{key}: low and high must be numbers, got {low!r} and {high!r}")
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError(f"space.{key}: empty range, low={low} must be below high={high}")
    if log and low <= 0:
        raise ConfigError(f"space.{key}: a log range must stay above zero, got low={low}")
    integer = node.get("int", False)
    if integer and not (float(low).is_integer() and float(high).is_integer()):
        raise ConfigError(f"space.{key}: an integer range needs whole ends, got {low} and {high}")
    return Parameter(key, low, high, log, integer, power)


def _literal(value: Value) -> str:
    """A value in Hydra's override grammar."""
    if not isinstance(value, str):
        return json.dumps(value)
    if re.fullmatch(r"[A-Za-z_][\w./-]*", value) and value.lower() not in RESERVED:
        return value
    return quoted(value)
