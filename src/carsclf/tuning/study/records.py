"""What a study leaves on disk: its folder, one row per trial and per epoch, and its summary."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from carsclf.files import Folder, JsonRecord
from carsclf.tuning.trial import Trial


class StudyFolder(Folder):
    """Where things lie in `runs/tune/<name>/`."""

    @property
    def config(self) -> Path:
        return self.root / "config.yaml"

    @property
    def events(self) -> Path:
        """Every suggestion, result and decision: the truth the rest is made from."""
        return self.root / "events.jsonl"

    @property
    def trials(self) -> Path:
        return self.root / "trials.parquet"

    @property
    def curves(self) -> Path:
        return self.root / "curves.parquet"

    @property
    def best(self) -> Path:
        """The winner as a list of overrides for train.py."""
        return self.root / "best.yaml"

    @property
    def summary(self) -> Path:
        return self.root / "study.json"

    @property
    def figures(self) -> Path:
        return self.root / "figures"

    @property
    def lock(self) -> Path:
        return self.root / ".lock"

    def trial(self, trial: Trial) -> Path:
        """The run folder of a trial; those of the final lie apart."""
        if trial.repeats is None:
            return self.root / "trials" / trial.trial_id
        return self.root / "final" / f"{trial.repeats:04d}-seed{trial.seed}"

    def relative(self, trial: Trial) -> str:
        """The run folder of a trial as seen from the study's."""
        return str(self.trial(trial).relative_to(self.root))


@dataclass(frozen=True)
class TrialRow:
    """One row of trials.parquet."""

    trial: int
    overrides: list[str]
    values: dict[str, int | float | str | bool | None]
    """What was searched, as the training got it; one column each in the file."""
    status: str
    epochs: int
    """Finished ones."""
    length: int
    """Epochs it was proposed to run at most."""
    cost: float
    """Epochs run, in full trainings."""
    best: float | None
    """Best value of the study's metric at any epoch."""
    seconds: float
    failures: int
    error: str | None
    folder: str
    role: str
    """incumbent, start (known before the search too) or search."""
    ended: str
    """By whom, and at which epoch; empty while it is open."""


@dataclass(frozen=True)
class Finalist:
    """A configuration in the final: its trainings, and how far it is ahead of the incumbent."""

    trial: int
    role: str
    scores: list[float]
    """The study's metric, one for each seed."""
    mean: float
    folders: list[str]
    """Run folders, relative to the study's."""
    difference: float | None = None
    """In the metric's units, positive where it is better; None: it is the incumbent."""
    low: float | None = None
    high: float | None = None
    probability: float | None = None
    """That it is better than the incumbent."""


@dataclass(frozen=True)
class StudySummary(JsonRecord):
    """study.json: what was searched, how, at what cost, and what came out."""

    name: str
    search: str
    metric: str
    mode: str
    horizon: int
    """Epochs of a full training."""
    shortened: str
    """What shortened trials are: the full training cut (prefix) or a short one (complete)."""
    budget: float | None
    spent: float
    """Full trainings."""
    seconds: float
    """Wall-clock, summed over resumes."""
    trials: int
    statuses: dict[str, int]
    finished: bool
    """False: interrupted, to be resumed."""
    best_trial: int | None
    best: float | None
    best_epochs: int | None
    hours: float | None = None
    """What the study was given in time."""
    failures: dict[str, str] = field(default_factory=dict)
    """Error of each failed trial."""
    winner: int | None = None
    """The trial whose configuration best.yaml holds."""
    verdict: str = ""
    """What the search was worth, in a sentence."""
    final: list[dict[str, Any]] = field(default_factory=list)
    """One entry per configuration of the final; see Finalist."""
    notes: list[str] = field(default_factory=list)
    """What a reader should know first: an incumbent that failed, or lies outside the space."""
