"""A searcher and a scheduler, driven through their call-backs as by Ray's TuneController."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from carsclf.tuning.search.base import Search
from carsclf.tuning.space import Raw, Space
from carsclf.tuning.trial import FAILED_RESULT, PENDING, RUNNING, SCORE, Trial


class Driven:
    """Both parts of a search, and the trials its scheduler knows of.

    Known configurations run without the scheduler; the searcher learns from them all the same.
    ``stop``: ends a trial on the scheduler's word, also one that is paused.
    """

    def __init__(
        self, search: Search, space: Space, horizon: int, known: Raw | None,
        stop: Callable[[Trial], None],
    ) -> None:  # fmt: skip
        # Any: Ray's types name its own Trial, of which ours has all that schedulers read
        self.searcher: Any
        self.scheduler: Any
        self.searcher, self.scheduler = search.begin(space, horizon, known)
        self._search, self._horizon = search, horizon
        self._trials: dict[Trial, None] = {}
        self._ray: Any = SimpleNamespace(
            search_alg=SimpleNamespace(searcher=self.searcher),
            get_trials=lambda: list(self._trials),
            get_live_trials=lambda: list(self._trials),
            stop_trial=stop,
        )

    @property
    def pending(self) -> bool:
        """Whether a proposal has not begun yet."""
        return any(trial.status == PENDING for trial in self._trials)

    def know(self, trial: Trial) -> None:
        """A known configuration is run."""
        self.searcher.adopt(trial.trial_id, dict(trial.raw))

    def add(self, trial: Trial) -> None:
        """A proposal becomes a trial."""
        self._trials[trial] = None
        self.scheduler.on_trial_add(self._ray, trial)

    def choose(self) -> Trial | None:
        """The scheduler's choice among what is pending and paused."""
        return self.scheduler.choose_trial_to_run(self._ray)

    def decide(self, trial: Trial, result: dict[str, Any]) -> str | None:
        """The scheduler's decision; None: it does not know of this trial."""
        if trial not in self._trials:
            return None
        return self.scheduler.on_trial_result(self._ray, trial, result)

    def hear(self, trial: Trial, result: dict[str, Any]) -> None:
        """A trial goes on, now or later."""
        self.searcher.on_trial_result(trial.trial_id, result)

    def end(self, trial: Trial) -> None:
        """A trial has ended, or one that is paused will not go on."""
        result = trial.result if trial.status == RUNNING else None
        if trial not in self._trials:
            result = result and self._search.outside(result)
        elif result is None:
            self.scheduler.on_trial_remove(self._ray, trial)
        else:
            self.scheduler.on_trial_complete(self._ray, trial, result)
        self.searcher.on_trial_complete(trial.trial_id, result=result)
        self._trials.pop(trial, None)

    def fail(self, trial: Trial, result: dict[str, Any] | None) -> None:
        """A trial has failed for good; ``result``: what the searcher is to take for its result."""
        if trial in self._trials:
            self.scheduler.on_trial_error(self._ray, trial)
            del self._trials[trial]
        self.searcher.on_trial_complete(trial.trial_id, result=result, error=result is None)

    def as_bad_as(self, score: float, trial: Trial) -> dict[str, Any]:
        """A result with that score, as if the trial had it at its next epoch."""
        result: dict[str, Any] = {**self._search.clock(trial.epoch + 1, self._horizon)}
        result |= {FAILED_RESULT: True, SCORE: score}
        if trial not in self._trials:
            return self._search.outside(result)
        return self._search.missed(self.scheduler, trial, result)
