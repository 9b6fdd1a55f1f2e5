"""What a report is made from, read back: trained runs and studies, and whether they compare."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from carsclf.errors import CheckpointError, DataError
from carsclf.files import AnyPath
from carsclf.records import ModelCard, Predictions, Run, RunFolder
from carsclf.report.flat import Flat, read_config, read_overrides
from carsclf.report.studies import METRIC, StudyMaterial


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
    study: StudyMaterial | None = None
    """In whose final it was trained; None: by hand."""
    trial: int | None = None
    """Of that study: the trial whose configuration it has."""

    @property
    def name(self) -> str:
        return f"{self.study.name}-{self.folder.name}" if self.study else self.folder.name

    @classmethod
    def read(
        cls, folder: AnyPath, study: StudyMaterial | None = None, trial: int | None = None
    ) -> "TrainedRun":
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
            study,
            trial,
        )

    @property
    def source(self) -> str:
        return _name(self.run.source)


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
    """Reads all folders, and the runs of each study's final with it.

    Raises DataError where what they hold is not comparable.
    """
    searched = [StudyMaterial.read(folder) for folder in studies]
    finals = [
        TrainedRun.read(folder, study, trial)
        for study in searched
        for trial, folders in study.finals.items()
        for folder in folders
    ]
    known = {run.folder.resolve() for run in finals}
    read = [TrainedRun.read(f) for f in runs if Path(f).expanduser().resolve() not in known]
    read += finals
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
        facts.append((str(study.folder), _facts(study.record, split) if study.record else known))
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
