"""What a report is made from, read back: trained runs and studies, and whether they compare."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from omegaconf import OmegaConf

from carsclf.analysis.parallel import scaling, segments
from carsclf.errors import CheckpointError, DataError
from carsclf.files import AnyPath
from carsclf.records import ModelCard, Predictions, Run, RunFolder
from carsclf.tuning.study.records import StudyFolder, StudySummary

Flat = dict[str, Any]
METRIC = "val/top1"


@dataclass(frozen=True)
class TrainedRun:
    """One run folder; `predictions` by split, those of test and val that are there."""

    folder: Path
    run: Run
    config: Flat
    curves: pd.DataFrame | None
    predictions: dict[str, Predictions]
    class_names: list[str] | None
    overrides: list[str] | None
    """What train.py was told; None where no command line was recorded."""

    @property
    def name(self) -> str:
        return self.folder.name

    @classmethod
    def read(cls, folder: AnyPath) -> "TrainedRun":
        """Raises CheckpointError for what is no run, DataError for predictions without shares."""
        files = RunFolder(folder)
        run = Run.read(files.run)
        if not files.config.is_file():
            raise CheckpointError(f"{files.config} is missing: is {folder} a run folder?")
        known = {s: files.predictions(s) for s in ("test", "val")}
        predictions = {s: Predictions.read(path) for s, path in known.items() if path.is_file()}
        names = [p.class_names for p in predictions.values()]
        if not names and files.card.is_file():
            names = [ModelCard.read(files.card).class_names]
        return cls(
            files.root,
            run,
            read_config(files.config),
            pd.read_csv(files.metrics) if files.metrics.is_file() else None,
            predictions,
            names[0] if names else None,
            read_overrides(files.overrides),
        )

    @property
    def source(self) -> str:
        return _name(self.run.source)


@dataclass(frozen=True)
class StudyMaterial:
    """One study folder; `winner` is what its best trial was given, `best` how it went, if known."""

    folder: Path
    summary: StudySummary
    config: Flat
    trials: pd.DataFrame
    curves: pd.DataFrame
    events: list[dict[str, Any]]
    winner: Flat
    best: Run | None

    @property
    def name(self) -> str:
        return self.summary.name

    @property
    def mode(self) -> str:
        return str(self.config.get("mode.name", ""))

    @property
    def model(self) -> str:
        return str(self.config.get("model.name", ""))

    @property
    def source(self) -> str:
        return str(self.config.get("data.name", ""))

    @property
    def protocol(self) -> str | None:
        """None where the data chose it (auto) and no trial tells which it was."""
        told = self.best.protocol if self.best else self.config.get("data.protocol")
        return None if told == "auto" else told

    @property
    def random_weights(self) -> bool:
        return self.best is not None and self.best.weights == "random"

    @property
    def searched(self) -> list[str]:
        """The searched keys."""
        prefix = "values."
        return [c.removeprefix(prefix) for c in self.trials.columns if c.startswith(prefix)]

    @cached_property
    def scaling(self) -> pd.DataFrame | None:
        """Its journal scheduled anew on 1 to 100 workers; None where no epoch was timed."""
        parts = segments(self.events)
        return scaling(parts) if any(part.seconds for part in parts) else None

    @property
    def metric(self) -> str:
        """The column of `curves` that is shown: accuracy on validation where it is known."""
        return METRIC if METRIC in self.curves else self.summary.metric

    @classmethod
    def read(cls, root: AnyPath) -> "StudyMaterial":
        """Raises CheckpointError for what is no study, DataError where no trial has finished."""
        files = StudyFolder(root)
        summary = StudySummary.read(files.summary)
        known = summary.best is not None and math.isfinite(summary.best)
        if not known or summary.best_trial is None:
            why = ", ".join(f"{count} {what}" for what, count in summary.statuses.items())
            raise DataError(
                f"{root} has no finished trial ({why or 'none was started'}): go on with "
                f"python tune.py resume={root}, or leave it out of studies="
            )
        for path in (files.trials, files.curves):
            if not path.is_file():
                raise CheckpointError(f"{path} is missing: is {root} a study folder?")
        config, trials = read_config(files.config), pd.read_parquet(files.trials)
        trial = RunFolder(files.trial(f"{summary.best_trial:04d}"))
        values = trials.set_index("trial").loc[summary.best_trial]
        searched = {c[7:]: v for c, v in values.items() if str(c).startswith("values.")}
        winner = read_config(trial.config) if trial.config.is_file() else config | searched
        best = Run.read(trial.run) if trial.run.is_file() else None
        events = _events(files.events)
        curves = pd.read_parquet(files.curves)
        return cls(files.root, summary, config, trials, curves, events, winner, best)


@dataclass(frozen=True)
class Material:
    """All that one report compares; `split` is the one on which everything is judged."""

    runs: list[TrainedRun]
    studies: list[StudyMaterial]
    split: str

    @property
    def source(self) -> str:
        return (self.runs or self.studies)[0].source

    @property
    def protocol(self) -> str:
        if self.runs:
            return self.runs[0].run.protocol
        return self.studies[0].protocol or "unknown"

    @property
    def clean(self) -> bool:
        """Whether no search chose on the split of judgement."""
        return self.split == "test"

    @property
    def class_names(self) -> list[str] | None:
        return next((r.class_names for r in self.runs if r.class_names), None)


def read_material(runs: Sequence[AnyPath], studies: Sequence[AnyPath]) -> Material:
    """Reads all folders; raises DataError where what they hold is not comparable."""
    read = [TrainedRun.read(folder) for folder in runs]
    searched = [StudyMaterial.read(folder) for folder in studies]
    if not read and not searched:
        raise DataError("nothing to report on: name runs=[<run folder>,...] or studies=[...]")
    split = "test" if read and all("test" in r.predictions for r in read) else "val"
    _check(read, searched, split)
    for run in read:
        if split not in run.predictions and not math.isfinite(
            run.run.metrics.get(METRIC, math.nan)
        ):
            raise DataError(
                f"{run.folder}: run.json has no {METRIC} (or it is no number, as of a training "
                "that diverged): leave it out of runs=, or train it anew"
            )
    return Material(read, searched, split)


def _check(runs: list[TrainedRun], studies: list[StudyMaterial], split: str) -> None:
    """Refuses runs and studies whose accuracies do not compare, naming the difference."""
    facts = [(str(r.folder), _facts(r.run, split) | _class_list(r)) for r in runs]
    for study in studies:
        known = {"data": study.source, "protocol": study.protocol}
        facts.append((str(study.folder), _facts(study.best, split) if study.best else known))
    for name, known in facts[1:]:
        first, others = facts[0]
        for what, value in known.items():
            if what in others and None not in (value, others[what]) and value != others[what]:
                raise DataError(
                    f"{first} and {name} do not compare: {what} {_brief(others[what], value)}; "
                    "write a report for each"
                )


def _facts(run: Run, split: str) -> dict[str, Any]:
    return {
        "data": _name(run.source),
        "protocol": run.protocol,
        "classes": run.classes,
        f"photos in {split}": run.split_sizes.get(split),
    }


def _class_list(run: TrainedRun) -> dict[str, Any]:
    return {"class list": tuple(run.class_names)} if run.class_names else {}


def _name(source: str) -> str:
    """The data's name; run.json adds where it lay, which is nobody's business."""
    return source.split(" (")[0]


def _brief(one: Any, other: Any) -> str:
    """Both values; of two lists, the first place where they differ."""
    if not isinstance(one, tuple):
        return f"{one} against {other}"
    pairs = enumerate(zip(one, other, strict=False))
    place = next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))
    a, b = ((x[place] if place < len(x) else "nothing") for x in (one, other))
    return f"differs at class {place} ({a!r} against {b!r})"


def read_overrides(path: Path) -> list[str] | None:
    """A file of overrides; None where there is none."""
    return list(yaml.safe_load(path.read_text()) or []) if path.is_file() else None


def read_config(path: Path) -> Flat:
    """A config.yaml as dotted keys."""
    return flat(OmegaConf.load(path))


def flat(config: Any) -> Flat:
    """A configuration as dotted keys, values as they stand."""
    return _flat(OmegaConf.to_container(config), "")


def _flat(node: Any, path: str) -> Flat:
    if not isinstance(node, dict) or not node:
        return {path: node}
    parts = [_flat(value, f"{path}.{key}" if path else str(key)) for key, value in node.items()]
    return {key: value for part in parts for key, value in part.items()}


def _events(path: Path) -> list[dict[str, Any]]:
    """The study's journal; a last line torn by a kill is passed over."""
    if not path.is_file():
        return []
    events = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            events.append(json.loads(line))
        except ValueError:
            break
    return events
