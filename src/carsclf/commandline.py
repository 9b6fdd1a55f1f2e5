"""A command line before Hydra reads it, and the commands that are printed to be typed next."""

import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml
from omegaconf import DictConfig, OmegaConf

from carsclf.errors import ConfigError, one_line_errors
from carsclf.files import AnyPath, cache_root
from carsclf.help import commented_settings

PLAIN = re.compile(r"[\w./:@%+-]+", re.ASCII)  # what neither Hydra nor a shell reads otherwise


def run(main: Callable[[], object]) -> None:
    """Runs a `@hydra.main` function: a user's mistakes end in one line and status 1."""
    OmegaConf.register_new_resolver("commented_settings", commented_settings, replace=True)
    OmegaConf.register_new_resolver("cache_root", lambda: str(cache_root()), replace=True)
    try:
        with one_line_errors():
            sys.argv[1:] = expanded(sys.argv[1:])
            main()
    except KeyboardInterrupt:  # where there was nothing to go on with
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None


def expanded(arguments: Sequence[str]) -> list[str]:
    """The overrides of the file that `overrides=<file>` names, followed by the other arguments.

    So that `--cfg job`, `--help` and `-m` know of them too. Several files, a sweep, are left to it.
    """
    named = [a.partition("=")[2].strip("\"'") for a in arguments if a.startswith("overrides=")]
    if len(named) != 1 or named[0] in ("", "null") or "," in named[0]:
        return list(arguments)
    first = next(i for i, a in enumerate(arguments) if a.startswith("overrides="))
    while first and _is_override(arguments[first - 1]) and arguments[first - 1][0] != "-":
        first -= 1  # argparse wants all overrides in one place, between flags
    own = [a for a in arguments[first:] if not a.startswith("overrides=")]
    return [*arguments[:first], *read_overrides(named[0]), *own]


def read_overrides(path: AnyPath) -> list[str]:
    """The overrides in a file such as a study's best.yaml; raises ConfigError in one line."""
    try:
        listed = yaml.safe_load(Path(path).expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(
            f"overrides={path} cannot be read: {' '.join(str(error).split())}"
        ) from None
    if not isinstance(listed, list) or not all(map(_is_override, listed)):
        raise ConfigError(f"overrides={path}: expected a list of key=value lines")
    return listed


def argument(key: str, value: AnyPath | Sequence[AnyPath]) -> str:
    """`key=value` or `key=[value,...]` as one types it, quoted for Hydra and shell if needed."""
    several = not isinstance(value, str | os.PathLike)
    texts = [os.fspath(item) for item in value] if several else [os.fspath(value)]
    if all(map(PLAIN.fullmatch, texts)):
        joined = ",".join(texts)
        return f"{key}=[{joined}]" if several else f"{key}={joined}"
    joined = ",".join('"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in texts)
    return shlex.quote(f"{key}=[{joined}]" if several else f"{key}={joined}")


def check_given(config: DictConfig) -> None:
    """Refuses a configuration that lacks what only the user knows."""
    if missing := sorted(OmegaConf.missing_keys(config)):
        raise ConfigError(f"{missing[0]} has no value: give it as {missing[0]}=...")


def say_next(command: str) -> None:
    """The last line of a command: what to type next."""
    print(f"next: {command}")


def _is_override(line: object) -> bool:
    return isinstance(line, str) and ("=" in line or line.startswith("~"))
