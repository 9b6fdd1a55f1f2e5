"""Freeze-thaw search: trainings pause at rungs and the best go on; a model proposes new ones."""

from dataclasses import dataclass
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from carsclf.tuning.search.base import Search, check_rungs
from carsclf.tuning.search.promotion import FreezeThawPolicy
from carsclf.tuning.space import Raw, Space
from carsclf.tuning.trial import FAILED_RESULT, PENDING, SCORE, TIME, Trial


@dataclass(frozen=True, kw_only=True)
class FreezeThaw(Search):
    """Promoting successive halving on proposals of one model of all curves; see promotion."""

    grace: float
    """Share of a full training before the first rung."""
    reduction: float
    promotes = True

    def __post_init__(self) -> None:
        """Raises ConfigError for rungs that would pause nothing or everything."""
        super().__post_init__()
        check_rungs(self.grace, self.reduction)

    def build(self, space: Space, horizon: int, known: Raw | None) -> tuple[Any, TrialScheduler]:
        """See Search."""
        policy = FreezeThawPolicy(
            [len(parameter.choices) for parameter in space],
            horizon,
            None if known is None else space.to_unit([known])[0],
            self.seed,
            self.reduction,
            self.grace,
        )
        return Proposals(policy, space, horizon), Promotion(policy)


class Proposals(Searcher):
    """The policy's new configurations."""

    def __init__(self, policy: FreezeThawPolicy, space: Space, horizon: int) -> None:
        super().__init__(metric=SCORE, mode="max")
        self._policy, self._space, self._horizon = policy, space, horizon
        self._asked: set[str] = set()

    @property
    def left(self) -> float:
        """Full trainings that the search still has."""
        return self._policy.left

    @left.setter
    def left(self, left: float) -> None:
        self._policy.left = left

    @property
    def may_propose(self) -> bool:
        """Whether the cap on trials allows another one."""
        return self._policy.may_propose

    @may_propose.setter
    def may_propose(self, may: bool) -> None:
        self._policy.may_propose = may

    def suggest(self, trial_id: str) -> Raw:
        """See Ray's Searcher."""
        unit = self._policy.propose(len(self._asked))
        raw = self._space.from_unit(unit[None])[0]
        self.adopt(trial_id, raw)
        return raw

    def adopt(self, trial_id: str, raw: Raw) -> None:
        """Takes a given proposal; it runs to its end unless Promotion says otherwise."""
        self._asked.add(trial_id)
        self._policy.add(trial_id, self._space.to_unit([raw])[0], self._horizon)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """See Ray's Searcher."""
        self._policy.observe(trial_id, result[TIME], result[SCORE])

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """See Ray's Searcher; a failed training counts as the worst."""
        failed = error or bool(result and FAILED_RESULT in result)
        if result and not failed:
            self.on_trial_result(trial_id, result)
        self._policy.close(trial_id, failed)


class Promotion(FIFOScheduler):
    """The policy's pauses, and who goes on after one."""

    def __init__(self, policy: FreezeThawPolicy) -> None:
        super().__init__()
        self._policy = policy

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """See Ray's TrialScheduler: a new trial pauses at the first rung."""
        self._policy.promote(trial.trial_id)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """See Ray's TrialScheduler."""
        epoch, until = result[TIME], self._policy.until(trial.trial_id)
        if epoch < until:
            return self.CONTINUE
        return self.STOP if until >= self._policy.rungs[-1] else self.PAUSE

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """See Ray's TrialScheduler: what was proposed last, else who is promoted."""
        trials: list[Trial] = tune_controller.get_trials()
        pending = [trial for trial in trials if trial.status == PENDING]
        if pending:
            return pending[0]
        chosen = self._policy.next()
        if chosen is None:
            return None
        self._policy.promote(chosen)
        return next(trial for trial in trials if trial.trial_id == chosen)
