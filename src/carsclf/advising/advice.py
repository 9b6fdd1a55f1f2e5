"""What the stages of an advice hand each other: its folder, its settings, its time."""

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig

from carsclf.advising.ledger import Ledger
from carsclf.errors import CheckpointError
from carsclf.files import Folder, atomic_write, write_json
from carsclf.terminal import terminal

CANDIDATES = (
    *("name", "weights", "origin", "licence", "parameters", "image_size"),
    *("predict_rate", "answer_ms", "train_rate", "memory_mb"),
    *("boundary", "kept_rate", "kept_bytes", "skipped"),
)
"""Columns of candidates.csv. weights: as `model.weights` takes them; origin: where they were found;
licence: as stated, else unknown; pictures a second in batches, and trained; milliseconds of one
answer alone; MB at the peak of a training step; the place up to which it may be frozen and its
outputs kept, or empty, pictures a second then trained, bytes kept of each; skipped: why, or empty.
What was not measured is empty."""
PROBE = (
    *("candidate", "image_size", "pooling", "penalty", "share", "images", "top1", "low", "high"),
    *("seconds", "dropped"),
)
"""Columns of probe.csv, a row for each candidate and share of the training pictures: its best
pooling (`mode.pool`) and penalty, top-1 on validation in [0, 1] with its 95 % interval; dropped:
why it was not looked at with more pictures, or empty. What was never begun has no top1."""
GROWTH = ("candidate", "share", "images", "draw", "top1")
"""Columns of growth.csv: heads on draws of the training pictures."""


class AdviceFolder(Folder):
    """Where things lie in `runs/advise/<name>/`."""

    @property
    def config(self) -> Path:
        return self.root / "config.yaml"  # all that was asked, resolved

    @property
    def overrides(self) -> Path:
        return self.root / "overrides.yaml"  # of the training; see Advice.overrides

    @property
    def lock(self) -> Path:
        return self.root / ".lock"

    @property
    def stages(self) -> Path:
        return self.root / "stages.json"  # finished stages: seconds, over all sittings

    @property
    def time(self) -> Path:
        return self.root / "time.jsonl"  # see Ledger

    @property
    def look(self) -> Path:
        return self.root / "look.json"

    @property
    def candidates(self) -> Path:
        return self.root / "candidates.csv"

    @property
    def begun(self) -> Path:
        return self.root / "begun.json"  # candidates: how often it was begun to measure them

    @property
    def probe(self) -> Path:
        return self.root / "probe.csv"

    @property
    def growth_table(self) -> Path:
        return self.root / "growth.csv"

    @property
    def growth(self) -> Path:
        return self.root / "growth.json"

    @property
    def curve(self) -> Path:
        return self.root / "curve.csv"

    @property
    def options(self) -> Path:
        return self.root / "options.json"  # fine-tunings that fitted as the choice began

    @property
    def plan(self) -> Path:
        return self.root / "plan.json"

    def plan_for(self, asked: Mapping[str, Any]) -> Path:
        """Where the plan is kept that was made for what was asked for of it."""
        told = "".join(f"-{key}-{asked[key]}" for key in sorted(asked))
        return self.root / "plans" / f"plan{re.sub(r'[^A-Za-z0-9_.-]', '_', told)}.json"

    @property
    def outcome(self) -> Path:
        return self.root / "outcome.json"


@dataclass(frozen=True)
class Advice:
    """One advice: what was asked, and the time that it may take."""

    folder: AdviceFolder
    training: DictConfig
    """A fine-tuning as `train.py`'s heads see it; its model stands for whichever is chosen. Heads
    are fitted to features made with trainer.precision=32-true, and are found again with it."""
    overrides: Sequence[str]
    """What `train.py` takes to compose that training; mode=... and model=... may follow."""
    hours: float
    latency_ms: float | None
    candidates: Sequence[str | Mapping[str, str]]
    """Networks, or {name: ..., weights: ...}."""
    weights: Path | None
    """A folder of weights files."""
    ledger: Ledger
    plan: Mapping[str, Any] = field(default_factory=dict)
    """What of the plan was decided by whoever asks; the rest is null."""


Stage = Callable[[Advice], None]
"""Writes its files, each whole or not at all; a finished one is not called again."""


def run_stages(advice: Advice, stages: Sequence[Stage]) -> None:
    """Each stage that did not finish in an earlier sitting, in order; their seconds are noted."""
    done = finished_stages(advice.folder)
    for stage in stages:
        name = stage.__name__
        if name in done:
            continue
        with advice.ledger.at(name):
            stage(advice)
        done[name] = {"seconds": round(advice.ledger.spent_at(name), 1), "ended": _now()}
        write_json(advice.folder.stages, done)


def finished_stages(folder: AdviceFolder) -> dict[str, Any]:
    return read_json(folder.stages) if folder.stages.is_file() else {}


def say(line: str) -> None:
    """A line of what was found, as text."""
    terminal(soft_wrap=True).print(line, highlight=False, markup=False)


def read_json(path: Path) -> dict[str, Any]:
    """Raises CheckpointError for what is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}): delete it, and resume") from None


def write_table(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    with atomic_write(path) as temporary:
        pd.DataFrame(rows, columns=list(columns)).to_csv(temporary, index=False)


def read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """The rows that finished in earlier sittings, texts never missing; without a file, none."""
    texts = (
        *("name", "candidate", "weights", "origin", "licence", "pooling", "boundary"),
        *("skipped", "dropped"),
    )
    if not path.is_file():
        return pd.DataFrame(columns=list(columns))
    try:
        table = pd.read_csv(path, dtype={key: str for key in texts if key in columns})
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}): delete it, and resume") from None
    if list(table.columns) != list(columns):
        raise CheckpointError(f"{path} has other columns than expected: delete it, and resume")
    return table.fillna({key: "" for key in texts if key in columns})


def read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The same as dicts, what is missing being None."""
    rows: list[Any] = read_table(path, columns).to_dict("records")  # type: ignore[call-overload]
    return [{key: None if value != value else value for key, value in row.items()} for row in rows]


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
