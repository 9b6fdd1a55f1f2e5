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
from carsclf.report.groups import Group


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
        return one.right[np.argsort(one.ids)], two.right[np.argsort(two.ids)]

    def p_value(self) -> float | None:
        """McNemar's, of the median runs."""
        both = self.typical_hits()
        return None if both is None else mcnemar(*both)

    @property
    def unequal(self) -> str:
        """In what the two were not treated alike, in words; empty where they were."""
        one, two = self.first, self.second
        said = []
        if one.precision != two.precision and one.precision and two.precision:
            said.append(f"{one.precision} against {two.precision}")
        if one.random != two.random:
            said.append("random weights against pretrained ones")
        if not one.runs or not two.runs:
            said.append("not retrained: the best of its trials on the photos its search chose by")
        elif len(one.runs) != len(two.runs):
            said.append(f"{_runs(one)} against {_runs(two)}")
        return "; ".join(said)

    def fates(self) -> pd.Series | None:
        """Of the median runs' errors."""
        both = self.typical_hits()
        return None if both is None else fates(*both)


def make_pairs(groups: list[Group]) -> list[Pair]:
    """Each study's proposal against what was known and what it began with, then all against the
    first, which is the one to use."""
    pairs: list[Pair] = []
    for study in studies_of(groups):
        for pair in (searched(groups, study), retuned(groups, study)):
            if pair is not None and not _known(pair, pairs):
                pairs.append(pair)
    best = groups[0] if groups else None
    for group in groups[1:]:
        if best is not None and not _known(Pair(group, best), pairs):
            pairs.append(Pair(group, best))
    return pairs


def _known(pair: Pair, pairs: list[Pair]) -> bool:
    both = {id(pair.first), id(pair.second)}
    return any({id(p.first), id(p.second)} == both for p in pairs)


def studies_of(groups: list[Group]) -> list[str]:
    """Names of the studies that some group belongs to."""
    return list(dict.fromkeys(folder for g in groups for folder in g.studies))


def group_of(groups: list[Group], study: str, role: str) -> Group | None:
    """A study's baseline or what it proposes (searched)."""
    return next((g for g in groups if study in g.studies and g.role == role), None)


def searched(groups: list[Group], study: str) -> Pair | None:
    """From the best that is known without a search to what the study's search proposes.

    Known is whatever was trained of the same network, mode and picture size and no search found:
    the study's baseline, our default, settings of one's own. None where one side is missing.
    """
    proposal = group_of(groups, study, "searched")
    if proposal is None:
        return None
    alike = [g for g in groups if g.kind == proposal.kind and g.size in (proposal.size, None)]
    known = [g for g in alike if g.runs and g is not proposal and (not g.found or g.given)]
    return Pair(max(known, key=lambda g: g.accuracy), proposal) if known else None


def adopted(groups: list[Group], study: str) -> Pair | None:
    """From the same to what the study says to use: its proposal, or the incumbent that it keeps."""
    pair, kept = searched(groups, study), group_of(groups, study, "baseline")
    if pair is None or kept is None or not pair.second.passed_over:
        return pair
    return Pair(pair.first, kept)


def retuned(groups: list[Group], study: str) -> Pair | None:
    """From a study's own settings to its proposal; None where one of them is missing."""
    base, proposal = (group_of(groups, study, role) for role in ("baseline", "searched"))
    return None if base is None or proposal is None else Pair(base, proposal)


def ahead_of(groups: list[Group], group: Group) -> Group | None:
    """Of the same mode, the best that a final passed over and that reaches more than `group`."""
    alike = (g for g in groups if g.mode == group.mode and g.passed_over)
    return max(
        (g for g in alike if g.accuracy > group.accuracy), key=lambda g: g.accuracy, default=None
    )


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
                "unequal": pair.unequal,
            }
        )
    return pd.DataFrame(rows)


def _runs(group: Group) -> str:
    return f"{len(group.runs)} run{'s' * (len(group.runs) != 1)}"
