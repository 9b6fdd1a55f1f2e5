"""How a study is doing, on the terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from carsclf.records import RANDOM_WEIGHTS, Run
from carsclf.terminal import terminal
from carsclf.tuning.loop import ENDED
from carsclf.tuning.records import StudySummary
from carsclf.tuning.study import Study
from carsclf.tuning.trial import FAILED, PAUSED

PLAIN_EVERY = 30.0
"""Seconds between two lines where there is no terminal."""


@contextmanager
def shown(study: Study, simulated: bool) -> Iterator[Callable[[], None]]:
    """A bar over the budget on a terminal, a line now and then elsewhere; gives what updates it."""
    console, began, before = terminal(stderr=True), time.monotonic(), study.loop.spent
    text = TextColumn("{task.description}", markup=False)
    bar = Progress(BarColumn(30), text, console=console, transient=True)
    task = bar.add_task("", total=study.loop.search.budget)
    last = began

    def update() -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < (0.2 if console.is_terminal else PLAIN_EVERY):
            return
        last = now
        text = state(study) + _left(study, now - began, before)
        if console.is_terminal:
            bar.update(task, completed=study.loop.spent, description=text)
        else:
            console.print(text, highlight=False, soft_wrap=True)

    if console.is_terminal and not simulated:
        with bar:
            yield update
    else:
        yield update


def state(study: Study) -> str:
    """Running, finished, best and budget in one line."""
    loop = study.loop
    counts = {
        "running": len(loop.running),
        "paused": sum(t.status == PAUSED for t in loop.trials),
        "finished": sum(t.status in ENDED and t.status != FAILED for t in loop.trials),
        "failed": sum(t.status == FAILED for t in loop.trials),
    }
    said = ", ".join(
        f"{count} {name}" for name, count in counts.items() if count or name == "finished"
    )
    best = loop.best
    if best is not None:
        said += f"; best {study.metric} {study.value(best.best):.4f} (trial {best.trial_id})"
    return f"{said}; {loop.spent:.2f} of {loop.search.budget:g} full trainings"


def _left(study: Study, passed: float, before: float) -> str:
    spent = study.loop.epochs / study.loop.horizon
    if spent - before <= 0:
        return ""
    left = passed / (spent - before) * max(0.0, study.loop.search.budget - spent)
    return f"; about {left / 60:.0f} min left" if left > 90 else f"; about {left:.0f} s left"


def summarise(study: Study, summary: StudySummary) -> None:
    """The best trials and what the study cost, on stdout."""
    table = Table(title=f"{summary.name} ({summary.search})", title_justify="left")
    for column in ("trial", study.metric, "epochs", "overrides"):
        table.add_column(column, overflow="fold")
    sign = study.sign
    scored = [t for t in study.loop.trials if t.best is not None and t.status != FAILED]
    for trial in sorted(scored, key=lambda t: (-(t.best or 0.0), t.number))[:5]:
        table.add_row(
            trial.trial_id,
            f"{sign * (trial.best or 0.0):.4f}",
            f"{trial.epoch}/{study.loop.horizon}",
            " ".join(_short(o) for o in trial.overrides),
        )
    terminal().print(table)
    print(
        f"{summary.trials} trials, {summary.spent:.2f} of {summary.budget:g} full trainings "
        f"({summary.horizon} epochs each), {summary.seconds:.0f} s"
    )
    for trial_id, error in list(summary.failures.items())[:10]:
        print(f"failed: trial {trial_id}: {error}")
    if len(summary.failures) > 10:
        print(f"failed: {len(summary.failures) - 10} more, in study.json")
    print(f"study folder: {study.folder.root}")
    if random_weights(study.folder.root):
        print(RANDOM_WEIGHTS)


def random_weights(root: Path) -> bool:
    """Whether any trial below a study folder began from random weights for want of others."""
    return any(Run.read(path).weights == "random" for path in root.glob("trials/*/run.json"))


def _short(override: str) -> str:
    key, value = override.split("=", 1)
    try:
        return f"{key}={float(value):.4g}"
    except ValueError:
        return override
