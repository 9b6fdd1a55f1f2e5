"""A study's decisions: ask for a trial, tell its result, obey.

It knows nothing of processes: real workers and simulated ones hang on it alike. Its state is a
pure function of the calls it got, so the journal of those calls rebuilds it (Ray's snapshots come
every 10 s and forget the scheduler).

First run the configurations that were known before, at full length and without the scheduler, then
the search's own trials, then the final.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from ray.tune.schedulers import TrialScheduler

from carsclf.tuning.search.base import Search
from carsclf.tuning.search.driven import Driven
from carsclf.tuning.space import Raw, Space
from carsclf.tuning.study.final import line_up
from carsclf.tuning.trial import (
    ENDED,
    FAILED,
    FIDELITY,
    FINISHED,
    PAUSED,
    RUNNING,
    SCORE,
    Start,
    Trial,
    length,
)

CONTINUE, PAUSE, STOP = TrialScheduler.CONTINUE, TrialScheduler.PAUSE, TrialScheduler.STOP
Record = Callable[..., None]


class Controller:
    """Decisions of a search over a space, for trainings of ``horizon`` epochs."""

    def __init__(
        self,
        search: Search,
        space: Space,
        horizon: int,
        record: Record,
        starts: Sequence[Start] = (),
        answered: Callable[[Raw], Raw] | None = None,
    ) -> None:
        self.search, self.space, self.horizon = search, space, horizon
        known = starts[0].raw if starts else None
        self._driven = Driven(search, space, horizon, known, self._stop_as_told)
        self.searcher = self._driven.searcher
        self.propose: Callable[[str], Raw | None] = self.searcher.suggest
        """Where proposals come from; a study being rebuilt takes them from its journal."""
        self.trials: list[Trial] = []
        """Known configurations and the search's own."""
        self.finalists: list[Trial] = []
        """The final's trainings; their numbers go on from those of the trials."""
        self.running: set[Trial] = set()
        self.waiting: list[Trial] = []
        """Trials that lost their worker and go on before anything new starts."""
        self.epochs = 0
        """Finished epochs of all trials."""
        self.seconds = 0.0
        """They took."""
        self.just_ended: set[Trial] = set()
        """Since whoever clears their files last looked."""
        self._best: Trial | None = None
        self.closed: str | None = None
        """Why the search ended before its budget did."""
        self._starts, self._answered, self._record = list(starts), answered, record
        self._final: float | None = None if search.final else 0.0
        """Full trainings the final may take; None: what the budget keeps for it."""
        self._lined_up: list[Trial] = []

    @property
    def spent(self) -> float:
        """Full trainings paid for; a running epoch counts from its start."""
        return (self.epochs + len(self.running)) / self.horizon

    @property
    def best(self) -> Trial | None:
        """The trial with the best score at any fidelity; one that failed later is no winner."""
        return self._best

    @property
    def everyone(self) -> list[Trial]:
        """All trials, those of the final last."""
        return [*self.trials, *self.finalists]

    @property
    def at_most(self) -> float:
        """Trials that may still run at once."""
        known = len(self.running) + len(self.waiting)
        if self.finalists:
            return known + len(self._lined_up)
        final = self._affordable() if self._final is None else self._final
        if self.closed is not None:
            return max(known, final)
        return max(known + max(0.0, self._left()) / self.search.least(self.horizon), final)

    @property
    def incumbent(self) -> Trial | None:
        """The configuration that the study was composed with; None where none is known."""
        return self.trials[0] if self.trials and self.trials[0].role == "incumbent" else None

    def ranked(self) -> list[Trial]:
        """The trials with a score, best first, without the failed ones."""
        scored = [t for t in self.trials if t.best is not None and t.status != FAILED]
        return sorted(scored, key=lambda t: t.rank, reverse=True)

    def trial(self, number: int) -> Trial:
        """By number, also of the final."""
        known = len(self.trials)
        return self.trials[number] if number < known else self.finalists[number - known]

    def ask(self) -> Trial | None:
        """The trial a free worker takes next; None: nothing to do now."""
        if self.waiting:
            trial = self.waiting.pop(0)
        else:
            trial = None if self.closed or self.finalists else self._search()
            if trial is None and not self.running and not self.finalists:
                self._begin_final()
            if trial is None and self._lined_up:
                trial = self._lined_up.pop(0)
            if trial is None:
                return None
        self._record("start", trial=trial.number, epoch=trial.epoch)
        trial.status = RUNNING
        self.running.add(trial)
        return trial

    def tell(self, trial: Trial, epoch: int, metrics: dict[str, float], seconds: float) -> str:
        """The decision (CONTINUE, PAUSE or STOP) after a finished epoch; metrics hold SCORE."""
        self._record(
            "result", trial=trial.number, epoch=epoch, metrics=metrics, seconds=round(seconds, 4)
        )
        self.epochs += epoch - trial.epoch
        trial.epoch, trial.seconds = epoch, trial.seconds + seconds
        self.seconds += seconds
        trial.last = metrics[SCORE]
        trial.best = max(metrics[SCORE], trial.best if trial.best is not None else -math.inf)
        if trial.role != "final" and (self._best is None or trial.rank > self._best.rank):
            self._best = trial
        decision = self._decide(trial, {**self.search.clock(epoch, self.horizon), **metrics})
        self._record("decision", trial=trial.number, decision=decision)
        return decision

    def fail(self, trial: Trial, error: str, *, lost: bool = False) -> None:
        """A worker came back without a result; ``lost`` when its machine died, not the trial."""
        self._record("error", trial=trial.number, error=error, lost=lost)
        self.running.discard(trial)
        trial.failures += not lost
        if lost or trial.failures <= 1:
            self.waiting.append(trial)
        else:
            self._failed(trial, error, None)

    def reject(self, trial: Trial, error: str) -> None:
        """The training itself is at fault (it diverged, say): no retry, a bad score instead."""
        self._record("reject", trial=trial.number, error=error)
        self.running.discard(trial)
        trial.failures += 1
        self._failed(trial, error, self._worst(trial))

    def close(self, why: str, final: float) -> None:
        """No more search: what runs ends at its next epoch; ``final`` full trainings are left."""
        self._record("close", why=why, final=round(final, 4))
        self.closed = why
        if self._final is None:
            self._final = min(final, self._affordable())
        for trial in self.waiting:
            if trial.role != "final":
                self._stop(trial, why)
        self.waiting = [t for t in self.waiting if t.role == "final"]

    def _search(self) -> Trial | None:
        """A known configuration, a trial that goes on, or a new one, in this order.

        Ray asks for a new one first and for the scheduler's choice among all then; so do searches
        that only stop. A HyperBand asked with nothing pending or running would halve a half-filled
        bracket.
        """
        if self._starts:
            return self._start(self._starts.pop(0))
        self.searcher.left = self._left() / self.horizon
        self.searcher.may_propose = len(self.trials) < self.search.trials
        trial = self._chosen() if self.search.promotes else None
        if trial is None:
            if not self._driven.pending:
                self._suggest()
            trial = self._chosen()
        return trial

    def _chosen(self) -> Trial | None:
        trial = self._driven.choose()
        return None if trial is None or self._left() < trial.committed else trial

    def _start(self, start: Start) -> Trial:
        number = len(self.trials)
        trial = Trial(
            *(number, start.raw, start.overrides, self.horizon, True, start.role),
            values=start.values,
        )
        self._record("suggest", trial=number, raw=start.raw, fidelity=1.0, role=start.role)
        self.trials.append(trial)
        self._driven.know(trial)
        return trial

    def _suggest(self) -> None:
        least = self.search.least(self.horizon)
        if len(self.trials) >= self.search.trials or self._left() < least:
            return
        # TuneBOHB counts promoted trials as running: with room for one more than those that do,
        # it declines while a promoted trial waits for a worker, as it does under Ray.
        self.searcher.set_max_concurrency(len(self.running) + 1)
        trial_id = f"{len(self.trials):04d}"
        suggestion = self.propose(trial_id)
        if suggestion and self._answered is not None:
            suggestion = {**suggestion, **self._answered(suggestion)}
            self.searcher.adopt(trial_id, suggestion)
        if suggestion:
            self._add(suggestion)

    def _add(self, suggestion: Raw) -> None:
        raw, fidelity = self.space.plain(suggestion), float(suggestion.get(FIDELITY, 1.0))
        trial = Trial(
            number=len(self.trials),
            raw=raw,
            overrides=self.space.overrides(raw),
            length=length(fidelity, self.horizon),
            fixed=self.search.fixed,
        )
        self._record("suggest", trial=trial.number, raw=raw, fidelity=fidelity, role=trial.role)
        self.trials.append(trial)
        self._driven.add(trial)

    def _decide(self, trial: Trial, result: dict[str, Any]) -> str:
        trial.result = result
        self.running.discard(trial)
        decision, why = self._decision(trial, result)
        if decision == CONTINUE and trial.role != "final":
            if self.closed is not None:
                decision, why = STOP, self.closed
            elif self._left() < trial.committed:
                decision, why = STOP, "budget spent"
        if decision == STOP:
            self._stop(trial, why)
            return STOP
        if trial.role != "final":
            self._driven.hear(trial, result)
        if decision == PAUSE:
            trial.status = PAUSED
        else:
            self.running.add(trial)
        return decision

    def _decision(self, trial: Trial, result: dict[str, Any]) -> tuple[str, str]:
        if trial.epoch >= trial.length and trial.fixed:
            return STOP, "full length" if trial.length >= self.horizon else "its length"
        decision = self._driven.decide(trial, result) or CONTINUE
        full = trial.epoch >= self.horizon
        return decision, "full length" if full else self.search.why(trial.epoch, self.horizon)

    def _stop_as_told(self, trial: Trial) -> None:
        self._stop(trial, self.search.why(trial.epoch, self.horizon))

    def _stop(self, trial: Trial, why: str) -> None:
        """As TuneController.stop_trial: the scheduler's word also ends paused trials."""
        if trial.status in ENDED:
            return
        trial.ended = why
        if trial.role != "final":
            self._driven.end(trial)
        trial.status = FINISHED
        self.just_ended.add(trial)

    def _failed(self, trial: Trial, error: str, result: dict[str, Any] | None) -> None:
        """The end of a trial for good; ``result``: what the searcher is to take for its result."""
        trial.status, trial.error, trial.ended = FAILED, error, "failed"
        self.just_ended.add(trial)
        if trial is self._best:
            self._best = next(iter(self.ranked()), None)
        if trial.role != "final":
            self._driven.fail(trial, result)

    def _worst(self, trial: Trial) -> dict[str, Any] | None:
        """The worst result of any trial, as if this one had it; None: there is none yet."""
        scores = [t.result[SCORE] for t in self.trials if SCORE in t.result]
        return self._driven.as_bad_as(min(scores), trial) if scores else None

    def _left(self) -> float:
        """Epochs of the search not yet spent or promised to trials that run or wait to go on."""
        promised = sum(t.committed for t in [*self.running, *self.waiting])
        return self.search.for_search * self.horizon + 1e-6 - self.epochs - promised

    def _affordable(self) -> float:
        """Full trainings of the final that the budget still holds."""
        return self.search.for_final(self.epochs / self.horizon)

    def _begin_final(self) -> None:
        """Lines up the best few and the incumbent, each over the same new seeds."""
        if self._final is None and self.search.hours is not None:
            return  # whoever minds the hours says what it may take
        allowed = self._affordable() if self._final is None else self._final
        places = self.horizon, len(self.trials)
        self.finalists = line_up(self.ranked(), self.incumbent, allowed, *places)
        for t in self.finalists:
            self._record("suggest", trial=t.number, role=t.role, repeats=t.repeats, seed=t.seed)
        self._final, self._lined_up = 0.0, list(self.finalists)
