"""What is known before a search begins: the study's own configuration, and what is added to it."""

from collections.abc import Iterable, Mapping
from typing import Any

from carsclf.errors import ConfigError, mistakes, one_line
from carsclf.options.command_line import read_overrides
from carsclf.tuning.space import Space
from carsclf.tuning.study.composition import Composition
from carsclf.tuning.trial import Start
from carsclf.tuning.workers.recorded import Table


def known_starts(given: Iterable[Any], composition: Composition, space: Space) -> list[Start]:
    """The incumbent, which is the study as composed, and the entries of `search.start`.

    An entry is a list of overrides (or a text of them, with blanks between), which go on top of
    the study's own, or the best.yaml of an earlier study, of which only what this space searches is
    taken: its data or its image size may have been others. Raises ConfigError naming an entry that
    does not compose.
    """
    values = composition.values([], space)
    starts = [Start("incumbent", [], *space.raw_of(values), values)]
    for entry in given:
        overrides = _overrides(entry, space)
        try:
            values = composition.values(overrides, space)
        except mistakes() as error:
            raise ConfigError(f"search.start: {_shown(entry)}: {one_line(error)}") from None
        starts.append(Start("start", overrides, *space.raw_of(values), values))
    return starts


def recorded_start(table: Table, known: Mapping[str, float]) -> Start:
    """The recorded training nearest to the values known by name; others: the middle."""
    raw = table.raw(table.row(table.middle(known)))
    return Start("incumbent", table.space.overrides(raw), raw)


def _overrides(entry: Any, space: Space) -> list[str]:
    if isinstance(entry, str) and entry.endswith((".yaml", ".yml")):
        searched = {parameter.key for parameter in space}
        taken = [o for o in read_overrides(entry) if o.split("=")[0].lstrip("+") in searched]
        if not taken:
            raise ConfigError(f"search.start: {entry} sets nothing that this space searches")
        return taken
    listed = entry.split() if isinstance(entry, str) else entry
    if not isinstance(listed, list | tuple) or not all("=" in str(item) for item in listed):
        raise ConfigError(
            f"search.start: {_shown(entry)}: expected a list of overrides or a best.yaml, for "
            "example search.start='[\"optimizer=sgd optimizer.lr=0.1\",runs/tune/old/best.yaml]'"
        )
    return [str(item) for item in listed]


def _shown(entry: Any) -> str:
    return " ".join(map(str, entry)) if isinstance(entry, list | tuple) else str(entry)
