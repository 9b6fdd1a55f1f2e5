"""What a trial needs, and how many trials a Ray cluster has room for."""

from dataclasses import dataclass
from typing import Any

import ray

from carsclf.errors import ConfigError
from carsclf.tuning.workers.cluster import grows


@dataclass(frozen=True)
class Resources:
    """CPUs and GPUs per trial (shares below one, or whole numbers), and a cap on trials at once."""

    cpu: float
    gpu: float
    workers: int | None = None
    grows: bool = False
    """The cluster brings up machines for workers that it has no room for yet."""

    @classmethod
    def from_config(cls, config: Any, accelerator: str = "auto") -> "Resources":
        """Checked against the running cluster; raises ConfigError naming what there is.

        accelerator: of the trainings; on cpu they take no GPU from others.
        """
        gpu, growing = config.gpu, grows()
        if gpu == "auto" and accelerator == "cpu":
            gpu = 0
        if gpu == "auto" and growing and not _largest("CPU"):
            raise ConfigError(
                "resources.gpu=auto: no machine of the cluster is up that tells whether trials "
                "get GPUs: give resources.gpu=1, or 0"
            )
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
        made = cls(config.cpu, gpu, config.workers, growing)
        if not growing:
            made._check()
        elif config.workers is None and not made.room():
            raise ConfigError(
                "resources.workers=null takes what is up, and nothing is: give the number of "
                "workers for which the cluster is to start machines, as resources.workers=4"
            )
        return made

    @property
    def threads(self) -> int:
        """Of one trial, so that trials do not fight for cores."""
        return max(1, int(self.cpu))

    def room(self) -> int:
        """Workers to ask for: as many as fit at once, at most `workers`; all, where it grows."""
        if self.grows and self.workers is not None:
            return self.workers
        room = sum(self._on(node["Resources"]) for node in ray.nodes() if node["Alive"])
        return room if self.workers is None else min(room, self.workers)

    def _on(self, has: dict[str, float]) -> int:
        asked = {"CPU": self.cpu, "GPU": self.gpu}
        return min(int(has.get(k, 0) / amount + 1e-9) for k, amount in asked.items() if amount)

    def _check(self) -> None:
        for key, name in (("CPU", "cpu"), ("GPU", "gpu")):
            asked, largest = getattr(self, name), _largest(key)
            if asked > largest:
                total = ray.cluster_resources().get(key, 0)
                raise ConfigError(
                    f"resources.{name}={asked}: the cluster has {total:g} {key}s, {largest:g} on "
                    f"its largest machine; ask for at most that many per trial"
                )
        if not self.room():
            raise ConfigError("no machine has both the CPUs and the GPUs that a trial asks for")


def _largest(key: str) -> float:
    """The most of a resource that one machine has."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return max((node.get(key, 0) for node in nodes), default=0)
