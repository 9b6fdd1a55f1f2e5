"""Ray Tune's own callbacks (`ray.tune.Callback`), called by a study as Ray's Tuner calls them.

Not called: on_trial_save, on_checkpoint, on_trial_restore and set_state: checkpoints are the
training's, and a study is rebuilt from its journal. Who needs the first three is refused.
"""

from collections.abc import Callable, Mapping
from typing import Any

from hydra.utils import instantiate
from ray.tune import Callback
from ray.tune.logger import LoggerCallback

from carsclf.errors import ConfigError
from carsclf.tuning.study.controller import Controller
from carsclf.tuning.study.seen import Identity, SeenTrial
from carsclf.tuning.trial import ENDED, FAILED, Trial
from carsclf.tuning.workers.protocol import Epoch

NEVER_CALLED = ("on_checkpoint", "on_trial_save", "on_trial_restore")


def make_callbacks(config: Mapping[str, Any] | None) -> dict[str, Callback]:
    """The callbacks of `callbacks`, by name; raises ConfigError for what cannot be one."""
    made = {}
    for name, settings in (config or {}).items():
        if not isinstance(settings, Mapping) or "_target_" not in settings:
            raise ConfigError(
                f"callbacks.{name}: expected {{_target_: <a ray.tune.Callback>}}, for example "
                "+callbacks.mine._target_=my_module.MyCallback"
            )
        try:
            callback = instantiate(settings, _convert_="all")
        except Exception as error:
            reason = " ".join(str(error.__cause__ or error).split())
            raise ConfigError(f"callbacks.{name}: {settings['_target_']}: {reason}") from None
        made[str(name)] = _checked(str(name), callback)
    return made


def _checked(name: str, callback: Any) -> Callback:
    if not isinstance(callback, Callback):
        raise ConfigError(
            f"callbacks.{name}: expected a ray.tune.Callback, came {type(callback).__name__}"
        )
    if getattr(callback, "upload_checkpoints", False):
        raise ConfigError(
            f"callbacks.{name}.upload_checkpoints=true: checkpoints stay with the trainings; "
            "remove it"
        )
    for hook in NEVER_CALLED:
        if getattr(type(callback), hook) not in (
            getattr(Callback, hook),
            getattr(LoggerCallback, hook),
        ):
            raise ConfigError(
                f"callbacks.{name}: {type(callback).__name__}.{hook} would never be called here: "
                "checkpoints are the training's own"
            )
    return callback


class Callbacks:
    """A study's callbacks; one that raises is left out from then on, with a line."""

    def __init__(
        self,
        members: Mapping[str, Callback] | None = None,
        study: Identity | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self._members, self._study, self._say = dict(members or {}), study, say
        self._seen: dict[Trial, SeenTrial] = {}
        self._begun: set[Trial] = set()
        self._over: set[Trial] = set()
        self._turns = 0

    def begin(self, controller: Controller) -> None:
        """Before the first trial, or the first after a resume; what ended before is not told."""
        self._controller = controller
        self._over = {trial for trial in controller.everyone if trial.status in ENDED}
        samples = controller.search.trials
        self._call("setup", stop=None, num_samples=samples, total_num_samples=samples)

    def turn_begins(self) -> None:
        """Of the study's loop."""
        self._tell("on_step_begin")

    def turn_ends(self) -> None:
        """Tells of all that ended too: a scheduler's word also ends paused trials."""
        for trial in self._controller.everyone if self._members else ():
            if trial.status in ENDED and trial not in self._over:
                self._ended(trial)
        self._turns += 1
        self._tell("on_step_end")

    def start(self, trial: Trial) -> None:
        """A worker takes it up, for the first time or again."""
        self._begun.add(trial)
        if self._members:
            self._of(trial).init_local_path()
        self._tell("on_trial_start", trial)

    def result(self, trial: Trial, epoch: Epoch) -> None:
        """A finished epoch, after search and scheduler decided on it."""
        if self._members:
            result = self._of(trial).results(epoch.metrics, epoch.seconds)
            self._tell("on_trial_result", trial, result=result)

    def recover(self, trial: Trial) -> None:
        """It failed and is to be taken up again."""
        self._tell("on_trial_recover", trial)

    def end(self, finished: bool) -> None:
        """After the last trial; where the study is finished, those that stayed paused end too."""
        if not self._members:
            return
        if finished:
            for trial in sorted(self._begun - self._over, key=lambda t: t.number):
                self._ended(trial)
        self._call("on_experiment_end", trials=self._everyone())

    def _ended(self, trial: Trial) -> None:
        self._over.add(trial)
        self._tell("on_trial_error" if trial.status == FAILED else "on_trial_complete", trial)

    def _of(self, trial: Trial) -> SeenTrial:
        assert self._study is not None
        if trial not in self._seen:
            self._seen[trial] = SeenTrial(trial, self._study, self._controller.space)
        return self._seen[trial]

    def _everyone(self) -> list[SeenTrial]:
        return [self._of(trial) for trial in self._controller.everyone]

    def _tell(self, hook: str, trial: Trial | None = None, **about: Any) -> None:
        if self._members:
            if trial is not None:
                about["trial"] = self._of(trial)
            self._call(hook, iteration=self._turns, trials=self._everyone(), **about)

    def _call(self, hook: str, **about: Any) -> None:
        for name, callback in list(self._members.items()):
            try:
                getattr(callback, hook)(**about)
            except Exception as error:
                del self._members[name]
                said = " ".join(str(error).split())[:500]
                self._say(f"callbacks.{name} left out: {hook}: {type(error).__name__}: {said}")
