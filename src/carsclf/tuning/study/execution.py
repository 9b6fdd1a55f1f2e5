"""A planned study carried out: its folder, its journal, its workers."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from filelock import FileLock, Timeout
from omegaconf import OmegaConf

from carsclf.errors import CheckpointError, ConfigError, mistakes
from carsclf.files import atomic_write
from carsclf.options.command_line import argument
from carsclf.terminal import terminal
from carsclf.training.checks import rehearse
from carsclf.tuning.study.callbacks import Callbacks
from carsclf.tuning.study.composition import changed
from carsclf.tuning.study.controller import Controller
from carsclf.tuning.study.deadline import Deadline, TooFewHours
from carsclf.tuning.study.display import shown
from carsclf.tuning.study.journal import Journal
from carsclf.tuning.study.plan import Plan
from carsclf.tuning.study.records import StudyFolder
from carsclf.tuning.study.seen import Identity
from carsclf.tuning.study.study import Study
from carsclf.tuning.study.tables import write_study
from carsclf.tuning.workers.cluster import cluster
from carsclf.tuning.workers.protocol import Workers
from carsclf.tuning.workers.ray_workers import RayWorkers
from carsclf.tuning.workers.recorded import RecordedWorkers
from carsclf.tuning.workers.resources import Resources

WRITE_EVERY = 20.0
"""Seconds between two rewrites of the tables while a study runs."""


def say(text: str) -> None:
    """One line beside the progress."""
    terminal(stderr=True).print(text, soft_wrap=True)


def carry_out(plan: Plan, overrides: list[str]) -> Study:
    """Runs a new study, or goes on with an interrupted one; ``overrides``: its command line."""
    config = plan.composition.config
    resources: Resources | None = None
    began = time.monotonic() if plan.table is None else 0.0
    with ExitStack() as stack:
        if plan.table is None:
            place = config.get("cluster") or {}
            address, dashboard = place.get("address"), place.get("dashboard", False)
            if address is None:  # what is wrong is found here before Ray starts
                rehearse(OmegaConf.create(plan.plainest()))
            stack.enter_context(cluster(address, dashboard=dashboard, say=say))
            resources = Resources.from_config(config.resources, config.trainer.accelerator)
        stack.enter_context(_alone(plan.folder))
        stack.enter_context(_kept_once_begun(plan.folder))
        journal = _journal(plan, overrides)
        stack.callback(journal.close)
        study = _study(plan, journal)
        workers: Workers
        if plan.table is not None:
            workers = RecordedWorkers(plan.table, int(config.objective.workers), plan.metric)
        else:
            assert resources is not None
            workers = RayWorkers(resources, plan.job, say)
            stack.callback(workers.dismiss)
            _prepare(plan, workers, journal)
        watch = stack.enter_context(shown(study, plan.table is not None))
        try:
            study.run(workers, _also_writing(study, plan, watch), began)
        except BaseException:  # what it was up to is on disk, also when it is interrupted
            write_study(study, plan)
            raise
    return study


def _journal(plan: Plan, overrides: list[str]) -> Journal:
    """The study's journal: begun, or checked against what it began with."""
    plain = OmegaConf.to_container(plan.composition.config)
    journal = Journal(plan.folder.events)
    if not journal.events:
        journal.record("study", overrides=overrides, config=plain)
        with atomic_write(plan.folder.config) as temporary:
            temporary.write_text(OmegaConf.to_yaml(plan.composition.config))
    elif key := changed(journal.events[0]["config"], plain):
        raise ConfigError(
            f"{argument('resume', plan.folder.root)}: {key} is no longer what the study began "
            "with; put it back, or begin another study"
        )
    for event in journal.events:
        if event["kind"] == "settled":
            plan.composition.settle(event["overrides"])
    return journal


def _study(plan: Plan, journal: Journal) -> Study:
    controller = Controller(plan.search, plan.space, plan.horizon, journal.record, plan.starts)
    hours = plan.search.hours
    begun = any(event["kind"] == "result" for event in journal.events)
    deadline = None if hours is None else Deadline(hours, plan.search.final, say, begun)
    identity = Identity(plan.folder, journal.events[0]["time"])
    callbacks = Callbacks(plan.callbacks, identity, say)
    study = Study(journal, controller, plan.metric, plan.sign, plan.folder, deadline, callbacks)
    if journal.ahead is not None:
        study.rebuild()
    for note in plan.notes:
        say(note)
    return study


def _prepare(plan: Plan, workers: RayWorkers, journal: Journal) -> None:
    began = time.monotonic()
    say("preparing what all trials share: the data, and features where a part is frozen")
    if settled := workers.prepare(plan.plainest()):
        journal.record("settled", overrides=settled)
        plan.composition.settle(settled)
        say(f"fastest here, for all trials: {', '.join(settled)}")
    say(f"prepared in {time.monotonic() - began:.0f} s")


def _also_writing(study: Study, plan: Plan, watch: Callable[[], None]) -> Callable[[], None]:
    last = time.monotonic()

    def both() -> None:
        nonlocal last
        watch()
        if time.monotonic() - last > WRITE_EVERY:
            write_study(study, plan)
            last = time.monotonic()

    return both


@contextmanager
def _kept_once_begun(folder: StudyFolder) -> Iterator[None]:
    """Removes the folder of a new study that is refused before its first trial.

    Else its name would be taken. Hours that hold no training are refused after its first epochs.
    """
    new = not folder.events.is_file()
    try:
        yield
    except mistakes() as error:
        none = '"suggest"' not in folder.events.read_text(encoding="utf-8")
        if new and (none or isinstance(error, TooFewHours)):
            shutil.rmtree(folder.root, ignore_errors=True)
        raise


def _alone(folder: StudyFolder) -> FileLock:
    try:
        folder.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"{folder.root} cannot be made: {error.strerror}") from None
    lock = FileLock(folder.lock, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise CheckpointError(f"{folder.root} is being run by another tune.py") from None
    return lock
