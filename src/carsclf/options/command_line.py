"""What was typed, before Hydra reads it: names and paths are text, whatever letters they hold.

Hydra's grammar makes numbers of `name=2024_12` (20241201) and `name=1.10` (1.1), and stops at
brackets, equals signs, quotes and every letter outside ASCII, as in `data.root=/home/jörg/[1] b`.
"""

import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from carsclf.errors import ConfigError, nearest, one_line_errors
from carsclf.files import AnyPath, cache_root
from carsclf.options.help import commented_settings
from carsclf.options.kinds import Items, Settings
from carsclf.options.table import COMMANDS

QUOTED = re.compile(r"""'(\\.|[^'\\])*'|"(\\.|[^"\\])*\"""")
PLAIN = re.compile(r"[\w./:@%+-]+", re.ASCII)  # what neither Hydra nor a shell reads otherwise
MULTIRUN = ("-m", "--multirun")
SEVERAL = ("callbacks", "experiment", "space")
"""Groups of which several options go together."""
SWEEPS = re.compile(r"(choice|range|interval|glob|shuffle|sort)\(")


def run(main: Callable[[], Any]) -> None:
    """Runs an entry point: text as it was typed, and mistakes in one line."""
    script = Path(sys.argv[0])
    OmegaConf.register_new_resolver("commented_settings", commented_settings, replace=True)
    OmegaConf.register_new_resolver("cache_root", lambda: str(cache_root()), replace=True)
    try:
        with one_line_errors():
            arguments = joined_experiments(expanded(flags_first(sys.argv[1:])))
            check_groups(arguments, script.parent / "conf")
            sys.argv[1:] = as_typed(arguments, script.stem)
            main()
    except KeyboardInterrupt:  # where there was nothing to go on with
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None


def flags_first(arguments: Sequence[str]) -> list[str]:
    """`-m` before the overrides: argparse takes them in one place only."""
    flags = [a for a in arguments if a in MULTIRUN]
    return [*flags, *(a for a in arguments if a not in MULTIRUN)]


def joined_experiments(arguments: Sequence[str]) -> list[str]:
    """`+experiment=` adds to the experiment that stands there, if any: Hydra takes a list of them.

    It stands in the defaults already, so that Hydra itself would refuse the plus.
    """
    added = [a for a in arguments if a.startswith(("+experiment=", "++experiment="))]
    if not added:
        return list(arguments)
    all_of = [a for a in arguments if a.lstrip("+").startswith("experiment=")]
    names = [a.partition("=")[2].strip("[]\"'") for a in all_of]
    whole = names[0] if len(names) == 1 else f"[{','.join(names)}]"
    first = arguments.index(all_of[0])
    rest = [a for a in arguments[first:] if a not in all_of]
    return [*arguments[:first], f"experiment={whole}", *rest]


def as_typed(arguments: Sequence[str], command: str) -> list[str]:
    """The arguments with quotes around text that Hydra would take for something else.

    Sweeps (`-m` with commas), null, and what is quoted already stay as they are.
    """
    table = COMMANDS.get(command, {})
    sweeps = any(a in MULTIRUN for a in arguments)
    done = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        kind = table.get(key.lstrip("+"))
        text = equals and kind is not None and kind.holds_text and not argument.startswith("-")
        if text and not ("{" in value and _lists_settings(kind)):
            argument = f"{key}={_text(value.strip(), lists=_lists(kind), sweeps=sweeps)}"
        done.append(argument)
    return done


def quoted(text: str) -> str:
    """Text in Hydra's grammar: a backslash counts as one only before a quote, or at the end."""
    return "'" + re.sub(r"(\\*)('|$)", lambda m: 2 * m[1] + m[2].replace("'", "\\'"), text) + "'"


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


def say_next(command: str) -> None:
    """The last line of a command: what to type next."""
    print(f"next: {command}")


def _is_override(line: object) -> bool:
    return isinstance(line, str) and ("=" in line or line.startswith("~"))


def check_groups(arguments: Sequence[str], conf: Path) -> None:
    """Raises ConfigError where a group is given something else than an option's name."""
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or key.startswith("hydra") or not (conf / key.lstrip("+")).is_dir():
            continue
        if value in ("", "null") or value.startswith("{"):
            options = sorted(p.stem for p in (conf / key.lstrip("+")).glob("*.yaml"))
            raise ConfigError(f"{argument}: {nearest(value or 'nothing', options)}")
        # Hydra would take them one over the other
        if value.startswith("[") and "," in value and key.lstrip("+") not in SEVERAL:
            raise ConfigError(f"{argument}: expected one of them")


def _text(value: str, *, lists: bool, sweeps: bool) -> str:
    if value in ("", "null") or QUOTED.fullmatch(value):
        return value
    if sweeps and ("," in value or SWEEPS.match(value)):
        return value
    if lists and value.startswith("[") and value.endswith("]"):
        items = [item.strip() for item in value[1:-1].split(",")] if value[1:-1].strip() else []
        # a comma within quotes: the list is written in Hydra's grammar already
        whole = all(QUOTED.fullmatch(item) or not re.search("['\"]", item) for item in items)
        return (
            f"[{','.join(_text(i, lists=False, sweeps=False) for i in items)}]" if whole else value
        )
    return value if _read_as_it_is(value) else quoted(value)


def _read_as_it_is(value: str) -> bool:
    try:
        return OverridesParser.create().parse_override(f"key={value}").value() == value
    except HydraException:
        return False


def _lists_settings(kind: Any) -> bool:
    """Whether a list may hold {key: value}, which Hydra's grammar reads."""
    return isinstance(kind, Items) and any(
        isinstance(one, Settings) for one in getattr(kind.kind, "kinds", ())
    )


def _lists(kind: Any) -> bool:
    return isinstance(kind, Items) or any(map(_lists, getattr(kind, "kinds", ())))
