"""The study: a controller's decisions carried out, journalled, and rebuilt when killed."""

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from carsclf.errors import CheckpointError, ConfigError
from carsclf.records import RunFolder
from carsclf.tuning.space import Raw
from carsclf.tuning.study.callbacks import Callbacks
from carsclf.tuning.study.controller import CONTINUE, Controller
from carsclf.tuning.study.deadline import Deadline
from carsclf.tuning.study.journal import Journal
from carsclf.tuning.study.records import StudyFolder
from carsclf.tuning.trial import ENDED, FIDELITY, PAUSED, SCORE, Trial
from carsclf.tuning.workers.protocol import Epoch, Event, Workers

Watch = Callable[[], None]
ABOUT = ("result", "error", "reject")
"""Events in which something happened to a trial."""


@dataclass
class Study:
    """A controller, its journal and, where trials leave files, its folder."""

    journal: Journal
    controller: Controller
    metric: str
    sign: int
    """1 where more of the metric is better, -1 where less is."""
    folder: StudyFolder | None = None
    deadline: Deadline | None = None
    callbacks: Callbacks = field(default_factory=Callbacks)
    _touched: set[Trial] = field(default_factory=set)
    _best: Trial | None = None
    _settled: bool = False
    """Nothing has happened since workers were last offered trials."""
    _before: float = 0.0
    """Seconds of earlier sittings."""
    _stints: dict[Trial, tuple[float, float]] = field(default_factory=dict)
    """Since when a worker has a trial, and what its epochs had taken by then."""

    def rebuild(self) -> None:
        """Makes the calls the journal tells of; trials that were running then wait for workers."""
        own, self.controller.propose = self.controller.propose, self._logged
        try:
            while (event := self.journal.ahead) is not None:
                self._repeat(event)
        finally:
            self.controller.propose = own
        if self.journal.events:
            self._before = self.journal.seconds
            self.journal.record("resume")  # the time it stood still is nobody's
        for trial in sorted(self.controller.running, key=lambda t: t.number):
            self.controller.fail(trial, "the study was interrupted", lost=True)

    def run(self, workers: Workers, watch: Watch, began: float = 0.0) -> None:
        """Until the budget is spent; `watch` is called after whatever happens, or every second.

        ``began``: when this sitting did, on the workers' clock.
        """
        self.callbacks.begin(self.controller)
        finished = False
        try:
            while self._turn(workers, self._before + workers.now - began):
                watch()
            finished = True
        finally:
            self.callbacks.end(finished)
        self._touched.update(t for t in self.controller.trials if t.status == PAUSED)
        self._clean(workers, ended=True)

    def _turn(self, workers: Workers, passed: float) -> bool:
        """Waits for one event and does what follows from it; False: all is done."""
        self.callbacks.turn_begins()
        self._mind_the_time(workers, passed)
        if not self._settled:
            self._fill(workers)
            workers.keep(self.controller.at_most)
            if not workers.busy and workers.free and not self._has_a_final(workers, passed):
                return False
        free, event = workers.free, workers.next(timeout=1.0)
        if event is not None:
            self._obey(workers, event)
            self._touched.add(event.trial)
            self._clean(workers)
        self._settled = event is None and workers.free == free
        self.callbacks.turn_ends()
        return True

    def _has_a_final(self, workers: Workers, passed: float) -> bool:
        """Begins the final of a timed study whose search has nothing left to propose."""
        if self.deadline is None or self.controller.closed:
            return False
        self._close(workers, passed, "nothing left to propose")
        self._fill(workers)
        return bool(workers.busy)

    def value(self, score: float | None) -> float | None:
        """A score as the metric's own value."""
        return None if score is None else self.sign * score

    def _mind_the_time(self, workers: Workers, passed: float) -> None:
        """Ends the search when what is left of its hours is the final's."""
        if self.deadline is None:
            return
        for trial in [trial for trial in self._stints if trial not in workers.busy]:
            began, seconds = self._stints.pop(trial)
            self.deadline.beside(workers.now - began - (trial.seconds - seconds))
        if not self.controller.closed:
            self._close(workers, passed)

    def _close(self, workers: Workers, passed: float, why: str | None = None) -> None:
        """Ends the search, for a reason or because its hours are over."""
        assert self.deadline is not None
        count = workers.free + len(workers.busy)
        final = self.deadline.trainings(self.controller, passed, count)
        if why is not None:
            self.controller.close(why, final or 0.0)
        elif final is not None and self.deadline.due(self.controller, final, passed, count):
            self.controller.close("hours spent", final)

    def _fill(self, workers: Workers) -> None:
        while workers.free and (trial := self._ask()):
            self._stints[trial] = workers.now, trial.seconds
            workers.start(trial)
            self.callbacks.start(trial)

    def _ask(self) -> Trial | None:
        trial = self.controller.ask()
        if trial is None:  # asking may have moved a bracket on, so it is part of the past
            self.journal.record("idle")
        return trial

    def _obey(self, workers: Workers, event: Event) -> None:
        trial, failure = event.trial, event.failure
        if event.epoch is not None:
            self._tell(workers, trial, event.epoch)
        elif failure is not None and trial in self.controller.running:
            if failure.stop:
                raise CheckpointError(f"the study stopped, to be resumed: {failure.error}")
            if failure.final:
                self.controller.reject(trial, failure.error)
            else:
                self.controller.fail(trial, failure.error, lost=event.lost)
                if trial in self.controller.waiting:
                    self.callbacks.recover(trial)

    def _tell(self, workers: Workers, trial: Trial, epoch: Epoch) -> None:
        if self.metric not in epoch.metrics:
            raise ConfigError(
                f"objective.metric={self.metric}: expected one of {', '.join(epoch.metrics)}"
            )
        score = self.sign * epoch.metrics[self.metric]
        if not math.isfinite(score):
            self.controller.reject(trial, f"{self.metric} became {score} in epoch {epoch.epoch}")
            workers.halt(trial)
            return
        metrics = {SCORE: score, **epoch.metrics}
        if self.controller.tell(trial, epoch.epoch, metrics, epoch.seconds) == CONTINUE:
            workers.go_on(trial)
        else:
            workers.halt(trial)
        self.callbacks.result(trial, epoch)

    def _repeat(self, event: dict[str, Any]) -> None:
        kind = event["kind"]
        trial = self.controller.trial(event["trial"]) if kind in ABOUT else None
        if kind in ("suggest", "start", "idle"):
            self._ask()
        elif kind in ("study", "resume", "settled"):
            self.journal.skip()
        elif kind == "close":
            self.controller.close(event["why"], event["final"])
        elif trial is not None and kind == "result":
            self.controller.tell(trial, event["epoch"], event["metrics"], event["seconds"])
        elif trial is not None and kind == "error":
            self.controller.fail(trial, event["error"], lost=event["lost"])
        elif trial is not None:
            self.controller.reject(trial, event["error"])
        else:
            raise CheckpointError(f"{self.journal.path}: unknown event {kind!r}")

    def _logged(self, trial_id: str) -> Raw | None:
        """The proposal the journal has next, in the searcher's stead."""
        event = self.journal.ahead
        if event is not None and (event["kind"] != "suggest" or event["role"] != "search"):
            event = None
        if self.controller.search.again:
            return self._asked_again(trial_id, event)
        if event is None:
            return None
        suggestion = {**event["raw"], FIDELITY: event["fidelity"]}
        self.controller.searcher.adopt(trial_id, suggestion)
        return suggestion

    def _asked_again(self, trial_id: str, event: dict[str, Any] | None) -> Raw | None:
        """What the searcher proposes, which must be what it proposed when the journal was written.

        Raises CheckpointError where it is not.
        """
        suggestion = self.controller.searcher.suggest(trial_id)
        now = suggestion and self.controller.space.plain(suggestion)
        if self.journal.ahead is not None and now != (event and event["raw"]):
            raise CheckpointError(
                f"{self.journal.path}: trial {trial_id}: the searcher does not repeat itself (it "
                f"proposed {event and event['raw']}, and now {now}), so it cannot be resumed; "
                "begin another one, and give what draws a seed, as in '+search.searcher.seed=0'"
            )
        return suggestion

    def _clean(self, workers: Workers, ended: bool = False) -> None:
        """At most one checkpoint per paused trial, and one for the best trial."""
        if self.folder is None:
            return
        best, ended_now = self.controller.best, self.controller.just_ended
        self._touched |= ended_now
        ended_now.clear()
        if best is not self._best:
            self._touched.update({best, self._best} - {None})  # type: ignore[arg-type]
            self._best = best
        for trial in self._touched - workers.busy:
            files = RunFolder(self.folder.trial(trial))
            if trial.role == "final":
                shutil.rmtree(files.last.parent, ignore_errors=True)
            elif trial is best and trial.status in ENDED and files.best.is_file():
                files.last.unlink(missing_ok=True)
            elif trial is not best and (trial.status in ENDED or ended):
                shutil.rmtree(files.last.parent, ignore_errors=True)
                shutil.rmtree(files.predictions("val").parent, ignore_errors=True)
                files.weights.unlink(missing_ok=True)
                files.card.unlink(missing_ok=True)
            elif trial.status == PAUSED and trial is not best:
                files.best.unlink(missing_ok=True)
        self._touched &= workers.busy
