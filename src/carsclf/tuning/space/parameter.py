"""One searched parameter: its range or choices, and the choice of another under which it counts.

A search sees *raw* values (an exponent, the index of a choice); a trial sees the plain Python
values they decode to, as Hydra overrides. Keeping the two apart is what keeps numpy scalars,
which OmegaConf refuses and ``torch.load(weights_only=True)`` chokes on, out of a training.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from ray import tune

Raw = dict[str, Any]
Value = int | float | str | bool | None
ROUNDING = 16  # steps of a float by which a power and its logarithm may miss each other


class Condition(NamedTuple):
    """The key of another parameter, and which of its choices, as text."""

    parent: str
    choice: str


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
    condition: Condition | None = None

    @cached_property
    def name(self) -> str:
        """Unique in its space, where a key may have a range per choice of another parameter."""
        # Ray takes a name apart at each slash
        return (
            f"{self.key}@{self.condition.choice.replace('/', '|')}" if self.condition else self.key
        )

    @property
    def place(self) -> str:
        """Where the configuration has it."""
        return f"space.{self.key}" + (f".{self.condition.choice}" if self.condition else "")

    @property
    def extent(self) -> str:
        """What it takes, in words."""
        if self.choices:
            return ", ".join(map(text, self.choices))
        ends = f"{self.value(self.corners[0])} to {self.value(self.corners[1])}"
        if self.integer:
            ends += f", powers of {self.power}" if self.power else ", whole numbers"
        return ends

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

    @property
    def corners(self) -> list[int | float]:
        """Raw values of both ends, or of each choice."""
        if self.choices:
            return list(range(len(self.choices)))
        return [self.plain(self.low), self.plain(self.high)]

    @property
    def middle(self) -> int | float:
        """The raw value halfway."""
        return self.plain(self.from_unit(np.array(0.5))[()])

    def value(self, raw: int | float) -> Value:
        """What the training gets."""
        if self.choices:
            return self.choices[int(raw)]
        if self.power is None:
            return raw
        result = self.power**raw
        return round(result) if self.integer and float(self.power).is_integer() else result

    def raw(self, value: Any) -> int | float:
        """The raw value that decodes to this one, else to the nearest in the range.

        Of a list, the first where none is it; of a range, the middle where `value` is no number.
        """
        if self.choices:
            return next((i for i, c in enumerate(self.choices) if same(c, value)), 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            return self.middle
        found = value if self.power is None else self._exponent(value)
        found = min(max(found, self.low), self.high)
        return self.plain(round(found) if self.integer else found)

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

    def _exponent(self, value: float) -> float:
        """The raw value of a power, to the last bit where there is one."""
        assert self.power is not None
        logarithm = math.log(value) if value > 0 else -math.inf
        exponent = logarithm / math.log(self.power)
        if self.integer or math.isinf(exponent):
            return exponent
        up = down = exponent
        for _ in range(ROUNDING):
            for near in (down, up):
                if self.low <= near <= self.high and self.power**near == value:
                    return near
            up, down = math.nextafter(up, math.inf), math.nextafter(down, -math.inf)
        return exponent


def text(value: Any) -> str:
    """A choice as one would write it as a key in YAML."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:.12g}" if isinstance(value, int | float) else str(value)


def same(one: Any, other: Any) -> bool:
    """Equal, and a flag is no number."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)
