"""What configurations are called on the page: labels carry what differs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from carsclf.report.groups import Group
from carsclf.report.settings import same, says_something
from carsclf.report.words import plain


def _option(target: Any) -> str:
    return str(target).rpartition(".")[2]


SAID: dict[str, Callable[[Any], str]] = {
    "data.image_size": lambda v: f"{plain(v)} px",
    "trainer.precision": plain,
    "optimizer._target_": _option,
    "schedule._target_": _option,
    "trainer.max_epochs": lambda v: f"{plain(v)} epochs",
    "data.batch_size": lambda v: f"batch {plain(v)}",
    "optimizer.lr": lambda v: f"lr {plain(v)}",
}
"""The most telling settings first, and how they are said; others are said by their key."""
EVERYWHERE = ("data.image_size", "trainer.precision")
"""Told where any two configurations differ in them: they change what is compared."""
WITHIN = ("optimizer._target_",)
"""Told where configurations of one network and mode differ in them."""
MOST = 3
"""Settings told besides these before the run's name says it shorter."""


def told_apart(groups: Sequence[Group]) -> list[Group]:
    """The same groups, their notes filled so that no two labels are equal."""
    noted = [replace(group, note=_note(group, groups)) for group in groups]
    labels = [group.label for group in noted]
    return [
        replace(g, note=_joined(g.note, g.runs[0].name))
        if labels.count(g.label) > 1 and g.runs
        else g
        for g in noted
    ]


def _note(group: Group, groups: Sequence[Group]) -> str:
    kin = [g for g in groups if g.kind == group.kind]
    told = bool(group.role or group.default)
    twins = [g for g in (kin if not told else groups) if not told or g.label == group.label]
    words = []
    if group.study and len({str(g.study.folder) for g in twins if g.study}) > 1:
        words.append(group.study.name)
        twins = [g for g in twins if g.study is group.study]
    keys = [k for k in EVERYWHERE if _differ(k, groups)] + [k for k in WITHIN if _differ(k, kin)]
    keys = [key for key in keys if key in group.config]
    more = list(_splitting(group, twins, keys))
    if len(more) > MOST:
        words.append(group.runs[0].name if group.runs else "")
        more = []
    words += [_say(key, group.config.get(key)) for key in [*keys, *more]]
    return _joined("", *words)


def _splitting(group: Group, twins: Sequence[Group], told: Sequence[str]) -> Iterator[str]:
    """The most telling settings, as many as it takes to leave no other group like this one."""
    alike = [g for g in twins if g is not group and all(_same(k, g, group) for k in told)]
    others = sorted({k for g in alike for k in g.config if _telling(k)} - {*SAID})
    for key in [*SAID, *others]:
        left = [g for g in alike if _same(key, g, group)]
        if len(left) < len(alike):
            yield key
        alike = left


def _telling(key: str) -> bool:
    return says_something(key) and not key.endswith(("_target_", "_partial_", "module.path"))


def _same(key: str, one: Group, other: Group) -> bool:
    return same(one.config.get(key), other.config.get(key))


def _differ(key: str, groups: Sequence[Group]) -> bool:
    values = [g.config[key] for g in groups if key in g.config]
    return any(not same(value, values[0]) for value in values)


def _say(key: str, value: Any) -> str:
    return SAID[key](value) if key in SAID else f"{key.split('.')[-1]} {plain(value)}"


def _joined(note: str, *words: str) -> str:
    """(one, two): what stands behind a label."""
    told = [*([note.strip(" ()")] if note else []), *(word for word in words if word)]
    return f" ({', '.join(told)})" if told else ""
