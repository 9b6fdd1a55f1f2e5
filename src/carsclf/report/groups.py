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
from carsclf.report.flat import Flat
from carsclf.report.material import Material, TrainedRun
from carsclf.report.settings import identity, is_default, same, says_something, under
from carsclf.report.studies import INCUMBENT, METRIC, StudyMaterial

MODELS = {
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "inception_v4": "Inception-v4",
    "tf_efficientnet_lite0": "Lite0",
    "tf_efficientnet_lite2": "Lite2",
    "mobilenetv2_100": "MobileNetV2",
}
"""How models are called on the page, whatever their weights; others keep timm's name."""
WORDS = {"finetune": "fine-tuned", "freeze": "frozen", "partial": "partly frozen"}
ROLES = {
    "baseline": ", baseline",
    "searched": ", searched",
    "further": ", searched, runner-up",
    "": "",
}
"""A study's: what it began with, what its search proposes, and what else came into its final."""
DEFAULT, START, UNTRAINED = ", our default", ", known before", ", not retrained"


@dataclass(frozen=True)
class Group:
    """Runs of one configuration, judged on one split; or a study's own word for its proposal."""

    model: str
    mode: str
    runs: tuple[TrainedRun, ...]
    split: str
    config: Flat
    role: str = ""
    study: StudyMaterial | None = None
    note: str = ""
    default: bool = False
    """Whether it is trained as train.py trains if nothing is tuned."""
    trial: int | None = None
    """In the study's final: the trial whose configuration this is."""

    @property
    def label(self) -> str:
        """What figures and tables call it; random weights and mere trials are marked."""
        mark = " [RANDOM weights]" if self.random else ""
        role = DEFAULT if self.default and not self.found else ROLES[self.role]
        role = START if self.given else role
        role += "" if self.runs else UNTRAINED
        return f"{self.kind}{role}{self.note}{mark}"

    @property
    def found(self) -> bool:
        """Whether a study proposes it."""
        return self.role in ("searched", "further")

    @property
    def given(self) -> bool:
        """Whether that study was told of it (search.start), so that no search found it."""
        if self.study is None or not self.found:
            return False
        trial = self.study.proposed if self.trial is None else self.trial
        return self.study.role(trial) == "start"

    @property
    def passed_over(self) -> bool:
        """Whether its study's final kept another configuration, whatever it reaches here."""
        if self.study is None or self.trial is None:
            return False
        return self.trial != self.study.summary.winner

    @property
    def kind(self) -> str:
        """Model and mode."""
        return called(self.model, self.mode)

    @property
    def size(self) -> Any:
        """Pixels of a picture's side."""
        return self.config.get("data.image_size")

    @property
    def precision(self) -> str:
        """In which numbers it was trained."""
        known = {run.run.precision for run in self.runs}
        if not self.runs and self.study is not None and self.study.record is not None:
            known = {self.study.record.precision}
        return ", ".join(sorted(known))

    @property
    def random(self) -> bool:
        if not self.runs:
            return self.study is not None and self.study.random_weights
        return any(run.run.weights == "random" for run in self.runs)

    @cached_property
    def seeds(self) -> list[float]:
        """Accuracy of each run in [0, 1]; of a proposal nobody retrained, the search's own."""
        if not self.runs:
            assert self.study is not None
            return [self.study.reached]
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
    def training(self) -> float:
        """Hours of one training: wall-clock, mean over the runs; NaN without one."""
        return float(np.mean(self.hours)) if self.runs else math.nan

    @property
    def uncounted(self) -> str:
        """What its hours leave out, in words: features may have been kept by an earlier run."""
        kept = self.mode != "finetune" and self.config.get("mode.cache")
        return " (features found in the cache not counted)" if kept else ""

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
    return f"{MODELS.get(model.split('.')[0], model)} {WORDS.get(mode, mode)}"


def hits(predictions: Predictions) -> np.ndarray:
    """(n,) bool: right or not."""
    return predictions.predicted == predictions.targets


def best_by_mode(groups: Iterable[Group]) -> dict[str, Group]:
    """The first group of each mode: the one to use, as groups stand in that order."""
    best: dict[str, Group] = {}
    for group in groups:
        best.setdefault(group.mode, group)
    return best


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
    return sorted(groups, key=lambda g: (g.passed_over, -g.accuracy, sum(g.hours)))


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
