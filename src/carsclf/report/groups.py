"""Runs that differ in their seed only are one configuration: what it reaches, and its name."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from carsclf.analysis.comparison import Interval, wilson
from carsclf.analysis.mistakes import split_errors
from carsclf.records import Predictions
from carsclf.report.flat import Flat
from carsclf.report.material import TrainedRun
from carsclf.report.studies import StudyMaterial

MODELS = {
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "inception_v4": "Inception-v4",
    "tf_efficientnet_lite0": "Lite0",
    "tf_efficientnet_lite2": "Lite2",
    "mobilenetv2_100": "MobileNetV2",
}
"""How models are called on the page, whatever their weights; others keep timm's name."""
WORDS = {
    "finetune": "fine-tuned",
    "freeze": "frozen",
    "partial": "partly frozen",
    "adapt": "adapted",
}
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
    also: tuple[tuple[StudyMaterial, int], ...] = ()
    """Further studies that began with the same runs, and which trial they were there."""

    @property
    def label(self) -> str:
        """What figures and tables call it; random weights, leaks and mere trials are marked."""
        mark = " [RANDOM weights]" if self.random else ""
        mark += " [LEAKED validation]" if self.leaked else ""
        role = DEFAULT if self.default and not self.found else ROLES[self.role]
        role = START if self.given else role
        role += "" if self.runs else UNTRAINED
        return f"{self.kind}{role}{self.note}{mark}"

    def trial_in(self, folder: str) -> int | None:
        """Its trial in the study of that folder; None where it is none of that study's final."""
        studies = [(self.study, self.trial), *self.also]
        return next((t for study, t in studies if study and str(study.folder) == folder), None)

    @property
    def studies(self) -> list[str]:
        """Folders of the studies that it belongs to."""
        return [str(s.folder) for s in (self.study, *(study for study, _ in self.also)) if s]

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

    @property
    def leaked(self) -> bool:
        """Whether copies of its validation photos were in training."""
        return any(run.run.leak for run in self.runs)

    @cached_property
    def seeds(self) -> list[float]:
        """Accuracy of each run in [0, 1]; of a proposal nobody retrained, the search's own."""
        if not self.runs:
            assert self.study is not None
            return [self.study.reached]
        return [self._accuracy(run) for run in self.runs]

    def _accuracy(self, run: TrainedRun) -> float:
        if self.split in run.predictions:
            return float(run.predictions[self.split].right.mean())
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
        mean = np.mean([p.right[o] for p, o in zip(told, orders, strict=True)], axis=0)
        return sorted(told[0].ids), mean


def called(model: str, mode: str) -> str:
    """resnet18, finetune -> ResNet-18 fine-tuned."""
    return f"{MODELS.get(model.split('.')[0], model)} {WORDS.get(mode, mode)}"


def best_by_mode(groups: Iterable[Group]) -> dict[str, Group]:
    """The first group of each mode: the one to use, as groups stand in that order."""
    best: dict[str, Group] = {}
    for group in groups:
        best.setdefault(group.mode, group)
    return best
