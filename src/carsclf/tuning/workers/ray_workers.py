"""The workers of a real study: Ray actors, one per slot, kept from trial to trial."""

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayError

from carsclf.errors import CarsclfError, ConfigError
from carsclf.machine.devices import SHARE
from carsclf.tuning.trial import Trial
from carsclf.tuning.workers.protocol import Epoch, Event, Failure, Job
from carsclf.tuning.workers.resources import Resources
from carsclf.tuning.workers.worker import Worker

GROW_EVERY = 20.0
"""Seconds between two looks for machines that joined or left."""
PATIENCE = 60.0
"""Seconds without a worker that was asked for, until it is said; then twice as long, and so on."""
ATTEMPTS = 3
"""Workers in a row that die before they are up, until the study ends."""
PASSED_ON = (
    *("CARSCLF_CACHE", "HF_HUB_OFFLINE", "HF_HOME", "TORCH_HOME"),
    *("WANDB_MODE", "WANDB_BASE_URL", "WANDB_ENTITY"),
)


@dataclass(eq=False)
class Slot:
    """A worker and what it is doing; a worker whose `call` is None is free."""

    actor: Any
    call: Any
    trial: Trial | None = None
    node: str | None = None


@dataclass
class RayWorkers:
    """As many workers as the cluster holds, told what to do and listened to.

    Those that it has no room for yet are asked for all the same where it grows: an actor that waits
    for its place is what Ray's autoscaler starts machines for.
    """

    resources: Resources
    job: Callable[[Trial], Job]
    say: Callable[[str], None] = print
    slots: list[Slot] = field(default_factory=list)
    _looked: float = 0.0
    _needed: float = math.inf
    _failed: int = 0
    _heard: float = field(default_factory=time.monotonic)
    """When a worker last came up, or all were up, or that some are missing was last said."""
    _patience: float = field(default_factory=lambda: PATIENCE)

    def __post_init__(self) -> None:
        self._grow()

    @property
    def now(self) -> float:
        """Seconds on this machine's clock."""
        return time.monotonic()

    @property
    def free(self) -> int:
        """Workers that are up and have nothing to do."""
        return sum(slot.call is None for slot in self.slots)

    @property
    def busy(self) -> set[Trial]:
        """Trials some worker has, halting ones included."""
        return {slot.trial for slot in self.slots if slot.trial is not None}

    def prepare(self, config: dict[str, Any]) -> list[str]:
        """Has one worker do what all trials share; raises CarsclfError when it cannot.

        Returns what it settled for all of them, as overrides.
        """
        while not self.free:
            self.next(timeout=1.0)
        slot = next(slot for slot in self.slots if slot.call is None)
        came: list[str] | Failure = ray.get(slot.actor.prepare.remote(config))
        if isinstance(came, Failure):
            raise CarsclfError(came.error)
        return came

    def start(self, trial: Trial) -> None:
        """Gives a trial to a free worker."""
        slot = next(slot for slot in self.slots if slot.call is None)
        slot.trial, slot.call = trial, slot.actor.advance.remote(self.job(trial))

    def go_on(self, trial: Trial) -> None:
        """One more epoch of a trial a worker has."""
        slot = self._of(trial)
        slot.call = slot.actor.advance.remote(None)

    def halt(self, trial: Trial) -> None:
        """No more epochs; the worker is free when its files are written."""
        slot = self._of(trial)
        slot.call = slot.actor.halt.remote()

    def next(self, timeout: float) -> Event | None:
        """What happened next; None: nothing of note within these seconds."""
        self._grow()
        self._mind_the_missing()
        calls = {slot.call: slot for slot in self.slots if slot.call is not None}
        done, _ = ray.wait(list(calls), timeout=timeout) if calls else ([], [])
        return self._took(calls[done[0]]) if done else None

    def keep(self, count: float) -> None:
        """No more trials than this will run at once: lets idle workers go, and so their machines.

        Those that are not up yet go first; one stays in any case.
        """
        self._needed = max(1, count)
        idle = [slot for slot in self.slots if slot.trial is None]
        idle.sort(key=lambda slot: slot.node is not None)
        for slot in idle[: max(0, len(self.slots) - int(min(self._needed, len(self.slots))))]:
            self._end(slot)

    def dismiss(self) -> None:
        """Ends all workers."""
        for slot in list(self.slots):
            self._end(slot)

    def _end(self, slot: Slot) -> None:
        self.slots.remove(slot)
        ray.kill(slot.actor)

    def _took(self, slot: Slot) -> Event | None:
        call, trial = slot.call, slot.trial
        try:
            came: Any = ray.get(call)
        except ActorUnavailableError as error:  # a hiccup of the network: the worker is replaced
            return self._gone(slot, error, lost=True)
        except ActorDiedError as error:
            return self._gone(slot, error, lost=slot.node not in _alive())
        except RayError as error:
            return self._gone(slot, error, lost=False)
        if isinstance(came, Epoch):
            assert trial is not None
            return Event(trial, epoch=came)
        slot.call = None
        if isinstance(came, str):
            slot.node, self._failed = came, 0
            self._heard, self._patience = time.monotonic(), PATIENCE
            return None
        slot.trial = None
        assert trial is not None
        return Event(trial, failure=came)

    def _gone(self, slot: Slot, error: RayError, lost: bool) -> Event | None:
        self._end(slot)
        self._looked = 0.0
        said = " ".join(str(error).split())[:500]
        self._failed += slot.node is None
        if self._failed >= ATTEMPTS:
            raise CarsclfError(f"workers do not start, to be resumed: {said}")
        if slot.trial is None:
            return None
        return Event(slot.trial, failure=Failure(said, final=False), lost=lost)

    def _of(self, trial: Trial) -> Slot:
        return next(slot for slot in self.slots if slot.trial is trial)

    def _grow(self) -> None:
        """As many workers as are needed and have room, also after machines joined or left."""
        if time.monotonic() - self._looked < GROW_EVERY:
            return
        self._looked = time.monotonic()
        room = self.resources.room()
        if not room and not self.slots:
            raise ConfigError(
                "no machine of the cluster has room for a trial any more: resume when one has"
            )
        while len(self.slots) < min(room, self._needed):
            actor = _start_worker(self.resources)
            self.slots.append(Slot(actor, actor.ready.remote()))

    def _mind_the_missing(self) -> None:
        """Says now and then that not all workers are up."""
        up, now = sum(slot.node is not None for slot in self.slots), time.monotonic()
        if up == len(self.slots):
            self._heard, self._patience = now, PATIENCE
        elif now - self._heard >= self._patience:
            what = "machines" if self.resources.grows else "room on the cluster"
            self.say(f"waiting for {what}: {len(self.slots)} workers asked for, {up} up")
            self._heard, self._patience = now, 2 * self._patience


def _alive() -> set[str]:
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


def _start_worker(resources: Resources) -> Any:
    threads = str(resources.threads)
    passed = {key: os.environ[key] for key in PASSED_ON if key in os.environ}
    if not resources.gpu:
        passed["CUDA_VISIBLE_DEVICES"] = ""  # Ray no longer hides what it did not assign
    return (
        ray.remote(Worker)
        .options(
            num_cpus=resources.cpu,
            num_gpus=resources.gpu,
            runtime_env={
                "env_vars": {
                    "OMP_NUM_THREADS": threads,
                    "MKL_NUM_THREADS": threads,
                    SHARE: threads,  # its loader processes
                    # trainings run in a thread, and glibc's pools for threads keep no large blocks
                    "MALLOC_ARENA_MAX": "1",
                    **passed,
                }
            },
        )
        .remote(resources.threads, str(Path.cwd()))
    )
