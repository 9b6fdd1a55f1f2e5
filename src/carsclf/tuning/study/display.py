"""How a study is doing, on the terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from carsclf.records import RANDOM_WEIGHTS, Run
from carsclf.terminal import terminal
from carsclf.tuning.search.base import Search
from carsclf.tuning.study.records import Finalist, StudyFolder, StudySummary
from carsclf.tuning.study.study import Study
from carsclf.tuning.trial import ENDED, FAILED, PAUSED, Trial

PLAIN_EVERY = 30.0
"""Seconds between two lines where there is no terminal."""


@contextmanager
def shown(study: Study, simulated: bool) -> Iterator[Callable[[], None]]:
    """A bar over the budget on a terminal, a line now and then elsewhere; gives what updates it."""
    console, began, before = terminal(stderr=True), time.monotonic(), study.controller.spent
    text = TextColumn("{task.description}", markup=False)
    bar = Progress(BarColumn(30), text, console=console, transient=True)
    task = bar.add_task("", total=study.controller.search.budget)  # None: no end is known
    last = began

    def update() -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < (0.2 if console.is_terminal else PLAIN_EVERY):
            return
        last = now
        text = state(study) + _left(study, now - began, before)
        if console.is_terminal:
            bar.update(task, completed=study.controller.spent, description=text)
        else:
            console.print(text, highlight=False, soft_wrap=True)

    if console.is_terminal and not simulated:
        with bar:
            yield update
    else:
        yield update


def state(study: Study) -> str:
    """Running, finished, best and budget in one line."""
    controller = study.controller
    counts = {
        "running": len(controller.running),
        "paused": sum(t.status == PAUSED for t in controller.trials),
        "finished": sum(t.status in ENDED and t.status != FAILED for t in controller.trials),
        "failed": sum(t.status == FAILED for t in controller.trials),
    }
    said = ", ".join(
        f"{count} {name}" for name, count in counts.items() if count or name == "finished"
    )
    best = controller.best
    if best is not None:
        said += f"; best {study.metric} {study.value(best.best):.4f} (trial {best.trial_id})"
    if controller.finalists:
        done = sum(t.status in ENDED for t in controller.finalists)
        said += f"; final: {done} of {len(controller.finalists)} trainings"
    return f"{said}; {_spent(controller.spent, controller.search)}"


def _spent(trainings: float, search: Search) -> str:
    of = f" of {search.budget:g}" if search.budget is not None else ""
    hours = f" in {search.hours:g} h at most" if search.hours is not None else ""
    return f"{trainings:.2f}{of} full trainings{hours}"


def _left(study: Study, passed: float, before: float) -> str:
    controller = study.controller
    spent, budget = controller.epochs / controller.horizon, controller.search.budget
    if spent - before <= 0 or budget is None:
        return ""
    left = passed / (spent - before) * max(0.0, budget - spent)
    return f"; about {left / 60:.0f} min left" if left > 90 else f"; about {left:.0f} s left"


def summarise(study: Study, summary: StudySummary, folder: StudyFolder) -> None:
    """What to know first, the best trials, the final and what the study cost, on stdout."""
    for note in summary.notes:
        print(note)
    ranked = study.controller.ranked()
    table = Table(title=f"{summary.name} ({summary.search})", title_justify="left")
    for column in ("trial", study.metric, "epochs", "ended", "overrides"):
        table.add_column(column, overflow="fold")
    for trial in [t for t in ranked if t in ranked[:5] or t is study.controller.incumbent]:
        table.add_row(
            trial.trial_id,
            f"{study.value(trial.best):.4f}",
            f"{trial.epoch}/{study.controller.horizon}",
            trial.ended,
            _named(trial),
        )
    terminal().print(table)
    if summary.final:
        terminal().print(_final_table(study, summary))
    print(
        f"{summary.trials} trials, {_spent(summary.spent, study.controller.search)} "
        f"({summary.horizon} epochs each), {summary.seconds:.0f} s, {_size(folder.root)} on disk"
    )
    for trial_id, error in list(summary.failures.items())[:10]:
        print(f"failed: trial {trial_id}: {error}")
    if len(summary.failures) > 10:
        print(f"failed: {len(summary.failures) - 10} more, in study.json")
    print(f"study folder: {folder.root}")
    if random_weights(folder.root):
        print(RANDOM_WEIGHTS)
    print(f"best.yaml: {summary.verdict}")


def _final_table(study: Study, summary: StudySummary) -> Table:
    table = Table(title="final: trained anew, the same seeds for all", title_justify="left")
    for column in ("trial", study.metric, "seeds", "against the incumbent", "95 %", "overrides"):
        table.add_column(column, overflow="fold")
    for entry in (Finalist(**values) for values in summary.final):
        known = entry.difference is not None
        table.add_row(
            f"{entry.trial:04d}",
            f"{entry.mean:.4f}",
            str(len(entry.scores)),
            f"{study.sign * (entry.difference or 0.0):+.4f}" if known else "",
            _interval(entry, study.sign),
            _named(study.controller.trial(entry.trial)),
        )
    return table


def _interval(entry: Finalist, sign: int) -> str:
    if entry.low is None or entry.high is None:
        return "" if entry.difference is None else "unknown"
    low, high = sorted((sign * entry.low, sign * entry.high))
    return f"{low:+.4f} to {high:+.4f}"


def _named(trial: Trial) -> str:
    """A trial's overrides; of one known before, how it is called."""
    role = f"({trial.role}) " if trial.role in ("incumbent", "start") else ""
    return role + " ".join(map(_short, trial.overrides))


def _size(root: Path) -> str:
    """Such as 12.3 MB, of all files below a folder."""
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) / 1e6
    return f"{size:.1f} MB" if size < 1e3 else f"{size / 1e3:.1f} GB"


def random_weights(root: Path) -> bool:
    """Whether any trial below a study folder began from random weights for want of others."""
    return any(Run.read(path).weights == "random" for path in root.glob("*/*/run.json"))


def _short(override: str) -> str:
    key, value = override.split("=", 1)
    try:
        return f"{key}={float(value):.4g}"
    except ValueError:
        return override
