"""The figures of one study, from its tables."""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import permutation_importance

from carsclf.figures.study import (
    draw_curves,
    draw_fidelities,
    draw_importance,
    draw_parallel,
    draw_progress,
)
from carsclf.tuning.study import Study
from carsclf.tuning.tables import curve_table, trial_table

ENOUGH = 8
"""Trials from which importances mean anything at all."""
RATES = ("lr", "learning_rate")


def draw_study(study: Study, folder: Path) -> None:
    """Draws what there is to draw; a study without results gets no figures."""
    best, curves, trials = study.loop.best, curve_table(study), trial_table(study)
    if best is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    draw_progress(curves, study.metric, study.sign, folder / "progress.png")
    draw_curves(curves, study.metric, best.number, folder / "curves.png")
    space = study.loop.space
    scored = trials.dropna(subset="best")
    rate = next((p for p in space if p.key.split(".")[-1] in RATES), None)
    if rate is not None:
        path = folder / "learning_rates.png"
        placed = scored.assign(value=scored[f"values.{rate.key}"])
        draw_fidelities(placed, rate.key, rate.log, study.metric, path)
    keys = [p.key for p in space]
    units = space.to_unit([study.loop.trials[number].raw for number in scored["trial"]])
    draw_parallel(scored, units, keys, study.metric, folder / "parallel.png")
    if len(scored) >= ENOUGH:
        table = importances(units, scored, keys)
        draw_importance(table, len(scored), folder / "importance.png")


def importances(units: np.ndarray, scored: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Permutation importance of each hyperparameter in a random forest of the best values.

    The epochs a trial was given are one more input, so that a long training's advantage is not
    put down to its hyperparameters. Shuffled are trials the forest has seen: with so few, a part
    held out would say nothing.
    """
    inputs = np.column_stack([units, scored["epochs"]])
    values = scored["best"].to_numpy(dtype=float)
    forest = RandomForestRegressor(200, min_samples_leaf=2, random_state=0).fit(inputs, values)
    found = permutation_importance(forest, inputs, values, n_repeats=10, random_state=0)
    count = len(keys)
    return pd.DataFrame(
        {
            "key": keys,
            "mean": found["importances_mean"][:count],
            "deviation": found["importances_std"][:count],
        }
    )
