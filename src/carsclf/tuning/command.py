"""`tune.py`: one study from the command line, new or resumed."""

import json
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from carsclf.errors import CarsclfError, CheckpointError, ConfigError, mistakes
from carsclf.files import atomic_write
from carsclf.options.command_line import argument, say_next
from carsclf.options.kinds import checked
from carsclf.options.table import NAMING
from carsclf.terminal import terminal
from carsclf.training.checks import rehearse
from carsclf.tuning.composition import Composition, changed
from carsclf.tuning.crew import Crew
from carsclf.tuning.display import shown, state, summarise
from carsclf.tuning.figures import draw_study
from carsclf.tuning.journal import Journal
from carsclf.tuning.loop import Loop
from carsclf.tuning.records import StudyFolder
from carsclf.tuning.replay import SimulatedWorkers, Table
from carsclf.tuning.resources import Resources, cluster
from carsclf.tuning.search import Search
from carsclf.tuning.space import Space
from carsclf.tuning.study import Recorded, Study, Workers
from carsclf.tuning.tables import summary, write_tables
from carsclf.tuning.trial import Trial
from carsclf.tuning.worker import Job

WRITE_EVERY = 20.0
"""Seconds between two rewrites of the tables while a study runs."""


def tune(config: DictConfig) -> str:
    """Runs a study, or goes on with `resume=<study folder>`; returns the folder."""
    overrides = list(HydraConfig.get().overrides.task)
    resume = checked(config, NAMING).resume
    if resume:
        folder, overrides = _resumed(Path(resume), overrides)
        composition = Composition.of(overrides)
    else:
        composition = Composition.of(overrides)
        folder = _new_folder(composition.config)
    plan = Plan.of(composition, folder)
    try:
        plan.carry_out(overrides)
    except KeyboardInterrupt:
        said = f"interrupted; go on with: python tune.py {argument('resume', folder.root)}"
        if HydraConfig.get().mode == RunMode.MULTIRUN:  # end the other studies too
            raise SystemExit(said) from None
        raise CarsclfError(said) from None
    return str(folder.root)


@dataclass(frozen=True)
class Plan:
    """All that a study is made of, read and checked before anything is written or started."""

    composition: Composition
    folder: StudyFolder
    search: Search
    space: Space
    horizon: int
    table: Table | None
    metric: str
    sign: int

    @classmethod
    def of(cls, composition: Composition, folder: StudyFolder) -> "Plan":
        """Raises ConfigError for what cannot be searched."""
        config = composition.config
        for group in ("objective", "space", "search"):
            if config.get(group) is None:
                raise ConfigError(f"{group}: nothing chosen; see conf/{group}/ for what there is")
        search: Search = instantiate(config.search, _convert_="all")
        if config.objective.kind == "replay":
            if OmegaConf.is_missing(config.objective, "table"):
                raise ConfigError("objective=replay needs objective.table=<file.npz>")
            table = Table.read(Path(config.objective.table))
            space, horizon, metric, mode = table.space, table.horizon, "accuracy", "max"
        else:
            table = None
            space = Space.from_config(_plain(config.space))
            composition.check(space)
            horizon, metric = int(config.trainer.max_epochs), str(config.objective.metric)
            mode = config.objective.mode
        if mode not in ("max", "min"):
            raise ConfigError(f"objective.mode={mode}: expected max or min")
        if horizon < 1:
            raise ConfigError(f"trainer.max_epochs={horizon}: expected at least 1")
        sign = 1 if mode == "max" else -1
        return cls(composition, folder, search, space, horizon, table, metric, sign)

    def carry_out(self, overrides: list[str]) -> None:
        """Builds or rebuilds the study, runs it, and writes what came out."""
        config = self.composition.config
        with ExitStack() as stack:
            workers: Callable[[], Workers]
            if self.table is None:
                address = config.cluster.address if config.get("cluster") else None
                if address is None:  # what is wrong is found here before Ray starts
                    rehearse(OmegaConf.create(self._plainest()))
                stack.enter_context(cluster(address))
                resources = Resources.from_config(config.resources)
                workers = lambda: self._crew(study.journal, resources, stack)  # noqa: E731
            else:
                workers = self._recorded
            stack.enter_context(_alone(self.folder))
            stack.enter_context(_kept_once_begun(self.folder))
            study = self._study(overrides)
            stack.callback(study.journal.close)
            stack.callback(self._write, study)
            watch = stack.enter_context(shown(study, self.table is not None))
            study.run(workers(), self._also_writing(study, watch))
        self._conclude(study)

    def job(self, trial: Trial) -> Job:
        """What a worker needs to know of a trial."""
        complete = self.search.schedule == "complete"
        epochs = trial.length if complete else self.horizon
        config = self.composition.trial(trial.overrides, epochs, self.folder.root.name)
        return Job(config, str(self.folder.trial(trial.trial_id)), trial.epoch)

    def _study(self, overrides: list[str]) -> Study:
        resuming = self.folder.events.is_file()
        plain = _plain(self.composition.config)
        journal = Journal(self.folder.events)
        if not journal.events:
            journal.record("study", overrides=overrides, config=plain)
            with atomic_write(self.folder.config) as temporary:
                temporary.write_text(OmegaConf.to_yaml(self.composition.config))
        elif key := changed(journal.events[0]["config"], plain):
            raise ConfigError(
                f"resume={self.folder.root}: {key} is no longer what the study began with; "
                "put it back, or begin another study"
            )
        loop = Loop(self.search, self.space, self.horizon, journal.record)
        study = Study(self.folder, journal, loop, self.metric, self.sign)
        if resuming:
            study.rebuild()
            for event in journal.events:
                if event["kind"] == "settled":
                    self.composition.settle(event["overrides"])
        return study

    def _crew(self, journal: Journal, resources: Resources, stack: ExitStack) -> Workers:
        crew = Crew(resources, self.job)
        stack.callback(crew.dismiss)
        began, say = time.monotonic(), terminal(stderr=True).print
        say("preparing what all trials share: the data, and features where a part is frozen")
        if settled := crew.prepare(self._plainest()):
            journal.record("settled", overrides=settled)
            self.composition.settle(settled)
            say(f"fastest here, for all trials: {', '.join(settled)}", soft_wrap=True)
        say(f"prepared in {time.monotonic() - began:.0f} s")
        return crew

    def _plainest(self) -> dict[str, Any]:
        """The study's own training, with the largest batch that a trial may have."""
        largest = self.space.largest("data.batch_size")
        return self.composition.trial(largest, self.horizon, self.folder.root.name)

    def _recorded(self) -> Workers:
        assert self.table is not None
        count = int(self.composition.config.objective.workers)
        return Recorded(SimulatedWorkers(self.table, count), self.metric)

    def _also_writing(self, study: Study, watch: Callable[[], None]) -> Callable[[], None]:
        last = time.monotonic()

        def both() -> None:
            nonlocal last
            watch()
            if time.monotonic() - last > WRITE_EVERY:
                write_tables(study, self._trained)
                last = time.monotonic()

        return both

    @property
    def _trained(self) -> Composition | None:
        return self.composition if self.table is None else None

    def _write(self, study: Study, finished: bool = False) -> None:
        write_tables(study, self._trained)
        summary(study, self.folder.root.name, self._search_name, finished).write(
            self.folder.summary
        )

    @property
    def _search_name(self) -> str:
        return type(self.search).__name__.lower()

    def _conclude(self, study: Study) -> None:
        self._write(study, finished=True)
        draw_study(study, self.folder.figures)
        print(state(study))
        summarise(study, summary(study, self.folder.root.name, self._search_name, True))
        if study.loop.best is None:
            raise CarsclfError(f"no trial of {self.folder.root} succeeded")
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            return  # the comparison of the studies says what comes next
        if self.table is None:
            say_next(f"python train.py {argument('overrides', self.folder.best)}")
        else:
            table = argument("objective.table", self.composition.config.objective.table)
            other = "asha" if self._search_name == "random" else "random"  # the yardstick
            say_next(f"python tune.py objective=replay {table} search={other}")


@contextmanager
def _kept_once_begun(folder: StudyFolder) -> Iterator[None]:
    """Removes the folder of a new study that is refused before its first trial.

    Else its name would be taken.
    """
    new = not folder.events.is_file()
    try:
        yield
    except mistakes():
        if new and '"suggest"' not in folder.events.read_text(encoding="utf-8"):
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


def _new_folder(config: DictConfig) -> StudyFolder:
    choices = HydraConfig.get().runtime.choices
    what = choices.get("experiment") or f"{config.model.name}-{config.mode.name}"
    stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    name = config.name or f"{what}-{choices.get('search')}-{stamp}"
    folder = StudyFolder(Path(config.runs).resolve() / name)
    if folder.root.exists():
        raise ConfigError(
            f"{folder.root} exists: choose another name=, or {argument('resume', folder.root)}"
        )
    return folder


def _resumed(root: Path, overrides: list[str]) -> tuple[StudyFolder, list[str]]:
    """A study's folder and its own overrides; anything else beside `resume=` is refused."""
    others = [o for o in overrides if not o.startswith("resume=")]
    if others:
        raise ConfigError(f"resume={root} continues the study as it was; remove {' '.join(others)}")
    folder = StudyFolder(root.resolve())
    if not folder.events.is_file():
        raise CheckpointError(f"resume={root}: no events.jsonl there; is it a study folder?")
    with folder.events.open(encoding="utf-8") as file:
        line = file.readline()
    try:
        first = json.loads(line)
        return folder, list(first["overrides"])
    except (ValueError, KeyError, TypeError):
        raise CheckpointError(f"{folder.events} does not begin with a study") from None


def _plain(config: Any) -> Any:
    return OmegaConf.to_container(config)
