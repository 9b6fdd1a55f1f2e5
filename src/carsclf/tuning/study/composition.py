"""From a study's command line to the configuration of each of its trials."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

from carsclf.errors import ConfigError, mistakes, one_line
from carsclf.options.command_line import quoted
from carsclf.options.kinds import checked
from carsclf.options.table import STUDY
from carsclf.options.training import VALIDATED
from carsclf.training.configuration import SEARCH_GROUPS, check_changing, training_part
from carsclf.training.gan_checks import refuse_gan
from carsclf.training.leak import refuse_leak
from carsclf.tuning.space import Space

SEARCH_KEYS = (*SEARCH_GROUPS, "resources", "runs", "name", "resume", "look", "hydra")
SPACES = (
    "; space=published goes with optimizer=sgd schedule=plateau, space=modern with mode=finetune "
    "and where data.transform changes pictures or mode.cache=false, space=partial with "
    "mode=partial, space=frozen with mode=freeze"
)


@dataclass
class Composition:
    """A study as composed: its configuration, and the training it searches as overrides."""

    config: DictConfig
    training: list[str]
    """What `train.py` needs to run the study's training: group choices first, then values."""
    choices: Mapping[str, str]
    """What was chosen of each group, whoever chose it."""

    @classmethod
    def of(cls, overrides: list[str]) -> "Composition":
        """Composes tune.yaml with a study's overrides."""
        config = compose("tune", overrides, return_hydra_config=True)
        choices = {
            group: choice
            for group, choice in config.hydra.runtime.choices.items()
            if choice is not None and "/" not in group
        }
        own = [f"{group}={choice}" for group, choice in choices.items() if group not in SEARCH_KEYS]
        own += [
            str(o.input_line)
            for o in OverridesParser.create().parse_overrides(overrides)
            if o.key_or_group not in choices and o.key_or_group.split(".")[0] not in SEARCH_KEYS
        ]
        with open_dict(config):
            del config["hydra"]
        refuse_finder(config)
        refuse_gan(config)
        config = checked(config, STUDY)
        return cls(config, own, choices)

    def values(self, overrides: list[str], space: Space) -> dict[str, Any]:
        """What the training holds of the searched keys: values, and the choice of each group."""
        config = compose("train", self._with(overrides), return_hydra_config=True)
        choices = config.hydra.runtime.choices
        self._compose(overrides)  # raises what is wrong with it
        values = {}
        for key in {parameter.key for parameter in space}:
            if key in choices:
                values[key] = choices[key]
            elif (value := OmegaConf.select(config, key, default=values)) is not values:
                values[key] = value
        return values

    def trial(
        self, overrides: list[str], epochs: int, group: str, seed: int | None = None
    ) -> dict[str, Any]:
        """A trial's training configuration with that horizon, as plain values.

        In the search, reported is the last epoch: every epoch is read anyway, and a paused trial
        then needs one checkpoint only. In the final (``seed``: counted from the study's own) it is
        what the study says, by the metric that is searched, and the photos are split as in the
        search.
        """
        extra = ["look=false", f"trainer.max_epochs={epochs}"]
        extra += ["reported=last"] if seed is None else self._reseeded(seed)
        if "group" in (self.config.get("logger") or {}):
            extra.append(f"logger.group={quoted(group)}")
        return self._compose([*overrides, *extra])

    def settle(self, overrides: list[str]) -> None:
        """Fixes for all trials what the training leaves to a measurement."""
        self.training = [*self.training, *overrides]

    def check(self, space: Space) -> None:
        """Raises ConfigError when the training does not take what the space offers."""
        if "trainer.max_epochs" in {p.key for p in space}:
            raise ConfigError("space.trainer.max_epochs: the search decides on epochs by itself")
        if self.config.trainer.get("check_val_every_n_epoch", 1) != 1:
            raise ConfigError("trainer.check_val_every_n_epoch: a search judges every epoch")
        devices = self.config.trainer.devices
        many = len(devices) if OmegaConf.is_list(devices) else devices
        if isinstance(many, int) and many > 1:
            raise ConfigError(
                f"trainer.devices={devices}: a trial has one process; more trials at once are what "
                "further cards are for (resources.gpu=1)"
            )
        self._check([])  # what is wrong without the space is no fault of it
        for raw in space.extremes():
            try:
                self._check(space.overrides(raw))
            except mistakes() as error:
                said = f"the space does not fit the training: {one_line(error)}"
                raise ConfigError(said + SPACES * ("space" in self.choices)) from None

    def repeated(self, overrides: list[str]) -> list[str]:
        """The overrides with which `train.py` repeats a trial at full length."""
        return self._with(overrides)

    def _reseeded(self, seed: int) -> list[str]:
        own = int(self.config.seed)
        fixed = [f"seed={own + seed}"]
        if (metric := self.config.objective.get("metric")) in VALIDATED:
            fixed.append(f"monitor={metric}")
        if "split_seed" in self.config.data and self.config.data.split_seed is None:
            fixed.append(f"data.split_seed={own}")
        return fixed

    def _check(self, overrides: list[str]) -> None:
        check_changing(OmegaConf.create(self._compose(overrides)))

    def _with(self, overrides: list[str]) -> list[str]:
        """The training with a trial's overrides on top.

        What the study sets and the trial's own choice of a group does not have is left out: with
        optimizer=sgd optimizer.momentum=0.8, a trial of adamw has no momentum to set.
        """
        chosen = {_key(o) for o in overrides if o not in self.training}
        doubtful = [o for o in self.training if _key(o).rpartition(".")[0] and _group(o) in chosen]
        if not doubtful:
            return [*self.training, *overrides]
        sure = [o for o in self.training if o not in doubtful]
        there = compose("train", [*sure, *overrides])
        foreign = {o for o in doubtful if OmegaConf.select(there, _key(o), default=_key) is _key}
        return [*(o for o in self.training if o not in foreign), *overrides]

    def _compose(self, overrides: list[str]) -> dict[str, Any]:
        config = training_part(compose("train", self._with(overrides)))
        refuse_finder(config)
        refuse_leak(config)
        with open_dict(config):
            config.pop("resources", None)
        plain: dict[str, Any] = OmegaConf.to_container(config)  # type: ignore[assignment]
        return plain


def refuse_finder(config: DictConfig) -> None:
    """A study searches the rate itself, where its space says so."""
    if "lr_finder" in config:
        raise ConfigError(
            "callbacks=lr_finder has no place in a study, nor in a trial: find a rate with "
            "train.py callbacks=lr_finder lr_finder.only=true, and give it as optimizer.lr=..."
        )


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def _group(override: str) -> str:
    return _key(override).partition(".")[0]


def changed(before: Any, now: Any, path: str = "") -> str | None:
    """The first key of an earlier configuration that is gone or has another value."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key, value in before.items():
            here = f"{path}.{key}" if path else str(key)
            if key not in now:
                return here
            if (found := changed(value, now[key], here)) is not None:
                return found
        if path == "space" or path.startswith("space."):
            return next((f"{path}.{key}" for key in now if key not in before), None)
        return None
    return None if before == now else path
