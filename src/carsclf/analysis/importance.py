"""Which hyperparameters a study's results hang on."""

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import permutation_importance

ENOUGH = 8
"""Trials from which importances mean anything at all."""


def importances(
    units: np.ndarray, epochs: np.ndarray, values: np.ndarray, keys: list[str]
) -> pd.DataFrame:
    """Permutation importance of each hyperparameter in a random forest of the best values.

    units: (n, d) places of the n trials on each axis (any monotone scale: trees only compare);
    epochs, values: (n,). The epochs a trial was given are one more input, so that a long training's
    advantage is not put down to its hyperparameters. Shuffled are trials the forest has seen: with
    so few, a part held out would say nothing. Columns: key, mean, deviation (loss of R²).
    """
    inputs = np.column_stack([units, epochs])
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
