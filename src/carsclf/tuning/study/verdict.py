"""What a study found: its winner, its incumbent, and what the search was worth."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from carsclf.tuning.study.final import CONFIDENCE, Comparison, Outcome, compare
from carsclf.tuning.study.records import Finalist
from carsclf.tuning.study.study import Study
from carsclf.tuning.trial import FINISHED, Trial

SHARES = ("val/top1", "val/top5", "val/macro_f1", "accuracy")
"""Metrics that are told in points."""
Outcomes = dict[int, Outcome]
"""By seed."""


@dataclass(frozen=True)
class Verdict:
    """The trial whose configuration is to be used, why, and the entries of the final."""

    winner: Trial | None
    words: str
    finalists: list[Finalist] = field(default_factory=list)


def reach_verdict(study: Study, outcome: Callable[[Trial], Outcome]) -> Verdict:
    """As far as the study has come; until its final says otherwise, the incumbent is kept."""
    controller = study.controller
    best, known = controller.best, controller.incumbent
    if best is None:
        return Verdict(None, "no trial succeeded")
    groups: dict[int, Outcomes] = {}
    for trial in controller.finalists:
        if trial.status == FINISHED and trial.repeats is not None and trial.seed is not None:
            groups.setdefault(trial.repeats, {})[trial.seed] = outcome(trial)
    if not groups:
        return _without_final(study, best, known)
    means = {n: float(np.mean([o.score for o in group.values()])) for n, group in groups.items()}
    first = max(means, key=lambda number: means[number])
    compared = {}
    if known is not None and known.number in groups:
        others = [number for number in groups if number != known.number]
        for number in others:
            if pair := _paired(groups[known.number], groups[number]):
                compared[number] = compare(*pair, candidates=len(others))
    finalists = [_finalist(study, n, groups[n], compared.get(n)) for n in groups]
    winner, words = _decided(study, first, compared)
    return Verdict(winner, words, finalists)


def _without_final(study: Study, best: Trial, known: Trial | None) -> Verdict:
    if not study.controller.search.final:
        words = "no final: the best score of single trainings, which flatters (search.final=0)"
        return Verdict(best, words)
    if known is None or known.status != FINISHED:
        return Verdict(best, "the best score so far, without a final")
    return Verdict(known, "the incumbent: no final has shown anything to be better")


def _decided(study: Study, first: int, compared: dict[int, Comparison]) -> tuple[Trial, str]:
    """The winner among the finalists, of which ``first`` has the best mean; and why."""
    best, known = study.controller.trial(first), study.controller.incumbent
    if not compared or known is None:
        return best, f"trial {best.trial_id}: the best mean of the final; no incumbent to compare"
    number = first if first in compared else max(compared, key=lambda n: compared[n].difference)
    found, trial = compared[number], study.controller.trial(number)
    told = (
        f"trial {trial.trial_id} against the incumbent on {study.metric}: "
        f"{difference_in_words(found, study.metric, study.sign)}"
    )
    if found.low > 0:
        return trial, f"better than the incumbent: {told}"
    return known, f"the search found nothing better than the incumbent; {told}"


def difference_in_words(found: Comparison, metric: str, sign: int = 1) -> str:
    """Such as +2.1 points [-0.3 to +4.5, 95 %] over 3 seeds, better with probability 0.96."""
    scale, unit = (100, " points") if metric in SHARES else (1, "")
    ends = sorted((sign * scale * found.low, sign * scale * found.high))
    value, low, high = (
        f"{round(x, 2) + 0.0:+.2f}" if unit else f"{x:+.3g}"
        for x in (sign * scale * found.difference, *ends)
    )
    return (
        f"{value}{unit} [{low} to {high}, {CONFIDENCE:.0%}] over {found.seeds} "
        f"seed{'s' * (found.seeds > 1)}, better with probability {found.probability:.2f}"
    )


def _paired(known: Outcomes, other: Outcomes) -> tuple[list[Outcome], list[Outcome]] | None:
    seeds = sorted(set(known) & set(other))
    return ([known[s] for s in seeds], [other[s] for s in seeds]) if seeds else None


def _finalist(study: Study, number: int, group: Outcomes, found: Comparison | None) -> Finalist:
    trial = study.controller.trial(number)
    scores = [study.sign * group[seed].score for seed in sorted(group)]
    folders = [
        study.folder.relative(t)
        for t in study.controller.finalists
        if study.folder is not None and t.repeats == number and t.seed in group
    ]
    made = Finalist(number, trial.role, scores, float(np.mean(scores)), folders)
    if found is None:
        return made
    finite = bool(np.isfinite([found.low, found.high]).all())
    return dataclasses.replace(
        made,
        difference=found.difference,
        low=found.low if finite else None,
        high=found.high if finite else None,
        probability=found.probability,
    )
