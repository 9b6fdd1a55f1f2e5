"""Which runs are one configuration, and what it is to its study: studies tell which is which."""

from dataclasses import replace
from typing import Any

from carsclf.report.flat import Flat
from carsclf.report.groups import Group
from carsclf.report.material import Material, TrainedRun
from carsclf.report.settings import identity, is_default, same, says_something, under
from carsclf.report.studies import INCUMBENT, METRIC, StudyMaterial


def make_groups(material: Material) -> list[Group]:
    """All configurations with their roles: best first, then those that a final passed over.

    A study decides on validation, and what it kept is kept here: choosing anew by the split of
    judgement would flatter. Proposals that nobody retrained come along.
    """
    groups = [_group(runs, material.split) for runs in _gathered(material).values()]
    for study in material.studies:
        groups = _with_roles(groups, study)
        retrained = any(g.study is study and g.role == "searched" for g in groups)
        if (
            study.proposes
            and not retrained
            and material.split == "val"
            and study.summary.metric == METRIC
        ):
            kind = (study.model, study.mode)
            groups.append(Group(*kind, (), "val", study.proposal, "searched", study))
    return sorted(_told_once(groups), key=lambda g: (g.passed_over, -g.accuracy, sum(g.hours)))


def _told_once(groups: list[Group]) -> list[Group]:
    """What several studies began with is one configuration, where their finals made equal runs."""
    kept: dict[Any, Group] = {}
    for group in groups:
        key: Any = id(group)
        if group.role == "baseline" and group.study and group.trial is not None:
            seeds = tuple(run.run.seed for run in group.runs)
            key = (identity(group.config), seeds, *group.seeds, group.passed_over)
        first = kept.setdefault(key, group)
        if first is not group and group.study and group.trial is not None:
            kept[key] = replace(first, also=(*first.also, (group.study, group.trial)))
    return [*kept.values()]


def _gathered(material: Material) -> dict[Any, list[TrainedRun]]:
    """Runs of one configuration; two studies' finals stay apart, as equal seeds are equal runs.

    A run by hand joins the final of its configuration where it was judged on the same photos.
    """
    gathered: dict[Any, list[TrainedRun]] = {}
    for run in sorted(material.runs, key=lambda r: r.study is None):
        own = identity(run.config)
        key = (str(run.study.folder) if run.study else "", run.trial, own)
        if run.study is None:
            photos = _photos(run, material.split)
            joined = (
                k
                for k, (first, *_) in gathered.items()
                if k[2] == own and k[0] and _photos(first, material.split) == photos
            )
            key = next(joined, key)
        gathered.setdefault(key, []).append(run)
    return gathered


def _photos(run: TrainedRun, split: str) -> set[str]:
    return set(run.predictions[split].ids) if split in run.predictions else set()


def _group(runs: list[TrainedRun], split: str) -> Group:
    first, run, config = runs[0], runs[0].run, runs[0].config
    return Group(
        *(run.model, run.mode, tuple(runs), split, config),
        role=_role(first.study, first.trial),
        study=first.study,
        default=is_default(config),
        trial=first.trial,
    )


def _role(study: StudyMaterial | None, trial: int | None) -> str:
    """Of a configuration in a study's final."""
    if study is None or trial is None:
        return ""
    if study.role(trial) == INCUMBENT:
        return "baseline"
    return "searched" if trial == study.proposed else "further"


def _with_roles(groups: list[Group], study: StudyMaterial) -> list[Group]:
    """What was trained by hand of the study's own: its proposal, and what it began with."""
    own = {g.role for g in groups if g.study is study}
    free = [g for g in groups if not g.role and _same_training(g.config, study)]
    found: dict[int, str] = {}
    for role, config in (("searched", study.proposal), ("baseline", study.config)):
        fits = (g for g in free if _differences(g.config, config, study) == [])
        group = next((g for g in fits if id(g) not in found), None)
        if group is not None and role not in own and (study.proposes or role == "baseline"):
            found[id(group)] = role
    return [replace(g, role=found[id(g)], study=study) if id(g) in found else g for g in groups]


def _same_training(config: Flat, study: StudyMaterial) -> bool:
    """What the study left to the machine (auto), a run's configuration has settled."""
    kept = [key for key in _common(config, study.config) if not under(key, study.searched)]
    return all(study.config[k] == "auto" or same(config[k], study.config[k]) for k in kept)


def _differences(config: Flat, other: Flat, study: StudyMaterial) -> list[str]:
    keys = [key for key in _common(config, other) if under(key, study.searched)]
    return [key for key in keys if not same(config[key], other[key])]


def _common(one: Flat, other: Flat) -> list[str]:
    return [k for k in one if k in other and says_something(k)]
