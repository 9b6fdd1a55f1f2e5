"""Kinds of values: each says what it expects in plain words, and reads a value or refuses it."""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf, open_dict

from carsclf.errors import ConfigError

LONGEST = 255  # bytes of a file's name


class Refused(Exception):
    """The value is not of this kind."""


class Kind:
    """What an option takes."""

    expected: str

    def read(self, value: Any) -> Any:
        """The value as the code wants it; raises Refused."""
        raise NotImplementedError

    def __or__(self, other: "Kind") -> "Kind":
        return Either(self, other)

    @property
    def holds_text(self) -> bool:
        """Whether digits are meant as text."""
        return isinstance(self, Text)


@dataclass(frozen=True)
class Number(Kind):
    """A finite number: `above` and `below` leave the ends out."""

    at_least: float = -math.inf
    at_most: float = math.inf
    above: float = -math.inf
    below: float = math.inf
    name: str = "a number"

    @property
    def expected(self) -> str:  # type: ignore[override]
        ends = {
            "at least": self.at_least,
            "above": self.above,
            "at most": self.at_most,
            "below": self.below,
        }
        told = [f"{word} {end:.12g}" for word, end in ends.items() if math.isfinite(end)]
        return f"{self.name}, {' and '.join(told)}" if told else self.name

    def read(self, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Refused
        inside = self.at_least <= value <= self.at_most and self.above < value < self.below
        if not inside or not math.isfinite(value):
            raise Refused
        return value


@dataclass(frozen=True)
class Whole(Number):
    """A whole number."""

    name: str = "a whole number"

    def read(self, value: Any) -> Any:
        if not isinstance(value, int):
            raise Refused
        return super().read(value)


class Amount(Kind):
    """Of a machine's processors: a part of one, or some."""

    expected = "a number, at least 0: a share below 1 or a whole number"

    def read(self, value: Any) -> Any:
        number = Number(at_least=0).read(value)
        if number > 1 and number != int(number):
            raise Refused
        return number


class Word(Kind):
    """One of a few words, flags or numbers."""

    def __init__(self, *words: str | bool | int) -> None:
        self.words = words
        self.expected = ", ".join(
            str(word).lower() if word is True or word is False else str(word) for word in words
        )

    def read(self, value: Any) -> Any:
        if not any(type(value) is type(word) and value == word for word in self.words):
            raise Refused
        return value


class Flag(Kind):
    """true or false."""

    expected = "true or false"

    def read(self, value: Any) -> Any:
        if not isinstance(value, bool):
            raise Refused
        return value


class Null(Kind):
    """Nothing."""

    expected = "null"

    def read(self, value: Any) -> Any:
        if value is not None:
            raise Refused


class Nothing(Kind):
    """An empty list, or null."""

    expected = "[]"

    def read(self, value: Any) -> Any:
        if value is not None and value != []:
            raise Refused
        return []


class Text(Kind):
    """Any text in one line; digits are text too."""

    expected = "a text"

    def read(self, value: Any) -> Any:
        if not isinstance(value, str | int | float):
            raise Refused
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if not text.strip() or any(ord(letter) < 32 for letter in text):
            raise Refused
        return text


class Name(Text):
    """The name of a folder, below which others may stand."""

    expected = "a folder's name, not absolute, and without '..'"

    def read(self, value: Any) -> Any:
        text = super().read(value)
        path = PurePosixPath(text)
        long = any(len(part.encode(errors="surrogateescape")) > LONGEST for part in path.parts)
        if path.is_absolute() or not path.parts or ".." in path.parts or long:
            raise Refused
        return text


class ProjectName(Text):
    """As Weights & Biases takes it."""

    expected = "a name of at most 128 letters, without / \\ # ? % :"

    def read(self, value: Any) -> Any:
        text = super().read(value)
        if len(text) > 128 or set(text) & set("/\\#?%:"):
            raise Refused
        return text


class Stage(Text):
    """Where a network is cut; which stages it has, it knows itself."""

    expected = "a number of stages, a module's name, or head"

    def read(self, value: Any) -> Any:
        if not isinstance(value, str) or not re.fullmatch(r"\d+|[a-zA-Z_][\w.]*", value):
            raise Refused
        return value


class Device(Text):
    """Where torch runs."""

    expected = "auto, cpu, cuda, cuda:<number> or mps"

    def read(self, value: Any) -> Any:
        if not isinstance(value, str) or not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value):
            raise Refused
        return value


class Items(Kind):
    """A list of one kind, not empty."""

    def __init__(self, kind: Kind, count: int | None = None) -> None:
        self.kind, self.count = kind, count
        many = "" if count is None else f"{count} items, each "
        self.expected = f"a list of {many}{kind.expected}" if many else f"a list: {kind.expected}"

    def read(self, value: Any) -> Any:
        if not isinstance(value, list | tuple) or not value:
            raise Refused
        if len(value) != (self.count or len(value)):
            raise Refused
        return [self.kind.read(item) for item in value]

    @property
    def holds_text(self) -> bool:
        return self.kind.holds_text


class Settings(Kind):
    """Settings by name, which whoever gets them checks."""

    expected = "settings by name, as {key: value}"

    def read(self, value: Any) -> Any:
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise Refused
        return value


class Either(Kind):
    """One of several kinds: the first that takes the value."""

    def __init__(self, *kinds: Kind) -> None:
        self.kinds = kinds
        self.expected = ", or ".join(dict.fromkeys(kind.expected for kind in kinds))

    def read(self, value: Any) -> Any:
        for kind in self.kinds:
            try:
                return kind.read(value)
            except Refused:
                continue
        raise Refused

    @property
    def holds_text(self) -> bool:
        numbers = any(isinstance(kind, Number) for kind in self.kinds)
        return not numbers and any(kind.holds_text for kind in self.kinds)


def checked(
    config: DictConfig, table: Mapping[str, Kind], required: Collection[str] = ()
) -> DictConfig:
    """A copy whose options are of their kinds, digits meant as text being text.

    Options that the configuration does not have are passed over, unless `required`. Raises
    ConfigError naming the option, what was expected and what came.
    """
    missing = sorted(OmegaConf.missing_keys(config))
    config = config.copy()
    for key, kind in table.items():
        if key in missing:
            raise ConfigError(f"{key} has no value: give it as {key}=...")
        parent, _, leaf = key.rpartition(".")
        owner = OmegaConf.select(config, parent) if parent else config
        if owner is None or not OmegaConf.is_dict(owner):
            if parent in config and "." not in parent:
                raise ConfigError(f"{parent}={shown(config[parent])}: expected settings by name")
            continue
        if leaf not in owner and key in required:
            raise ConfigError(f"{key} is gone: give it as +{key}=..., {kind.expected}")
        if leaf not in owner:
            continue
        value = plain(owner[leaf])
        try:
            taken = kind.read(value)
        except Refused:
            raise ConfigError(f"{key}={shown(value)}: expected {kind.expected}") from None
        if taken != value or type(taken) is not type(value):
            with open_dict(owner):
                owner[leaf] = taken
    return config


def plain(value: Any) -> Any:
    """A configuration's node as plain lists and dicts, resolved."""
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def shown(value: Any) -> str:
    """A value as one would write it: text in quotes where it could be taken for something else."""
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{k}: {shown(v)}' for k, v in value.items())}}}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str) and not _is_plain(value):
        return repr(value)
    return str(value)


def _is_plain(text: str) -> bool:
    try:
        return bool(re.fullmatch(r"[\w./:+-]+", text)) and isinstance(yaml.safe_load(text), str)
    except yaml.YAMLError:
        return False
