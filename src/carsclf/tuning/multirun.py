"""After `tune.py -m`: the studies side by side."""

import csv
import secrets
import sys
import time
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from rich.table import Table

from carsclf.errors import CarsclfError
from carsclf.options.command_line import argument, say_next
from carsclf.terminal import terminal
from carsclf.tuning.study.display import random_weights
from carsclf.tuning.study.records import Finalist, StudyFolder, StudySummary

COLUMNS = (
    *(
        "study",
        "search",
        "metric",
        "best",
        "trial",
        "found",
        "trials",
        "spent",
        "seconds",
        "failed",
    ),
)

SHARES = ("top1", "top5", "accuracy", "macro_f1")


class Comparison(Callback):
    """A Hydra callback: drops the default sweep when another is asked for, and compares."""

    def __init__(self) -> None:
        self._studies: list[tuple[str, Path | None]] = []

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """`experiment` is swept by default; beside another sweep that would multiply studies."""
        # as typed: an override such as name=${hydra:...} means nothing before there is a job
        typed = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
        given = OverridesParser.create().parse_overrides(typed)  # type: ignore[arg-type]
        if any(o.is_sweep_override() or o.key_or_group == "experiment" for o in given):
            with read_write(config), open_dict(config):
                config.hydra.sweeper.params = {}

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Keeps a study's folder; None where it failed."""
        value = job_return._return_value  # the property raises what a failed job raised
        label = " ".join(job_return.overrides or [])
        folder = Path(value) if isinstance(value, str) else None
        self._studies.append((label, folder))

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Prints the table and writes it below `runs`."""
        rows = [_row(label, folder) for label, folder in self._studies]
        name = f"comparison-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}.csv"
        path = Path(config.runs) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, [*COLUMNS, "folder"])
            writer.writeheader()
            writer.writerows(rows)
        table = Table(title="studies", title_justify="left")
        for column in COLUMNS:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(str(row[column]) for column in COLUMNS))
        # a log has no width of its own: rich would fold the table to 80 columns
        terminal(width=None if sys.stdout.isatty() else 160).print(table)
        print(f"comparison: {path}")
        if folders := [row["folder"] for row in rows if row["folder"]]:
            say_next(f"python report.py {argument('studies', folders)}")


def _row(label: str, folder: Path | None) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys([*COLUMNS, "folder"], "")
    row["study"] = label
    try:
        if folder is None:
            raise CarsclfError("failed")
        summary = StudySummary.read(StudyFolder(folder).summary)
    except CarsclfError:
        return row | {"best": "failed"}
    mark = " (random weights)" if random_weights(folder) else ""
    return row | {
        "search": summary.search,
        "metric": summary.metric,
        "best": "failed" if summary.best is None else f"{summary.best:.4f}{mark}",
        "trial": summary.best_trial,
        "found": found(summary),
        "trials": summary.trials,
        "spent": f"{summary.spent:.2f}",
        "seconds": f"{summary.seconds:.0f}",
        "failed": len(summary.failures),
        "folder": str(folder),
    }


def found(summary: StudySummary) -> str:
    """What the winner is worth against the incumbent: nothing better, or +2.1 [0.4 to 3.8].

    In points where the metric is a share such as val/top1, else in its own units.
    """
    entries = [Finalist(**entry) for entry in summary.final]
    won = next((entry for entry in entries if entry.trial == summary.winner), None)
    if won is None:
        return "no final"
    if won.role == "incumbent":
        return "nothing better"
    if won.difference is None:
        return "no incumbent to compare"
    share = summary.metric.endswith(SHARES)
    gain, *ends = (
        "unknown" if value is None else f"{100 * value:.1f}" if share else f"{value:.3g}"
        for value in (won.difference, won.low, won.high)
    )
    return f"+{gain} [{' to '.join(ends)}]"
