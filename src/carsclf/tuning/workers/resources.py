"""What a trial needs, and how many trials a Ray cluster has room for."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from carsclf.errors import ConfigError


@dataclass(frozen=True)
class Resources:
    """CPUs and GPUs per trial (shares below one, or whole numbers), and a cap on trials at once."""

    cpu: float
    gpu: float
    workers: int | None = None

    @classmethod
    def from_config(cls, config: Any) -> "Resources":
        """Checked against the running cluster; raises ConfigError naming what there is."""
        gpu = config.gpu
        if gpu == "auto":
            gpu = 1 if ray.cluster_resources().get("GPU", 0) >= 1 else 0
        for name, value in (("cpu", config.cpu), ("gpu", gpu)):
            if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                raise ConfigError(f"resources.{name}={value}: expected a number, 0 or more")
            if value > 1 and value != int(value):
                raise ConfigError(
                    f"resources.{name}={value}: expected a share below 1 or a whole number"
                )
        if not config.cpu and not gpu:
            raise ConfigError("resources.cpu=0 and resources.gpu=0: a trial must need something")
        if config.workers is not None and not (
            isinstance(config.workers, int) and config.workers >= 1
        ):
            raise ConfigError(f"resources.workers={config.workers}: expected at least 1, or null")
        made = cls(config.cpu, gpu, config.workers)
        made._check()
        return made

    @property
    def threads(self) -> int:
        """Of one trial, so that trials do not fight for cores."""
        return max(1, int(self.cpu))

    def room(self) -> int:
        """Trials the cluster's machines hold at once, at most `workers`."""
        room = sum(self._on(node["Resources"]) for node in ray.nodes() if node["Alive"])
        return room if self.workers is None else min(room, self.workers)

    def _on(self, has: dict[str, float]) -> int:
        asked = {"CPU": self.cpu, "GPU": self.gpu}
        return min(int(has.get(k, 0) / amount + 1e-9) for k, amount in asked.items() if amount)

    def _check(self) -> None:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        for key, name in (("CPU", "cpu"), ("GPU", "gpu")):
            asked = getattr(self, name)
            largest = max((node.get(key, 0) for node in nodes), default=0)
            if asked > largest:
                total = ray.cluster_resources().get(key, 0)
                raise ConfigError(
                    f"resources.{name}={asked}: the cluster has {total:g} {key}s, {largest:g} on "
                    f"its largest machine; ask for at most that many per trial"
                )
        if not self.room():
            raise ConfigError("no machine has both the CPUs and the GPUs that a trial asks for")


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """A Ray of this study's own (no address), or a running one; one already joined is left up."""
    if ray.is_initialized():
        yield
        return
    try:
        ray.init(
            address=address or "local",
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, ValueError) as error:
        said = str(error).splitlines()[0]
        raise ConfigError(f"cluster.address={address}: no Ray cluster there ({said})") from None
    try:
        yield
    finally:
        ray.shutdown()
