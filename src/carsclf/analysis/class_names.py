"""What class names such as "Aston Martin Virage Coupe 2012" say: make, model, body and year."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

MAKES = ("AM General", "Aston Martin", "Land Rover")
"""Makes of two words; any other is the first word."""
BODIES = (
    *(f"{cab} Cab" for cab in ("Crew", "Extended", "Regular", "Quad", "Club")),
    *("SuperCab", "Cargo Van", "Passenger Van", "Minivan", "Van"),
    *("SUV", "Sedan", "Coupe", "Convertible", "Hatchback", "Wagon", "Pickup"),
)
"""Longer ones before those that they end in."""
TRIMS = (
    *("Type-S", "Type R", "GS", "SS", "ZR1", "SRT-8", "SRT8", "Abarth", "XKR", "IPL"),
    *("Ron Fellows Edition Z06", "LP 570-4 Superleggera"),
)
"""Stand where other names of Stanford Cars have a body, or after it."""


@dataclass(frozen=True)
class CarName:
    """The parts of a class name; `body` is None where a trim stands in its place."""

    make: str
    model: str
    body: str | None
    year: int


def parse(name: str) -> CarName | None:
    """The parts of "Make Model Body Year"; None where there is no make, model and year."""
    found = re.fullmatch(r"(.+) ((?:19|20)\d\d)", " ".join(name.split()))
    if not found:
        return None
    words, year = found[1], int(found[2])
    make = next((m for m in MAKES if words.startswith(m + " ")), words.split(" ")[0])
    rest = words[len(make) :].strip()
    rest, _ = _without(rest, TRIMS)
    rest, body = _without(rest, BODIES)
    return CarName(make, rest, body, year) if rest else None


def parse_all(names: Sequence[str]) -> list[CarName] | None:
    """The parts of every name; None where any name lacks them: then there is nothing to split."""
    parts = [parse(name) for name in names]
    found = [part for part in parts if part is not None]
    return found if len(found) == len(parts) else None


def _without(words: str, endings: Sequence[str]) -> tuple[str, str | None]:
    """The words before the ending and the ending; an ending with nothing before it is a model."""
    ending = next((e for e in endings if words.endswith(" " + e)), None)
    return (words, None) if ending is None else (words[: -len(ending) - 1], ending)
