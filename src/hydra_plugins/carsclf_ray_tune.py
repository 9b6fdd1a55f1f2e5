"""The sweeper of `train.py -m hydra/sweeper=ray_tune`; Hydra looks for sweepers in this package.

Imported whenever Hydra starts, so it imports nothing heavy.
"""

from collections.abc import Mapping
from typing import Any

from hydra.core.utils import configure_log
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from carsclf.errors import ConfigError


class RayTune(Sweeper):
    """One study over the sweeps of a command line; `params`: further ones, by key."""

    def __init__(self, params: Mapping[str, str] | None = None) -> None:
        self._params = params or {}

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.hydra_context, self.config = hydra_context, config

    def sweep(self, arguments: list[str]) -> str:
        """Runs the study; returns its folder."""
        assert self.hydra_context is not None
        assert self.config is not None
        hydra: Any = self.config.hydra
        if hydra.job.config_name != "train":
            raise ConfigError(
                "hydra/sweeper=ray_tune searches a training: expected python train.py -m ..., "
                f"not {hydra.job.config_name}.py"
            )
        configure_log(hydra.job_logging, hydra.verbose)  # else done at the start of a job
        from carsclf.tuning.command import search

        given = [*(f"{key}={value}" for key, value in self._params.items()), *arguments]
        return search(given, self.hydra_context.config_loader)
