"""A trial as Ray Tune's callbacks see it."""

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from carsclf.tuning.space import Space
from carsclf.tuning.study.records import StudyFolder
from carsclf.tuning.trial import ENDED, Trial


class Identity:
    """A study's folder, and a key that no other study has, of this place or of an earlier day."""

    def __init__(self, folder: StudyFolder, began: float) -> None:
        self.folder = folder
        self.key = hashlib.sha1(f"{folder.root} {began}".encode()).hexdigest()[:8]


class SeenTrial:
    """A trial with the attributes that Ray's callbacks read from theirs."""

    checkpoint = None
    trainable_name = "train"

    def __init__(self, trial: Trial, study: Identity, space: Space) -> None:
        self._trial, self._study = trial, study
        self.trial_id = f"{study.key}_{trial.number:05d}"
        self.config: dict[str, Any] = dict(space.values(trial.raw))
        if trial.seed is not None:
            self.config["seed"] = trial.seed
        self.evaluated_params = self.config
        values = ",".join(f"{k}={_short(v)}" for k, v in self.config.items())
        self.experiment_tag = f"{trial.number}_{values}"
        self.last_result: dict[str, Any] = {}
        self.local_path = self.logdir = self.path = str(study.folder.trial(trial))
        self.local_experiment_path = str(study.folder.root)
        self.experiment_dir_name = study.folder.root.name

    def __str__(self) -> str:
        return f"{self.experiment_dir_name}-{self._trial.trial_id}"

    __repr__ = __str__

    @property
    def status(self) -> str:
        """In Ray's words."""
        return self._trial.status

    @property
    def num_failures(self) -> int:
        """How often it failed."""
        return self._trial.failures

    def is_finished(self) -> bool:
        """Whether it ended, well or not."""
        return self._trial.status in ENDED

    def init_local_path(self) -> None:
        """Makes its folder."""
        Path(self.local_path).mkdir(parents=True, exist_ok=True)

    init_logdir = init_local_path

    def results(self, metrics: Mapping[str, float], seconds: float) -> dict[str, Any]:
        """An epoch in Ray's names; kept as the last result."""
        trial, now = self._trial, time.time()
        self.last_result = {
            **metrics,
            "training_iteration": trial.epoch,
            "trial_id": self.trial_id,
            "time_this_iter_s": seconds,
            "time_total_s": trial.seconds,
            "timestamp": int(now),
            "date": time.strftime("%Y-%m-%d_%H-%M-%S", time.localtime(now)),
            "done": trial.status in ENDED,
            "config": self.config,
        }
        return self.last_result


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
