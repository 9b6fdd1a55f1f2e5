"""One study from the command line: `tune.py`, new or resumed, or the sweeps of `train.py -m`."""

import json
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from carsclf.errors import CarsclfError, CheckpointError, ConfigError
from carsclf.options.command_line import argument
from carsclf.options.kinds import checked
from carsclf.options.training import NAMING
from carsclf.tuning.ranges import study_overrides
from carsclf.tuning.study.composition import Composition
from carsclf.tuning.study.conclusion import conclude
from carsclf.tuning.study.execution import carry_out
from carsclf.tuning.study.plan import Plan
from carsclf.tuning.study.records import StudyFolder


def tune(config: DictConfig) -> str:
    """Runs a study, or goes on with `resume=<study folder>`; returns the folder."""
    overrides = list(HydraConfig.get().overrides.task)
    several = HydraConfig.get().mode == RunMode.MULTIRUN
    resume = checked(config, NAMING).resume
    folder = None
    if resume:
        folder, overrides = _resumed(Path(resume), overrides)
    return _study(overrides, folder, several)


def search(arguments: Sequence[str], loader: ConfigLoader) -> str:
    """Runs the study that the sweeps of `train.py -m` ask for; returns the folder."""
    return _study(study_overrides(arguments, loader), None, several=False)


def _study(overrides: list[str], folder: StudyFolder | None, several: bool) -> str:
    """The study of these overrides of tune.py: a new one, or that of the folder."""
    composition = Composition.of(overrides)
    folder = folder or _new_folder(composition)
    plan = Plan.of(composition, folder)
    try:
        study = carry_out(plan, overrides)
    except KeyboardInterrupt:
        said = f"interrupted; go on with: python tune.py {argument('resume', folder.root)}"
        if several:  # end the other studies too
            raise SystemExit(said) from None
        raise CarsclfError(said) from None
    conclude(study, plan, say_what_next=not several)  # of several, their table says it
    return str(folder.root)


def _new_folder(composition: Composition) -> StudyFolder:
    config, choices = composition.config, composition.choices
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
