"""After `train.py -m`: jobs that differ in nothing but their seed as one row, mean and spread."""

import csv
import secrets
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.table import Table
from rich.text import Text

from carsclf.errors import CarsclfError
from carsclf.files import atomic_write
from carsclf.options.command_line import argument, say_next
from carsclf.records import LEAKED, Run, RunFolder
from carsclf.terminal import terminal

ONE_RUN = ("seed=", "name=", "runs=")
METRICS = ("top1", "top5", "macro_f1", "loss")


@dataclass(frozen=True)
class Job:
    """One training of a sweep; no folder where it failed."""

    overrides: tuple[str, ...]
    folder: Path | None
    run: Run | None

    @property
    def setting(self) -> tuple[str, ...]:
        """What it was told, but for what every single run has of its own."""
        return tuple(o for o in self.overrides if not o.startswith(ONE_RUN))


class SweepTable(Callback):
    """A Hydra callback: collects the run folders of a sweep and ends it with their table."""

    def __init__(self) -> None:
        self._jobs: list[Job] = []

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        value = job_return._return_value  # the property raises what a failed job raised
        folder = Path(value) if isinstance(value, str) else None
        run = None
        try:
            run = Run.read(RunFolder(folder).run) if folder else None
        except CarsclfError:
            folder = None
        self._jobs.append(Job(tuple(job_return.overrides or ()), folder, run))

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Prints the table and writes it below `runs`."""
        if not self._jobs:
            return
        rows = summarise(self._jobs)
        name = f"sweep-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}.csv"
        path = Path(config.runs) / name
        with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        show(rows)
        several = any(len(row["seeds"].split()) > 1 for row in rows)
        if several and config.data.split_seed is None:
            print("each seed draws its own validation split; data.split_seed=0 keeps one for all")
        print(f"sweep: {path}")
        if folders := [j.folder for j in self._jobs if j.folder and j.run and j.run.finished]:
            say_next(f"python report.py {argument('runs', folders)}")


def summarise(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """A row per setting, in the order of the sweep.

    Of each validation metric the mean and the standard deviation over the seeds (n - 1; None for
    one seed). Failed jobs are counted, and in no mean.
    """
    shared = set.intersection(*(set(job.setting) for job in jobs))
    rows = []
    for setting in dict.fromkeys(job.setting for job in jobs):
        own = [job for job in jobs if job.setting == setting]
        runs = [job.run for job in own if job.run is not None]
        row: dict[str, Any] = {
            "setting": " ".join(o for o in setting if o not in shared) or _what(runs),
            "protocol": runs[0].protocol if runs else None,
            "seeds": " ".join(str(run.seed) for run in runs),
            "failed": len(own) - len(runs),
        }
        if any(job.run and job.run.leak for job in jobs):
            row["leak"] = runs[0].leak if runs else None
        for metric in METRICS:
            values = [
                run.metrics[f"val/{metric}"] for run in runs if f"val/{metric}" in run.metrics
            ]
            row[f"val/{metric}"] = statistics.fmean(values) if values else None
            row[f"val/{metric} sd"] = statistics.stdev(values) if len(values) > 1 else None
        row["seconds"] = statistics.fmean(run.seconds for run in runs) if runs else None
        row["folders"] = " ".join(str(job.folder) for job in own if job.folder)
        rows.append(row)
    return rows


def show(rows: Sequence[dict[str, Any]]) -> None:
    """The table on stdout: mean ± standard deviation over seeds."""
    table = Table(title="validation, mean ± standard deviation over seeds", title_justify="left")
    for column in ("setting", "seeds", "top-1", "top-5", "macro F1", "loss", "seconds", "failed"):
        table.add_column(column, overflow="fold")
    for row in rows:
        shares = [_spread(row, metric, 100, 2, " %") for metric in METRICS[:3]]
        seconds = "" if row["seconds"] is None else f"{row['seconds']:.0f}"
        table.add_row(
            Text(row["setting"] + (" [LEAKED]" if row.get("leak") else "")),
            row["seeds"],
            *shares,
            _spread(row, "loss", 1, 3, ""),
            seconds,
            str(row["failed"]),
        )
    # a log has no width of its own: rich would fold the table to 80 columns
    terminal(width=None if sys.stdout.isatty() else 160).print(table)
    if any(row.get("leak") for row in rows):
        print(LEAKED)


def _spread(row: dict[str, Any], metric: str, scale: float, digits: int, unit: str) -> str:
    mean, deviation = row[f"val/{metric}"], row[f"val/{metric} sd"]
    if mean is None:
        return "failed" if metric == "top1" and row["failed"] else ""
    spread = "" if deviation is None else f" ± {scale * deviation:.{digits}f}"
    return f"{scale * mean:.{digits}f}{spread}{unit}"


def _what(runs: Sequence[Run]) -> str:
    return f"{runs[0].model}, {runs[0].mode}" if runs else "all"
