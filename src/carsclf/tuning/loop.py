"""The loop every study runs through: ask for a trial, tell its result, obey the decision.

It drives Ray Tune's own searchers and schedulers through their call-backs, as Ray's TuneController
does, but knows nothing of processes: real workers and simulated ones hang on it alike. Its state
is a pure function of the calls it got, so the journal of those calls rebuilds it (Ray's snapshots
come every 10 s and forget the scheduler).
"""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import TrialScheduler

from carsclf.tuning.search import Search
from carsclf.tuning.space import Raw, Space
from carsclf.tuning.trial import (
    FAILED,
    FIDELITY,
    FINISHED,
    PAUSED,
    PENDING,
    RUNNING,
    SCORE,
    Trial,
    length,
)

CONTINUE, PAUSE, STOP = TrialScheduler.CONTINUE, TrialScheduler.PAUSE, TrialScheduler.STOP
ENDED = (FINISHED, FAILED)
Record = Callable[..., None]


class Loop:
    """A study's decisions, from a search, a space and the length of one full training (epochs)."""

    def __init__(self, search: Search, space: Space, horizon: int, record: Record) -> None:
        self.search, self.space, self.horizon = search, space, horizon
        # Any: Ray's types name its own Trial, of which ours has all that schedulers read
        self.searcher: Any
        self.scheduler: Any
        self.searcher, self.scheduler = search.build(space, horizon)
        self.propose: Callable[[str], Raw | None] = self.searcher.suggest
        """Where proposals come from; a study being rebuilt takes them from its journal."""
        self.trials: list[Trial] = []
        self.running: set[Trial] = set()
        self.waiting: list[Trial] = []
        """Trials that lost their worker and go on before anything new starts."""
        self.epochs = 0
        """Finished epochs of all trials."""
        self._record = record
        self._limit = search.budget * horizon + 1e-6
        self._controller: Any = SimpleNamespace(
            search_alg=SimpleNamespace(searcher=self.searcher),
            get_trials=lambda: self.trials,
            stop_trial=self._stop,
        )

    @property
    def spent(self) -> float:
        """Full trainings paid for; a running epoch counts from its start."""
        return (self.epochs + len(self.running)) / self.horizon

    @property
    def best(self) -> Trial | None:
        """The trial with the best score at any fidelity; one that failed later is no winner."""
        scored = [t for t in self.trials if t.best is not None and t.status != FAILED]
        return max(scored, key=lambda t: (t.best, t.epoch, -t.number), default=None)

    def ask(self) -> Trial | None:
        """The trial a free worker takes next; None: nothing to do now."""
        if self.waiting:
            trial = self.waiting.pop(0)
        else:
            # Ray's order: first a fresh suggestion, then the scheduler's choice among all. A
            # HyperBand asked with nothing pending or running would halve a half-filled bracket.
            if all(t.status != PENDING for t in self.trials):
                self._suggest()
            trial = self.scheduler.choose_trial_to_run(self._controller)
            if trial is None or self._left() < trial.owed:
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
        trial.best = max(metrics[SCORE], trial.best if trial.best is not None else -math.inf)
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
            return
        trial.status, trial.error = FAILED, error
        self.scheduler.on_trial_error(self._controller, trial)
        self.searcher.on_trial_complete(trial.trial_id, error=True)

    def reject(self, trial: Trial, error: str) -> None:
        """The training itself is at fault (it diverged, say): no retry, a bad score instead."""
        self._record("reject", trial=trial.number, error=error)
        self.running.discard(trial)
        trial.failures += 1
        trial.status, trial.error = FAILED, error
        result = self._worst(trial)
        self.scheduler.on_trial_error(self._controller, trial)
        self.searcher.on_trial_complete(trial.trial_id, result=result, error=result is None)

    def _worst(self, trial: Trial) -> dict[str, Any] | None:
        """The worst result of any trial, as if this one had it; None: there is none yet."""
        scores = [t.result[SCORE] for t in self.trials if SCORE in t.result]
        if not scores:
            return None
        result: dict[str, Any] = {**self.search.clock(trial.epoch + 1, self.horizon)}
        result[SCORE] = min(scores)
        bracket, _ = getattr(self.scheduler, "_trial_info", {}).get(trial, (None, None))
        if bracket is not None:  # TuneBOHB learns per rung: the one this trial failed to reach
            result["hyperband_info"] = {"budget": bracket._cumul_r}
        return result

    def _suggest(self) -> None:
        least = self.search.least(self.horizon)
        if len(self.trials) >= self.search.trials or self._left() < least:
            return
        self.searcher.left = self._left() / self.horizon
        # TuneBOHB counts promoted trials as running: with room for one more than those that do,
        # it declines while a promoted trial waits for a worker, as it does under Ray.
        self.searcher.set_max_concurrency(len(self.running) + 1)
        suggestion = self.propose(f"{len(self.trials):04d}")
        if suggestion:
            self._add(suggestion)

    def _add(self, suggestion: Raw) -> Trial:
        raw, fidelity = self.space.plain(suggestion), float(suggestion.get(FIDELITY, 1.0))
        trial = Trial(
            number=len(self.trials),
            raw=raw,
            overrides=self.space.overrides(raw),
            length=length(fidelity, self.horizon),
            fixed=self.search.fixed,
        )
        self._record("suggest", trial=trial.number, raw=raw, fidelity=fidelity)
        self.trials.append(trial)
        self.scheduler.on_trial_add(self._controller, trial)
        return trial

    def _decide(self, trial: Trial, result: dict[str, Any]) -> str:
        trial.result = result
        self.running.discard(trial)
        if trial.epoch >= trial.length and trial.fixed:
            decision = STOP
        else:
            decision = self.scheduler.on_trial_result(self._controller, trial, result)
        if decision == CONTINUE and self._left() < trial.owed:
            decision = STOP
        if decision == STOP:
            self._stop(trial)
            return STOP
        self.searcher.on_trial_result(trial.trial_id, result)
        if decision == PAUSE:
            trial.status = PAUSED
        else:
            self.running.add(trial)
        return decision

    def _stop(self, trial: Trial) -> None:
        """As TuneController.stop_trial: the scheduler's word also ends paused trials."""
        if trial.status in ENDED:
            return
        if trial.status == RUNNING:
            self.scheduler.on_trial_complete(self._controller, trial, trial.result)
            self.searcher.on_trial_complete(trial.trial_id, result=trial.result)
        else:
            self.scheduler.on_trial_remove(self._controller, trial)
            self.searcher.on_trial_complete(trial.trial_id)
        trial.status = FINISHED

    def _left(self) -> float:
        """Epochs not yet spent or promised to running trials."""
        return self._limit - self.epochs - sum(t.owed for t in self.running)
