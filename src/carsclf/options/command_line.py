"""What was typed, before Hydra reads it: names and paths are text, whatever letters they hold.

Hydra's grammar makes numbers of `name=2024_12` (20241201) and `name=1.10` (1.1), and stops at
brackets, equals signs, quotes and every letter outside ASCII, as in `data.root=/home/jörg/[1] b`.
"""

import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from carsclf.errors import ConfigError, nearest, one_line_errors
from carsclf.options.kinds import Items
from carsclf.options.table import COMMANDS

QUOTED = re.compile(r"""'(\\.|[^'\\])*'|"(\\.|[^"\\])*\"""")
SWEEPS = re.compile(r"(choice|range|interval|glob|shuffle|sort)\(")


def run(main: Callable[[], Any]) -> None:
    """Runs an entry point: text as it was typed, and mistakes in one line."""
    script = Path(sys.argv[0])
    with one_line_errors():
        check_groups(sys.argv[1:], script.parent / "conf")
        sys.argv[1:] = as_typed(sys.argv[1:], script.stem)
        main()


def as_typed(arguments: Sequence[str], command: str) -> list[str]:
    """The arguments with quotes around text that Hydra would take for something else.

    Sweeps (`-m` with commas), null, and what is quoted already stay as they are.
    """
    table = COMMANDS.get(command, {})
    sweeps = any(a in ("-m", "--multirun") for a in arguments)
    done = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        kind = table.get(key.lstrip("+"))
        if equals and kind is not None and kind.holds_text and not argument.startswith("-"):
            argument = f"{key}={_text(value.strip(), lists=_lists(kind), sweeps=sweeps)}"
        done.append(argument)
    return done


def quoted(text: str) -> str:
    """Text in Hydra's grammar: a backslash counts as one only before a quote, or at the end."""
    return "'" + re.sub(r"(\\*)('|$)", lambda m: 2 * m[1] + m[2].replace("'", "\\'"), text) + "'"


def typed(key: str, value: object) -> str:
    """`key=value` as one types it into a shell."""
    return shlex.quote(f"{key}={value}")


def check_groups(arguments: Sequence[str], conf: Path) -> None:
    """Raises ConfigError where a group is given something else than an option's name."""
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or key.startswith("hydra") or not (conf / key.lstrip("+")).is_dir():
            continue
        if value in ("", "null") or value.startswith("{"):
            options = sorted(p.stem for p in (conf / key.lstrip("+")).glob("*.yaml"))
            raise ConfigError(f"{argument}: {nearest(value or 'nothing', options)}")


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


def _lists(kind: Any) -> bool:
    return isinstance(kind, Items) or any(map(_lists, getattr(kind, "kinds", ())))
