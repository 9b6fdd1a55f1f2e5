"""A study read back: what it tried, what it proposes, and what its final made of that."""

import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from carsclf.analysis.parallel import scaling, segments
from carsclf.errors import CheckpointError, DataError
from carsclf.files import AnyPath
from carsclf.records import Run, RunFolder
from carsclf.report.flat import Flat, read_config
from carsclf.tuning.study.records import Finalist, StudyFolder, StudySummary

METRIC, INCUMBENT = "val/top1", "incumbent"


@dataclass(frozen=True)
class StudyMaterial:
    """One study folder; `proposed`: the trial whose configuration the search proposes.

    `proposal` is what that trial was given, `record` how it went, if known.
    """

    folder: Path
    summary: StudySummary
    config: Flat
    trials: pd.DataFrame
    curves: pd.DataFrame
    """Of the trials and of the final's trainings, whose numbers go on from those of the trials."""
    events: list[dict[str, Any]]
    proposed: int
    proposal: Flat
    record: Run | None

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
        told = self.record.protocol if self.record else self.config.get("data.protocol")
        return None if told == "auto" else told

    @property
    def random_weights(self) -> bool:
        return self.record is not None and self.record.weights == "random"

    @cached_property
    def finalists(self) -> list[Finalist]:
        """The configurations of its final, the incumbent first; none where there was no final."""
        return [Finalist(**entry) for entry in self.summary.final]

    @cached_property
    def finals(self) -> dict[int, list[Path]]:
        """Run folders of the final by trial, where they are there: a replayed study leaves none."""
        found = {f.trial: [self.folder / folder for folder in f.folders] for f in self.finalists}
        there = {
            t: [f for f in folders if RunFolder(f).run.is_file()] for t, folders in found.items()
        }
        return {trial: folders for trial, folders in there.items() if folders}

    @property
    def proposes(self) -> bool:
        """Whether anything but the incumbent has a score."""
        return self.role(self.proposed) != INCUMBENT

    @property
    def keeps_incumbent(self) -> bool:
        """Whether best.yaml holds the configuration that the study was composed with."""
        winner = self.summary.winner
        return winner is not None and self.role(winner) == INCUMBENT

    @property
    def final_trainings(self) -> pd.DataFrame:
        """Columns: epochs and seconds, a row for each training of the final."""
        own = self.curves[~self.curves["trial"].isin(self.trials["trial"])]
        return pd.DataFrame(
            own.groupby("trial").agg(epochs=("epoch", "max"), seconds=("seconds", "sum"))
        )

    @property
    def reached(self) -> float:
        """Best value of the metric in the proposed trial itself."""
        return self.row(self.proposed)["best"]

    @property
    def best_of(self) -> str:
        """Of how many trials the proposed one is the best, in words."""
        if self.proposed == self.summary.best_trial:
            return f"the best of {self.summary.trials} trials"
        return f"the best of {self.summary.trials - 1} trials beside the incumbent"

    def row(self, trial: int) -> dict[str, Any]:
        """Of trials.parquet."""
        place = self.trials["trial"].tolist().index(trial)
        return {str(column): value for column, value in self.trials.iloc[place].items()}

    def role(self, trial: int) -> str:
        """incumbent, start or search."""
        return str(self.row(trial)["role"])

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
        proposed = _proposed(summary, trials)
        trial = RunFolder(files.root / "trials" / f"{proposed:04d}")
        values = trials.set_index("trial").loc[proposed]
        searched = {c[7:]: v for c, v in values.items() if str(c).startswith("values.")}
        proposal = read_config(trial.config) if trial.config.is_file() else config | searched
        record = Run.read(trial.run) if trial.run.is_file() else None
        events = _events(files.events)
        curves = pd.read_parquet(files.curves)
        return cls(
            *(files.root, summary, config, trials, curves, events, proposed, proposal, record)
        )


def _proposed(summary: StudySummary, trials: pd.DataFrame) -> int:
    """What the search offers in place of the incumbent, better or not: in the final, else best.

    The incumbent itself only where no other trial has a score.
    """
    sign = 1 if summary.mode == "max" else -1
    others = [Finalist(**entry) for entry in summary.final if entry["role"] != INCUMBENT]
    if others:
        won = (f for f in others if f.trial == summary.winner)
        return next(won, max(others, key=lambda f: sign * f.mean)).trial
    own = trials[(trials["role"] != INCUMBENT) & (trials["status"] != "failed")]
    own = own.assign(score=sign * own["best"]).dropna(subset="score")
    assert summary.best_trial is not None
    if own.empty or summary.best_trial in set(own["trial"]):
        return summary.best_trial
    ranked = own.sort_values(["score", "epochs", "trial"], ascending=[False, False, True])
    return int(ranked["trial"].iloc[0])


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
