"""How far a long work is: a bar on a terminal, a line now and then in a log."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TextColumn

from carsclf.terminal import terminal

EVERY = 30.0  # seconds between lines of a log


class Pace:
    """Counts `total` of something; rate and time left are of what is done now, not found done."""

    def __init__(self, total: int, what: str) -> None:
        self.total, self.what = total, what
        self.done = self.found = 0
        self.began = self.said = time.perf_counter()
        self.bar: Progress | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        console = terminal(stderr=True)
        if not console.is_terminal:
            yield
            return
        columns = (BarColumn(), TextColumn("{task.description}", markup=False))
        with Progress(*columns, console=console, transient=True) as self.bar:
            self.task = self.bar.add_task(self.told(), total=self.total)
            yield

    def pass_over(self, count: int) -> None:
        """So many were done before."""
        self.found += count
        self.step(count)

    def step(self, count: int) -> None:
        self.done += count
        if self.bar is not None:
            self.bar.update(self.task, completed=self.done, description=self.told())
        elif time.perf_counter() - self.said > EVERY:
            self.said = time.perf_counter()
            print(self.told(), file=sys.stderr, flush=True)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.began

    @property
    def rate(self) -> float:
        """Of those that were not found done, per second."""
        return (self.done - self.found) / max(self.seconds, 1e-9)

    def told(self) -> str:
        """For example: 2,048 of 100,000 pictures, 210 a second, 7 min 46 s left."""
        said = f"{self.done:,} of {self.total:,} {self.what}"
        if self.done == self.found:
            return said
        left = round(max(0, self.total - self.done) / self.rate)
        hours, minutes, seconds = left // 3600, left // 60 % 60, left % 60
        time_left = f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"
        return f"{said}, {self.rate:.0f} a second, {time_left} left"
