"""A training whose schedule has not begun to decay goes on in a longer one."""

from collections.abc import Sequence

from omegaconf import DictConfig

from carsclf.errors import ConfigError
from carsclf.options.command_line import read_overrides
from carsclf.records import RunFolder
from carsclf.training.checkpoints import read_checkpoint
from carsclf.training.checks import TINY, check_lengths, stable_epochs
from carsclf.training.configuration import option_of, phases_of
from carsclf.training.run import write_config, write_overrides

HORIZON = "trainer.max_epochs"


def asked_epochs(overrides: Sequence[str]) -> int | None:
    """The new horizon, where that is all that stands beside `resume=`."""
    if len(overrides) != 1:
        return None
    key, _, value = overrides[0].partition("=")
    return int(value) if key == HORIZON and value.isdecimal() else None


def prolong(config: DictConfig, epochs: int, files: RunFolder) -> DictConfig:
    """The configuration with that horizon, also in the run folder, where it then always was.

    Before its decay a `stable_decay` is the same in every horizon, and so is all else that a
    training does: it ends with the bits of one that had it from the start. Raises ConfigError for
    other schedules, and where the decay has begun.
    """
    schedule, horizon = option_of(config.schedule), config.trainer.max_epochs
    if schedule != "stable_decay":
        raise ConfigError(
            f"{HORIZON}={epochs}: a training with schedule={schedule} is as long as it began, as "
            "its rates hang on the length; schedule=stable_decay can be prolonged"
        )
    done = _done(files)
    for length in (horizon, epochs):
        stable = stable_epochs(config.schedule, length)
        if done > stable + TINY:
            raise ConfigError(
                f"{HORIZON}={epochs}: {done} epochs are done, and with {HORIZON}={length} the "
                f"decay begins after {stable:g}: start a new training"
            )
    if "averaging" in config and "start" in config.averaging:  # a share of the epochs
        begins = int(config.averaging.start * min(horizon, epochs))
        if done > begins:
            raise ConfigError(
                f"{HORIZON}={epochs}: averaging=swa begins after {begins} epochs in the shorter of "
                f"both trainings, and {done} are done: start a new training, or take averaging=ema"
            )
    before, config = phases_of(config)[:done], config.copy()
    config.trainer.max_epochs = epochs
    check_lengths(config)
    if phases_of(config)[:done] != before:
        raise ConfigError(
            f"{HORIZON}={epochs}: resizing.epochs are shares of it, so that the {done} epochs done "
            "would have had pictures of other sizes: start a new training"
        )
    _keep(config, files)
    return config


def shorten(config: DictConfig, epochs: int, files: RunFolder) -> DictConfig:
    """The configuration with fewer epochs, also in the run folder, for a training that is late.

    Its schedule goes on where it would be with this horizon from the start, so the rates make one
    step to there, and then fall to the end; not below the epochs that are done.
    """
    config = config.copy()
    config.trainer.max_epochs = max(_done(files), epochs)
    _keep(config, files)
    return config


def _done(files: RunFolder) -> int:
    """Epochs that are done."""
    return read_checkpoint(files.last)["epoch"] + 1 if files.last.is_file() else 0


def _keep(config: DictConfig, files: RunFolder) -> None:
    """Writes the new horizon where resuming and repeating look for it."""
    if files.overrides.is_file():
        horizon = f"{HORIZON}={config.trainer.max_epochs}"
        write_overrides([*read_overrides(files.overrides), horizon], files)
    write_config(config, files)
