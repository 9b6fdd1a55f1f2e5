"""How often a study's final names another winner than an incumbent that is truly the best.

    python -m benchmarks.final_errors <table.npz> ... [--studies 200] [--out <folder>]

Recorded trainings, with the noise that real ones have: every training answers the same imagined
validation photos, each of which is easier or harder for all trainings alike, and is off by a shift
of its own. `best`: the incumbent is the recorded training that ends highest; `middle`: the median
one, so that there is something to find. Writes results.csv.
"""

import argparse
import os
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from scipy.stats import norm

from carsclf.tuning.study.controller import Controller
from carsclf.tuning.study.final import Outcome
from carsclf.tuning.study.journal import Journal
from carsclf.tuning.study.study import Study
from carsclf.tuning.study.verdict import reach_verdict
from carsclf.tuning.trial import Start, Trial
from carsclf.tuning.workers.recorded import RecordedWorkers, Table

CONF = Path(__file__).parents[1] / "conf"
SEARCHES = ("random", "asha", "freeze_thaw")
BUDGETS = (20.0, 80.0)
PHOTOS, SHARED, SHIFT = 1000, 0.7, 0.005
"""Validation photos, share of their difficulty that all trainings have in common, and a training's
own shift of the accuracy (deviation)."""


class NoisyWorkers(RecordedWorkers):
    """Recorded trainings, seen through a finite validation set and one seed each."""

    def __init__(self, table: Table, seed: int) -> None:
        super().__init__(table, 1, "accuracy", distinct=True)
        self._generator = np.random.default_rng([seed, 1])
        self._common = np.sqrt(SHARED) * self._generator.standard_normal(PHOTOS)
        self._drawn: dict[Trial, tuple[np.ndarray, float]] = {}

    def score(self, row: int, epoch: int, trial: Trial) -> float:
        """See RecordedWorkers."""
        return float(self.right(trial, super().score(row, epoch, trial)).mean())

    def right(self, trial: Trial, accuracy: float) -> np.ndarray:
        """(PHOTOS,) bool: which photos this training gets right when it is that accurate."""
        if trial not in self._drawn:
            own = np.sqrt(1 - SHARED) * self._generator.standard_normal(PHOTOS)
            self._drawn[trial] = own, float(self._generator.normal(0, SHIFT))
        own, shift = self._drawn[trial]
        return self._common + own < norm.ppf(np.clip(accuracy + shift, 1e-6, 1 - 1e-6))

    def outcome(self, table: Table, trial: Trial) -> Outcome:
        """Of a training of the final."""
        assert trial.best is not None
        curve = table.accuracy[table.row(trial.raw)]
        right = [self.right(trial, float(accuracy)).astype(float) for accuracy in curve]
        return Outcome(trial.best, max(right, key=lambda photos: photos.mean()))


def study(path: str, search: str, budget: float, known: str, seed: int) -> dict[str, object]:
    """One study: whether it names another than the incumbent, and the true difference (points)."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    table = Table.read(Path(path))
    true = table.accuracy.max(axis=1)
    row = int(true.argmax() if known == "best" else np.argsort(true)[len(true) // 2])
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("tune", [f"search={search}", "objective=replay"]).search
    made = instantiate(config, budget=budget, trials=10_000, seed=seed, _convert_="all")
    workers, journal = NoisyWorkers(table, seed), Journal(None)
    assert workers.answered is not None
    start = Start("incumbent", [], workers.answered(table.raw(row)))
    controller = Controller(
        *(made, table.space, table.horizon, journal.record, [start], workers.answered)
    )
    told = Study(journal, controller, "accuracy", 1)
    told.run(workers, lambda: None)
    winner = reach_verdict(told, lambda trial: workers.outcome(table, trial)).winner
    assert winner is not None
    gain = 100 * float(true[table.row(winner.raw)] - true[row])
    return {
        "table": Path(path).stem,
        "search": search,
        "budget": budget,
        "incumbent": known,
        "seed": seed,
        "another": winner is not controller.incumbent,
        "gain": gain,
    }


def main() -> None:
    """Parses the command line, runs, writes and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("tables", nargs="+")
    parser.add_argument("--studies", type=int, default=200, help="per search, budget and incumbent")
    parser.add_argument("--searches", nargs="+", default=SEARCHES)
    parser.add_argument("--budgets", nargs="+", type=float, default=BUDGETS)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("experiments/search_final"))
    args = parser.parse_args()
    start = time.perf_counter()
    cells = product(args.searches, args.budgets, ("best", "middle"))
    jobs = [
        (args.tables[n % len(args.tables)], search, budget, known, n)
        for search, budget, known in cells
        for n in range(args.studies)
    ]
    with ProcessPoolExecutor(args.processes) as pool:
        rows = pd.DataFrame(pool.map(study, *zip(*jobs, strict=True), chunksize=4))
    groups: Any = rows.groupby(["incumbent", "search", "budget"])
    results = groups.agg(
        studies=("seed", "size"),
        another=("another", "mean"),
        mean_gain=("gain", "mean"),
        worst_gain=("gain", "min"),
    ).reset_index()
    named: Any = rows[rows.another].groupby(["incumbent", "search", "budget"])["gain"]
    results["mean_gain_where_named"] = named.mean().reindex(groups.size().index).to_numpy()
    args.out.mkdir(parents=True, exist_ok=True)
    results.to_csv(args.out / "results.csv", index=False, float_format="%.4g")
    print(results.round(3).to_string(index=False))
    print(f"\n{time.perf_counter() - start:.0f} s in {args.processes} processes")


if __name__ == "__main__":
    main()
