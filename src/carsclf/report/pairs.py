"""Which configurations are held against each other, and what tests say of each pair."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from carsclf.analysis.comparison import (
    Interval,
    bootstrap_difference,
    error_reduction,
    fates,
    mcnemar,
)
from carsclf.report.groups import Group, hits


@dataclass(frozen=True)
class Pair:
    """From a first to a second configuration, usually the better one."""

    first: Group
    second: Group

    @property
    def label(self) -> str:
        return f"{self.first.label} → {self.second.label}"

    @property
    def gain(self) -> float:
        """Accuracy gained, in [-1, 1]."""
        return self.second.accuracy - self.first.accuracy

    @property
    def less_error(self) -> float | None:
        return error_reduction(self.first.accuracy, self.second.accuracy)

    def interval(self) -> Interval | None:
        """Bootstrap over photos, seeds averaged; None where the photos are not the same."""
        one, two = self.first.shares, self.second.shares
        if one is None or two is None or one[0] != two[0]:
            return None
        return bootstrap_difference(one[1], two[1])

    def typical_hits(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Right or not, photo by photo, of both median runs; None for other photos."""
        one, two = self.first.predictions, self.second.predictions
        if one is None or two is None or set(one.ids) != set(two.ids):
            return None
        return hits(one)[np.argsort(one.ids)], hits(two)[np.argsort(two.ids)]

    def p_value(self) -> float | None:
        """McNemar's, of the median runs."""
        both = self.typical_hits()
        return None if both is None else mcnemar(*both)

    def fates(self) -> pd.Series | None:
        """Of the median runs' errors."""
        both = self.typical_hits()
        return None if both is None else fates(*both)


def make_pairs(groups: list[Group]) -> list[Pair]:
    """Baseline against winner of each study, then everything against the best."""
    pairs = [pair for study in studies_of(groups) if (pair := searched(groups, study))]
    best = groups[0] if groups else None
    for group in groups[1:]:
        known = any({id(p.first), id(p.second)} == {id(group), id(best)} for p in pairs)
        if best is not None and not known:
            pairs.append(Pair(group, best))
    return pairs


def studies_of(groups: list[Group]) -> list[str]:
    """Names of the studies that some group belongs to."""
    return list(dict.fromkeys(str(g.study.folder) for g in groups if g.study is not None))


def searched(groups: list[Group], study: str) -> Pair | None:
    """A study's baseline and winner; None where one of them is missing."""
    own = {g.role: g for g in groups if g.study is not None and str(g.study.folder) == study}
    if "baseline" in own and "winner" in own:
        return Pair(own["baseline"], own["winner"])
    return None


def pair_table(pairs: list[Pair]) -> pd.DataFrame:
    """One row per pair: both accuracies, gain, less error (shares), interval and p value."""
    rows = []
    for pair in pairs:
        interval = pair.interval() or Interval(pair.gain, np.nan, np.nan)
        p = pair.p_value()
        rows.append(
            {
                "from": pair.first.label,
                "to": pair.second.label,
                "accuracy_from": pair.first.accuracy,
                "accuracy_to": pair.second.accuracy,
                "gain": pair.gain,
                "low": interval.low,
                "high": interval.high,
                "less_error": np.nan if pair.less_error is None else pair.less_error,
                "mcnemar_p": np.nan if p is None else p,
            }
        )
    return pd.DataFrame(rows)
