"""The study: the loop's decisions carried out by workers, journalled, and rebuilt when killed."""

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from carsclf.errors import CheckpointError, ConfigError
from carsclf.records import RunFolder
from carsclf.tuning.crew import Happened
from carsclf.tuning.journal import Journal
from carsclf.tuning.loop import CONTINUE, ENDED, Loop
from carsclf.tuning.records import StudyFolder
from carsclf.tuning.replay import SimulatedWorkers
from carsclf.tuning.space import Raw
from carsclf.tuning.trial import FIDELITY, PAUSED, SCORE, Trial
from carsclf.tuning.worker import Epoch

Watch = Callable[[], None]


class Workers(Protocol):
    """What a study needs of real and of simulated workers."""

    @property
    def free(self) -> int: ...
    @property
    def busy(self) -> set[Trial]: ...
    def start(self, trial: Trial) -> None: ...
    def go_on(self, trial: Trial) -> None: ...
    def halt(self, trial: Trial) -> None: ...
    def next(self, timeout: float) -> Happened | None: ...


@dataclass
class Study:
    """A loop, its journal and its folder."""

    folder: StudyFolder
    journal: Journal
    loop: Loop
    metric: str
    sign: int
    """1 where more of the metric is better, -1 where less is."""
    _cleaned: set[int] = field(default_factory=set)

    def rebuild(self) -> None:
        """Makes the calls the journal tells of; trials that were running then wait for workers."""
        own, self.loop.propose = self.loop.propose, self._logged
        try:
            while (event := self.journal.ahead) is not None:
                self._repeat(event)
        finally:
            self.loop.propose = own
        if self.journal.events:
            self.journal.record("resume")  # the time it stood still is nobody's
        for trial in sorted(self.loop.running, key=lambda t: t.number):
            self.loop.fail(trial, "the study was interrupted", lost=True)

    def run(self, workers: Workers, watch: Watch) -> None:
        """Until the budget is spent; `watch` is called after whatever happens, or every second."""
        settled = False
        while True:
            if not settled:
                self._fill(workers)
                if not workers.busy and workers.free:
                    return
            free, happened = workers.free, workers.next(timeout=1.0)
            if happened is not None:
                self._obey(workers, happened)
                self._clean(workers)
            settled = happened is None and workers.free == free
            watch()

    def value(self, score: float | None) -> float | None:
        """A score as the metric's own value."""
        return None if score is None else self.sign * score

    def _fill(self, workers: Workers) -> None:
        while workers.free and (trial := self._ask()):
            workers.start(trial)

    def _ask(self) -> Trial | None:
        trial = self.loop.ask()
        if trial is None:  # asking may have moved a bracket on, so it is part of the past
            self.journal.record("idle")
        return trial

    def _obey(self, workers: Workers, happened: Happened) -> None:
        trial, failure = happened.trial, happened.failure
        if happened.epoch is not None:
            self._tell(workers, trial, happened.epoch)
        elif failure is not None and trial in self.loop.running:
            if failure.stop:
                raise CheckpointError(f"the study stopped, to be resumed: {failure.error}")
            if failure.final:
                self.loop.reject(trial, failure.error)
            else:
                self.loop.fail(trial, failure.error, lost=happened.lost)

    def _tell(self, workers: Workers, trial: Trial, epoch: Epoch) -> None:
        if self.metric not in epoch.metrics:
            raise ConfigError(
                f"objective.metric={self.metric}: expected one of {', '.join(epoch.metrics)}"
            )
        score = self.sign * epoch.metrics[self.metric]
        if not math.isfinite(score):
            self.loop.reject(trial, f"{self.metric} became {score} in epoch {epoch.epoch}")
            workers.halt(trial)
            return
        metrics = {SCORE: score, **epoch.metrics}
        if self.loop.tell(trial, epoch.epoch, metrics, epoch.seconds) == CONTINUE:
            workers.go_on(trial)
        else:
            workers.halt(trial)

    def _repeat(self, event: dict[str, Any]) -> None:
        kind = event["kind"]
        trials = self.loop.trials
        if kind in ("suggest", "start", "idle"):
            self._ask()
        elif kind in ("study", "resume", "settled"):
            self.journal.skip()
        elif kind == "result":
            self.loop.tell(
                trials[event["trial"]], event["epoch"], event["metrics"], event["seconds"]
            )
        elif kind == "error":
            self.loop.fail(trials[event["trial"]], event["error"], lost=event["lost"])
        elif kind == "reject":
            self.loop.reject(trials[event["trial"]], event["error"])
        else:
            raise CheckpointError(f"{self.journal.path}: unknown event {kind!r}")

    def _logged(self, trial_id: str) -> Raw | None:
        """The proposal the journal has next, in the searcher's stead."""
        event = self.journal.ahead
        if event is None or event["kind"] != "suggest":
            return None
        self.loop.searcher.adopt(trial_id, event["raw"], event["fidelity"])
        return {**event["raw"], FIDELITY: event["fidelity"]}

    def _clean(self, workers: Workers) -> None:
        """At most one checkpoint per paused trial, and one for the best trial."""
        best, busy = self.loop.best, workers.busy
        for trial in self.loop.trials:
            if trial in busy or trial.number in self._cleaned:
                continue
            files = RunFolder(self.folder.trial(trial.trial_id))
            if trial.status in ENDED and trial is not best:
                shutil.rmtree(files.last.parent, ignore_errors=True)
                shutil.rmtree(files.predictions("val").parent, ignore_errors=True)
                files.weights.unlink(missing_ok=True)
                files.card.unlink(missing_ok=True)
                self._cleaned.add(trial.number)
            elif trial.status in ENDED and files.best.is_file():
                files.last.unlink(missing_ok=True)
            elif trial.status == PAUSED and trial is not best:
                files.best.unlink(missing_ok=True)


class Recorded:
    """Simulated workers under a study."""

    def __init__(self, simulated: SimulatedWorkers, metric: str) -> None:
        self._simulated, self._metric = simulated, metric
        self.busy: set[Trial] = set()

    @property
    def free(self) -> int:
        """See Crew."""
        return self._simulated.free

    def start(self, trial: Trial) -> None:
        """See Crew."""
        self.busy.add(trial)
        self._simulated.start(trial)

    def go_on(self, trial: Trial) -> None:
        """See Crew."""
        self._simulated.start(trial)

    def halt(self, trial: Trial) -> None:
        """See Crew."""
        self.busy.discard(trial)

    def next(self, timeout: float) -> Happened | None:
        """See Crew; simulated time does not pass while waiting."""
        if (came := self._simulated.next()) is None:
            return None
        trial, epoch, accuracy, seconds = came
        return Happened(trial, epoch=Epoch(epoch, {self._metric: accuracy}, seconds))
