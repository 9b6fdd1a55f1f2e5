"""What a model of a long study learns from, so that a decision costs no more late than early.

Of many observations the best half and the newest half. A subset of the data is a strong
approximation of a Gaussian process (Chalupka, Williams, Murray 2013, JMLR 14), and for optimisation
one that keeps the good points (McIntire, Ratner, Ermon 2016, UAI); a tree-structured Parzen
estimator reads its good group, at most 25 in Optuna, from the best alone (Watanabe 2023,
arXiv:2304.11127). The newest say where the search is now.
"""

from collections.abc import Sequence

import numpy as np


def remembered(scores: Sequence[float], most: int) -> list[int]:
    """Which of the observations, oldest first, are learnt from: all, or `most` of more.

    A function of the scores alone, the higher the better, so a resumed study finds the same; and
    of what it keeps and one more it keeps what it would have kept of them all.
    """
    if len(scores) <= most:
        return list(range(len(scores)))
    best = np.argsort(-np.asarray(scores), kind="stable")
    kept = set(best[: most // 2].tolist())
    newest = (i for i in range(len(scores) - 1, -1, -1) if i not in kept)
    return sorted(kept.union(i for i, _ in zip(newest, range(most - len(kept)), strict=False)))
