"""What changes from a first model to a second on the same photos, by class and by kind of error."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from carsclf.analysis.class_names import parse_all
from carsclf.analysis.mistakes import KINDS, error_kind


def by_class(
    targets: np.ndarray, first: np.ndarray, second: np.ndarray, names: Sequence[str]
) -> pd.DataFrame:
    """Accuracy of each class that has photos, the largest changes first.

    targets, first, second: (n,) class indices, and those that the models predict. Columns: class,
    photos, before, after, change (shares in [0, 1]), vanish, appear (errors).
    """
    before, after = first == targets, second == targets
    rows = []
    for label in np.unique(targets):
        own = targets == label
        one, two = before[own], after[own]
        rows.append(
            {
                "class": names[label],
                "photos": int(own.sum()),
                "before": one.mean(),
                "after": two.mean(),
                "change": two.mean() - one.mean(),
                "vanish": int((~one & two).sum()),
                "appear": int((one & ~two).sum()),
            }
        )
    table = pd.DataFrame(rows)
    order = (-table["change"].abs()).to_numpy().argsort(kind="stable")
    return table.iloc[order].reset_index(drop=True)


def by_kind(
    targets: np.ndarray, first: np.ndarray, second: np.ndarray, names: Sequence[str]
) -> pd.DataFrame | None:
    """A row for each of KINDS: errors before and after, how many vanish and how many appear.

    An error that becomes one of another kind counts before in the one and after in the other; it
    neither vanishes nor appears. None where the class names have no make, model and year.
    """
    parts = parse_all(names)
    if parts is None:
        return None
    kinds = [
        [
            error_kind(parts[t], parts[p]) if t != p else ""
            for t, p in zip(targets, said, strict=True)
        ]
        for said in (first, second)
    ]
    pairs = list(zip(*kinds, strict=True))
    return pd.DataFrame(
        [
            {
                "kind": kind,
                "before": sum(one == kind for one, _ in pairs),
                "after": sum(two == kind for _, two in pairs),
                "vanish": sum(one == kind and not two for one, two in pairs),
                "appear": sum(two == kind and not one for one, two in pairs),
            }
            for kind in KINDS
        ]
    )
