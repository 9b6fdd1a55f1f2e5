"""Runs that differ in their seed only are one configuration; studies tell which is which."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from carsclf.analysis.comparison import Interval, wilson
from carsclf.analysis.mistakes import split_errors
from carsclf.records import Predictions
from carsclf.report.material import METRIC, Flat, Material, StudyMaterial, TrainedRun
from carsclf.report.words import plain

BESIDE = ("logger", "objective", "space", "search", "cluster", "resources")
"""Groups that say nothing of what was trained."""
CHANCE = {
    *("seed", "data.split_seed", "data.root", "data.workers", "look", "name", "runs", "resume"),
    *("overrides", "trainer.accelerator", "trainer.devices", "trainer.strategy"),
    *("trainer.log_every_n_steps", "trainer.deterministic", "mode.cache"),
}
"""Keys in which runs of one configuration may differ."""
MODELS = {
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "inception_v4": "Inception-v4",
    "tf_efficientnet_lite0": "Lite0",
    "tf_efficientnet_lite2": "Lite2",
    "mobilenetv2_100": "MobileNetV2",
}
"""How models are called on the page; others keep timm's name."""
WORDS = {"finetune": "fine-tuned", "freeze": "frozen", "partial": "partly frozen"}
ROLES = {"baseline": ", baseline", "winner": ", searched", "": ""}


@dataclass(frozen=True)
class Group:
    """Runs of one configuration, judged on one split; or a study's own word for its winner."""

    model: str
    mode: str
    runs: tuple[TrainedRun, ...]
    split: str
    config: Flat
    role: str = ""
    study: StudyMaterial | None = None
    note: str = ""

    @property
    def label(self) -> str:
        """What figures and tables call it; random weights are marked."""
        mark = " [RANDOM weights]" if self.random else ""
        return f"{self.kind}{ROLES[self.role]}{self.note}{mark}"

    @property
    def kind(self) -> str:
        """Model and mode."""
        return called(self.model, self.mode)

    @property
    def random(self) -> bool:
        if not self.runs:
            return self.study is not None and self.study.random_weights
        return any(run.run.weights == "random" for run in self.runs)

    @cached_property
    def seeds(self) -> list[float]:
        """Accuracy of each run in [0, 1]; of a winner that was not retrained, the search's own."""
        if not self.runs:
            assert self.study is not None
            assert self.study.summary.best is not None
            return [self.study.summary.best]
        return [self._accuracy(run) for run in self.runs]

    def _accuracy(self, run: TrainedRun) -> float:
        if self.split in run.predictions:
            return float(hits(run.predictions[self.split]).mean())
        return float(run.run.metrics[f"{self.split}/top1"])

    @property
    def accuracy(self) -> float:
        return float(np.mean(self.seeds))

    @property
    def deviation(self) -> float:
        """Standard deviation over seeds (n - 1); NaN for one."""
        return float(np.std(self.seeds, ddof=1)) if len(self.seeds) > 1 else math.nan

    @property
    def hours(self) -> list[float]:
        """Wall-clock of each run."""
        return [run.run.seconds / 3600 for run in self.runs]

    @property
    def images(self) -> int | None:
        """Photos of the split; None where nobody wrote it down."""
        if not self.runs:
            return None
        run = self.runs[0]
        if self.split in run.predictions:
            return len(run.predictions[self.split].ids)
        return run.run.split_sizes.get(self.split)

    @property
    def interval(self) -> Interval:
        """Wilson's for the mean over seeds; of the photos drawn, not of the seeds."""
        if not self.images:
            return Interval(self.accuracy, math.nan, math.nan)
        return wilson(self.accuracy * self.images, self.images)

    @cached_property
    def typical(self) -> TrainedRun | None:
        """The run of median accuracy (the lower one of two) that has predictions."""
        there = [
            (accuracy, i)
            for i, (accuracy, run) in enumerate(zip(self.seeds, self.runs, strict=False))
            if self.split in run.predictions
        ]
        return self.runs[sorted(there)[(len(there) - 1) // 2][1]] if there else None

    @property
    def predictions(self) -> Predictions | None:
        """Those of the typical run."""
        return None if self.typical is None else self.typical.predictions[self.split]

    @cached_property
    def error_kinds(self) -> pd.DataFrame | None:
        """Of the typical run; None without predictions, or where class names have no parts."""
        told = self.predictions
        return told and split_errors(told.targets, told.predicted, told.class_names)

    @cached_property
    def shares(self) -> tuple[list[str], np.ndarray] | None:
        """Ids, sorted, and the share of seeds that got each photo right; None if not the same."""
        told = [r.predictions[self.split] for r in self.runs if self.split in r.predictions]
        if not told or any(set(p.ids) != set(told[0].ids) for p in told):
            return None
        orders = [np.argsort(p.ids) for p in told]
        mean = np.mean([hits(p)[o] for p, o in zip(told, orders, strict=True)], axis=0)
        return sorted(told[0].ids), mean


def called(model: str, mode: str) -> str:
    """resnet18, finetune -> ResNet-18 fine-tuned."""
    return f"{MODELS.get(model, model)} {WORDS.get(mode, mode)}"


def hits(predictions: Predictions) -> np.ndarray:
    """(n,) bool: right or not."""
    return predictions.predicted == predictions.targets


def best_by_mode(groups: Iterable[Group]) -> dict[str, Group]:
    """The first group of each mode: the best one, as groups stand best first."""
    best: dict[str, Group] = {}
    for group in groups:
        best.setdefault(group.mode, group)
    return best


def make_groups(material: Material) -> list[Group]:
    """All configurations, with their roles, best first; winners nobody retrained come along."""
    gathered: dict[frozenset[Any], list[TrainedRun]] = {}
    for run in material.runs:
        gathered.setdefault(_identity(run.config), []).append(run)
    groups = [
        Group(r[0].run.model, r[0].run.mode, tuple(r), material.split, r[0].config)
        for r in gathered.values()
    ]
    for study in material.studies:
        groups = _with_roles(groups, study)
        retrained = any(g.study is study and g.role == "winner" for g in groups)
        if not retrained and material.split == "val" and study.summary.metric == METRIC:
            winner = Group(study.model, study.mode, (), "val", study.winner, "winner", study)
            groups.append(winner)
    return sorted(_told_apart(groups), key=lambda g: -g.accuracy)


def _with_roles(groups: list[Group], study: StudyMaterial) -> list[Group]:
    """Of the study's own training: the winner, and the baseline (its own settings, or else the
    first of the runs named)."""
    free = [g for g in groups if not g.role and _same_training(g.config, study)]
    winner = next((g for g in free if _differences(g.config, study.winner, study) == []), None)
    rest = [g for g in free if g is not winner]
    base = next((g for g in rest if _differences(g.config, study.config, study) == []), None)
    baseline = base or (rest[0] if rest else None)
    roles = {id(winner): "winner", id(baseline): "baseline"}
    return [replace(g, role=roles[id(g)], study=study) if id(g) in roles else g for g in groups]


def _same_training(config: Flat, study: StudyMaterial) -> bool:
    """What the study left to the machine (auto), a run's configuration has settled."""
    kept = [key for key in _common(config, study.config) if not under(key, study.searched)]
    return all(study.config[k] == "auto" or _same(config[k], study.config[k]) for k in kept)


def _differences(config: Flat, other: Flat, study: StudyMaterial) -> list[str]:
    keys = [key for key in _common(config, other) if under(key, study.searched)]
    return [key for key in keys if not _same(config[key], other[key])]


def _common(one: Flat, other: Flat) -> list[str]:
    return [k for k in one if k in other and k not in CHANCE and not under(k, BESIDE)]


def under(key: str, parents: Iterable[str]) -> bool:
    """Whether a dotted key is one of the parents or lies below one."""
    return any(key == parent or key.startswith(f"{parent}.") for parent in parents)


def _same(one: Any, other: Any) -> bool:
    numbers = [v for v in (one, other) if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) == 2:
        return math.isclose(*numbers, rel_tol=1e-9)
    return str(one).lower() == str(other).lower()  # a choice kept as text


def _identity(config: Flat) -> frozenset[Any]:
    kept = {k: v for k, v in config.items() if k not in CHANCE and not under(k, BESIDE)}
    return frozenset((k, str(v)) for k, v in kept.items())


def _told_apart(groups: list[Group]) -> list[Group]:
    """Groups of one label, and those without a role beside such with one, get what they differ in:
    one or two settings, or else their optimizer, or else the name of their first run."""
    result = []
    for group in groups:
        name = "label" if group.role else "kind"
        same = [g for g in groups if getattr(g, name) == getattr(group, name) and g.runs]
        if len(same) < 2 or not group.runs:
            result.append(group)
            continue
        common = set.intersection(*(set(g.config) for g in same)) - CHANCE
        keys = [k for k in group.config if k in common and not under(k, BESIDE)]
        keys = [k for k in keys if len({str(g.config[k]) for g in same}) > 1]
        told = ", ".join(f"{k.split('.')[-1]} {plain(group.config[k])}" for k in keys)
        if not 0 < len(keys) <= 2 or "_target_" in "".join(keys):
            optimizers = [_optimizer(g) for g in same]
            own = _optimizer(group)
            told = own if optimizers.count(own) == 1 else group.runs[0].name
        result.append(replace(group, note=f" ({told})"))
    return result


def _optimizer(group: Group) -> str:
    return str(group.config.get("optimizer._target_", "")).rpartition(".")[2]
