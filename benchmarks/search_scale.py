"""What a decision costs as a study grows: thousands of trials of every search, replayed.

    python benchmarks/search_scale.py [search ...] [--trials 3000]

One worker on a small recorded table, its middle as the incumbent. A decision is one `ask` that
proposes a new trial and one `tell` of an epoch, each its mean over a tenth of the trials, in time
of the processor: what else the machine does changes the seconds, not these.
"""

import argparse
import os
import sys
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from carsclf.tuning.search.base import Search
from carsclf.tuning.study.controller import Controller
from carsclf.tuning.study.replay import replay
from carsclf.tuning.study.start import recorded_start

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "tuning"))
from tables import make_table  # noqa: E402  # type: ignore[reportMissingImports]

SEARCHES = sorted(path.stem for path in (ROOT / "conf" / "search").glob("*.yaml"))


class Clock:
    """Has the seconds of every ask and tell written down, with the trials there were by then."""

    def __init__(self) -> None:
        self.asks: list[tuple[int, float]] = []
        self.tells: list[tuple[int, float]] = []

    def of_controllers(self) -> None:
        """From now on, for all of them."""
        ask, tell = Controller.ask, Controller.tell

        def timed_ask(controller: Controller) -> object:
            before, start = len(controller.trials), time.process_time()
            trial = ask(controller)
            if len(controller.trials) > before:
                self.asks.append((before, time.process_time() - start))
            return trial

        def timed_tell(controller: Controller, *told: object) -> str:
            start = time.process_time()
            decision = tell(controller, *told)  # type: ignore[arg-type]
            self.tells.append((len(controller.trials), time.process_time() - start))
            return decision

        Controller.ask, Controller.tell = timed_ask, timed_tell  # type: ignore[method-assign]

    def decision(self, low: float, high: float) -> float:
        """Milliseconds of an ask and a tell while there were so many trials."""
        means = [
            np.mean([seconds for number, seconds in calls if low <= number < high])
            for calls in (self.asks, self.tells)
        ]
        return float(sum(means)) * 1000


def made(name: str, trials: int) -> Search:
    """A search with its own defaults, whose budget does not end it."""
    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        config = compose("tune", [f"search={name}"]).search
    return instantiate(config, budget=10.0 * trials, trials=trials, final=0.0, _convert_="all")


def measure(name: str, trials: int) -> dict[str, object]:
    """One row of the table."""
    table, clock = make_table(), Clock()
    originals = Controller.ask, Controller.tell
    clock.of_controllers()
    start, busy = time.perf_counter(), time.process_time()
    try:
        study, _ = replay(made(name, trials), table, starts=[recorded_start(table, {})])
    finally:
        Controller.ask, Controller.tell = originals  # type: ignore[method-assign]
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    count = len(study.controller.trials)
    first, last = clock.decision(0, count / 10), clock.decision(count * 0.9, count + 1)
    return {
        "search": name,
        "trials": count,
        "seconds": seconds,
        "processor s": busy,
        "ms first tenth": first,
        "ms last tenth": last,
        "ratio": last / first,
    }


def main() -> None:
    """Parses the command line, runs and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("searches", nargs="*", default=SEARCHES, metavar="search")
    parser.add_argument("--trials", type=int, default=3000)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    for name in args.searches:
        row = pd.DataFrame([measure(name, args.trials)]).round(2)
        print(row.to_string(index=False, header=name == args.searches[0]), flush=True)


if __name__ == "__main__":
    main()
