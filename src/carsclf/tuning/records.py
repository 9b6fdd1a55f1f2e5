"""What a study leaves on disk: its folder, one row per trial and per epoch, and its summary."""

from dataclasses import dataclass, field
from pathlib import Path

from carsclf.files import AnyPath, JsonRecord


@dataclass(frozen=True)
class StudyFolder:
    """Where things lie in `runs/tune/<name>/`."""

    root: Path

    def __init__(self, root: AnyPath) -> None:
        object.__setattr__(self, "root", Path(root).expanduser())

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

    def trial(self, trial_id: str) -> Path:
        """The run folder of a trial."""
        return self.root / "trials" / trial_id


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


@dataclass(frozen=True)
class StudySummary(JsonRecord):
    """study.json: what was searched, how, at what cost, and what came out."""

    name: str
    search: str
    metric: str
    mode: str
    horizon: int
    """Epochs of a full training."""
    schedule: str
    """What shortened trials are: the full schedule cut (prefix) or a short one (complete)."""
    budget: float
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
    failures: dict[str, str] = field(default_factory=dict)
    """Error of each failed trial."""
