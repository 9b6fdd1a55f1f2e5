"""Which choices nothing else beats in everything."""

import numpy as np


def pareto(gains: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """(n,) bool: those for which no other gains as much for less, or more for as much.

    gains: (n,), the more the better; costs: (n,) or (n, kinds), the less the better. Of equals all
    are kept. NaN (never measured) is on no front.
    """
    gains, costs = np.asarray(gains, float), np.asarray(costs, float)
    costs = costs.reshape(len(gains), -1)
    values = np.column_stack([-gains, costs])
    known = np.asarray(~np.isnan(values).any(axis=1))
    front = known.copy()
    for i in np.flatnonzero(known):
        no_worse = (values <= values[i]).all(axis=1) & known
        better = (values < values[i]).any(axis=1)
        front[i] = not (no_worse & better).any()
    return front
