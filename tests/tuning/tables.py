"""A small recorded table and every search, for the tests of this folder."""

import numpy as np

from carsclf.tuning.search.asha import Asha
from carsclf.tuning.search.base import Search
from carsclf.tuning.search.bohb import Bohb
from carsclf.tuning.search.freeze_thaw import FreezeThaw
from carsclf.tuning.search.multitask import Multitask
from carsclf.tuning.search.random import Random
from carsclf.tuning.workers.recorded import Table

HORIZON = 27


def make_table(rows: int = 300, horizon: int = HORIZON, seed: int = 0) -> Table:
    """Curves that rise to a height set by three hyperparameters, cost 1 each."""
    generator = np.random.default_rng(seed)
    params = np.stack(
        [
            10 ** generator.uniform(-4, 0, rows),
            generator.integers(0, 21, rows),
            generator.uniform(0, 1, rows),
        ],
        axis=1,
    )
    height = np.exp(-((np.log10(params[:, 0]) + 2) ** 2)) * (1 - 0.3 * (params[:, 2] - 0.7) ** 2)
    rate = 0.1 + 0.3 * generator.random((rows, 1))
    epochs = np.arange(1, horizon + 1)
    accuracy = height[:, None] * (1 - np.exp(-rate * epochs))
    return Table(
        {
            "params": params,
            "names": np.array(["optimizer.lr", "schedule.patience", "optimizer.momentum"]),
            "log": np.array([True, False, False]),
            "accuracy": accuracy.astype(np.float32),
            "cost": np.ones(rows),
        }
    )


def make_searches(
    budget: float = 6, trials: int = 1000, seed: int = 0, rungs: int = 4
) -> dict[str, Search]:
    shared = {"budget": budget, "trials": trials, "seed": seed}
    return {
        "random": Random(**shared),
        "asha": Asha(**shared, grace=0.06, reduction=3),
        "bohb": Bohb(**shared, rungs=rungs, reduction=3),
        "freeze_thaw": FreezeThaw(**shared, grace=0.06, reduction=3),
        "multitask": Multitask(**shared, fidelities=(0.1, 0.5, 1.0)),
    }


SEARCHES = list(make_searches())
