"""All that a study is made of, read and checked before anything is written or started."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import OmegaConf
from ray.tune import Callback

from carsclf.errors import ConfigError, one_line
from carsclf.records import RunFolder
from carsclf.training.checks import check_lengths
from carsclf.tuning.search.base import Search
from carsclf.tuning.space import Space
from carsclf.tuning.study.callbacks import make_callbacks
from carsclf.tuning.study.composition import Composition
from carsclf.tuning.study.final import Outcome
from carsclf.tuning.study.outcome import read_outcome
from carsclf.tuning.study.records import StudyFolder
from carsclf.tuning.study.start import known_starts, recorded_start
from carsclf.tuning.trial import Start, Trial
from carsclf.tuning.workers.protocol import Job
from carsclf.tuning.workers.recorded import Table


@dataclass(frozen=True)
class Plan:
    """A composed study; `table` where its trials are recorded ones."""

    composition: Composition
    folder: StudyFolder
    search: Search
    space: Space
    starts: list[Start]
    horizon: int
    table: Table | None
    metric: str
    sign: int
    callbacks: dict[str, Callback] = field(default_factory=dict)

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
            starts = [recorded_start(table, config.objective.known)]
            if search.start:
                raise ConfigError("search.start: a replayed study starts from objective.known")
        else:
            table = None
            space = Space.from_config(_plain(config.space))
            composition.check(space)
            horizon, metric = int(config.trainer.max_epochs), str(config.objective.metric)
            mode = config.objective.mode
            starts = known_starts(search.start, composition, space)
        if mode not in ("max", "min"):
            raise ConfigError(f"objective.mode={mode}: expected max or min")
        if horizon < 1:
            raise ConfigError(f"trainer.max_epochs={horizon}: expected at least 1")
        callbacks = make_callbacks(_plain(config.get("callbacks") or {}))
        sign = 1 if mode == "max" else -1
        search.begin(space, horizon, starts[0].raw)  # what it refuses is found here
        search.check_budget(len(starts))
        if table is None and search.shortened == "complete":
            _check_shortest(composition, search.least(horizon))
        return cls(
            *(composition, folder, search, space, starts, horizon, table, metric, sign),
            callbacks,
        )

    @property
    def name(self) -> str:
        """The study's, which is its folder's."""
        return self.folder.root.name

    @property
    def notes(self) -> list[str]:
        """What the space does not hold of what is known; it is run all the same."""
        return [
            f"{said}; it is run all the same" for start in self.starts for said in start.outside
        ]

    def job(self, trial: Trial) -> Job:
        """What a worker needs to know of a trial."""
        complete = self.search.shortened == "complete"
        epochs = trial.length if complete else self.horizon
        config = self.composition.trial(trial.overrides, epochs, self.name, trial.seed)
        return Job(config, str(self.folder.trial(trial)), trial.epoch)

    def outcome(self, trial: Trial) -> Outcome:
        """How a training of the final went: its reported epoch, by photo where that is known."""
        best = self.table is not None or self.composition.config.reported == "best"
        score = trial.best if best else trial.last
        assert score is not None
        if self.table is not None:
            return Outcome(score)
        return read_outcome(RunFolder(self.folder.trial(trial)), score, self.metric)

    def plainest(self) -> dict[str, Any]:
        """The study's own training, with the largest batch that a trial may have."""
        largest = self.space.largest("data.batch_size")
        return self.composition.trial(largest, self.horizon, self.name)


def _plain(config: Any) -> Any:
    return OmegaConf.to_container(config) if OmegaConf.is_config(config) else config


def _check_shortest(composition: Composition, epochs: int) -> None:
    """Refuses a training that cannot be as short as this search's shortest ones."""
    try:
        check_lengths(OmegaConf.create(composition.trial([], epochs, "shortest")))
    except ConfigError as error:
        raise ConfigError(
            f"the shortest trainings of this search have {epochs} epochs: {one_line(error)}"
        ) from None
