"""Callbacks of Ray Tune's kind that write down what they are told."""

from typing import Any, ClassVar

from ray.tune import Callback


class Recording(Callback):
    """Every call but the turns of the loop, in order: hook, trial, status, result."""

    heard: ClassVar[list[tuple[str, str | None, dict[str, Any]]]] = []

    def _hear(self, hook: str, trial: Any = None, result: dict[str, Any] | None = None) -> None:
        tag = None if trial is None else trial.experiment_tag.split("_")[0]
        self.heard.append((hook, tag, dict(result or {})))

    def setup(self, stop=None, num_samples=None, total_num_samples=None, **info):
        self._hear("setup")

    def on_trial_start(self, iteration, trials, trial, **info):
        assert trial in trials
        self._hear("start", trial)

    def on_trial_result(self, iteration, trials, trial, result, **info):
        self._hear("result", trial, result)

    def on_trial_recover(self, iteration, trials, trial, **info):
        self._hear("recover", trial)

    def on_trial_complete(self, iteration, trials, trial, **info):
        self._hear("complete", trial)

    def on_trial_error(self, iteration, trials, trial, **info):
        assert trial.status == "ERROR"
        self._hear("error", trial)

    def on_experiment_end(self, trials, **info):
        self._hear("end")


class Failing(Recording):
    """Breaks when it hears of the second epoch."""

    def on_trial_result(self, iteration, trials, trial, result, **info):
        super().on_trial_result(iteration, trials, trial, result)
        if result["training_iteration"] == 2:
            raise OSError("the log's server\nis gone")


class Saving(Callback):
    """Needs what a study never tells."""

    def on_checkpoint(self, iteration, trials, trial, checkpoint, **info):
        raise NotImplementedError
