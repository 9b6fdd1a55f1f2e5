"""All parameters of a study: from raw values to overrides, to the unit cube, and back."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carsclf.errors import ConfigError
from carsclf.options.command_line import quoted
from carsclf.tuning.space.parameter import Parameter, Raw, Value, same, text
from carsclf.tuning.space.reading import read

RESERVED = {"true", "false", "null", "inf", "nan"}


class Space(Sequence[Parameter]):
    """All parameters of a study, those that others depend on first.

    Raw values always hold every parameter by name, so that searchers need no conditions; of those
    only the active ones reach a training.
    """

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        if not parameters:
            raise ConfigError("the space is empty: choose one, for example space=published")
        keyed = _by_key(parameters)
        self._parameters = tuple(sorted(parameters, key=lambda p: _depth(p, keyed)))
        self._switches = {p.name: _switches(p, keyed) for p in parameters}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Space":
        """Reads nested YAML; raises ConfigError for what `read` refuses, or where it is empty."""
        return cls(read(config))

    def __len__(self) -> int:
        return len(self._parameters)

    def __getitem__(self, index: Any) -> Any:
        return self._parameters[index]

    @property
    def domains(self) -> dict[str, Any]:
        """Ray Tune's param_space of raw values."""
        return {p.name: p.domain for p in self}

    def plain(self, raw: Raw) -> Raw:
        """Raw values as Python numbers, in the order of the space."""
        return {p.name: p.plain(raw[p.name]) for p in self}

    def active(self, raw: Raw) -> list[Parameter]:
        """The parameters that count under the raw values' own choices."""
        on = self._active(raw.__getitem__)
        return [p for p in self if on[p.name]]

    def values(self, raw: Raw) -> dict[str, Value]:
        """What the training gets, keyed by override."""
        return {p.key: p.value(raw[p.name]) for p in self.active(raw)}

    def overrides(self, raw: Raw) -> list[str]:
        """The trial as Hydra overrides."""
        return [f"{key}={_literal(value)}" for key, value in self.values(raw).items()]

    def raw_of(self, values: Mapping[str, Any]) -> tuple[Raw, list[str]]:
        """A configuration's raw values, and in words what of it the space does not hold.

        `values`: plain ones by override, a group's choice by the group. What is not active there,
        or not among them, gets its middle.
        """
        raw, said = {p.name: p.middle for p in self}, []
        for p in self:  # parents come first, so what is active is known by then
            if not self._active(raw.__getitem__)[p.name]:
                continue
            if p.key not in values:
                said.append(f"{p.key} is not set, but {p.place} searches it ({p.extent})")
                continue
            value = values[p.key]
            raw[p.name] = p.raw(value)
            if not same(p.value(raw[p.name]), value):
                said.append(f"{p.key}={_literal(value)} lies outside {p.place} ({p.extent})")
        return raw, said

    def from_unit(self, units: NDArray[np.float64]) -> list[Raw]:
        """Raw values of (n, d) points in the unit cube."""
        columns = [(p.name, p, p.from_unit(units[:, i])) for i, p in enumerate(self)]
        return [
            {name: p.plain(column[row]) for name, p, column in columns} for row in range(len(units))
        ]

    def to_unit(self, raws: Sequence[Raw]) -> NDArray[np.float64]:
        """(n, d) points in the unit cube; what is not active sits at 0.5."""
        return self._points({p.name: np.array([r[p.name] for r in raws]) for p in self})

    def snap(self, units: NDArray[np.float64]) -> NDArray[np.float64]:
        """The (n, d) points that trials at these points are: `to_unit(from_unit(units))`."""
        return self._points({p.name: p.from_unit(units[:, i]) for i, p in enumerate(self)})

    def extremes(self) -> Iterator[Raw]:
        """Few trials that together use both ends of every range and every choice, actively."""
        left = {p.name: list(p.corners) for p in self}
        while pending := [p for p in self if left[p.name]]:
            raw = {p.name: (left[p.name] or p.corners)[0] for p in self}
            raw |= dict(self._path(pending[0]))
            yield raw
            for p in self.active(raw):
                left[p.name] = [corner for corner in left[p.name] if corner != raw[p.name]]

    def largest(self, key: str) -> list[str]:
        """The override with the largest value of one parameter; none where it is not searched."""
        values: list[Any] = [p.value(c) for p in self if p.key == key for c in p.corners]
        return [f"{key}={_literal(max(values))}"] if values else []

    def _active(self, raw: Callable[[str], Any]) -> dict[str, Any]:
        """Whether each parameter counts: a bool, or one per trial where `raw` gives columns."""
        on: dict[str, Any] = {}
        for p in self:
            switches = [on[q] & (raw(q) == index) for q, index in self._switches[p.name]]
            on[p.name] = reduce(or_, switches) if p.condition else True
        return on

    def _points(self, columns: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        on = self._active(columns.__getitem__)
        return np.stack(
            [np.where(on[p.name], p.to_unit(columns[p.name]), 0.5) for p in self], axis=1
        )

    def _path(self, parameter: Parameter) -> Iterator[tuple[str, int]]:
        """The choices that make a parameter count, as (name, index)."""
        name = parameter.name
        while self._switches[name]:
            name, index = self._switches[name][0]
            yield name, index


def _by_key(parameters: Sequence[Parameter]) -> dict[str, list[Parameter]]:
    keyed: dict[str, list[Parameter]] = {}
    for parameter in parameters:
        keyed.setdefault(parameter.key, []).append(parameter)
    return keyed


def _depth(parameter: Parameter, keyed: Mapping[str, list[Parameter]]) -> int:
    """How many others its being active depends on."""
    if parameter.condition is None:
        return 0
    return 1 + max(_depth(parent, keyed) for parent in keyed[parameter.condition.parent])


def _switches(parameter: Parameter, keyed: Mapping[str, list[Parameter]]) -> list[tuple[str, int]]:
    """(name, index of the choice) of what makes it count: any one that is active itself."""
    if parameter.condition is None:
        return []
    parent, choice = parameter.condition
    return [
        (p.name, index)
        for p in keyed[parent]
        for index, offered in enumerate(p.choices)
        if text(offered) == choice
    ]


def _literal(value: Value) -> str:
    """A value in Hydra's override grammar."""
    if not isinstance(value, str):
        return json.dumps(value)
    if re.fullmatch(r"[A-Za-z_][\w./-]*", value) and value.lower() not in RESERVED:
        return value
    return quoted(value)
