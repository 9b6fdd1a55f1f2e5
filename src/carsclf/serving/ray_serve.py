"""The same app in replicas of Ray Serve, on one machine or several.

On one machine it is tested; over several it has not run.
"""

import os
import time
from typing import Any

from carsclf.errors import ConfigError
from carsclf.serving.app import create_app
from carsclf.serving.deployment import load_served
from carsclf.serving.service import Service
from carsclf.serving.settings import Settings


def serve_on_ray(
    settings: Settings,
    host: str,
    port: int,
    *,
    replicas: int,
    address: str | None,
    cpu: float,
    gpu: float,
) -> None:
    """Deploys and stays until Ctrl-C or SIGTERM.

    Each replica has its own network, batches and spool. Raises ConfigError where Ray Serve is
    missing or does not start, and for more replicas than this machine has processors.
    """
    # Ray's own: a proxy that takes more than 5 s to begin, as on a busy machine, is killed
    os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "60")
    try:
        from ray import serve
    except ImportError as error:
        raise ConfigError(
            f"serving=ray needs Ray Serve ({error.name or error} is missing): "
            "pip install 'carsclf[ray-serve]', or serving=local"
        ) from None
    import ray
    from ray.exceptions import RayError

    from carsclf.tuning.workers.cluster import cluster, grows

    if port == 0:
        raise ConfigError("port=0: with serving=ray give the port, which all machines share")

    load_served(settings.run, "cpu")  # refused here, not in a replica's log
    with cluster(address, option="serving.address"):
        # beyond them Ray would wait for more without an end
        for name, what, each in (("cpu", "processors", cpu), ("gpu", "GPUs", gpu)):
            there = ray.cluster_resources().get(name.upper(), 0.0)
            if replicas * each > there and not grows():
                raise ConfigError(
                    f"serving.replicas={replicas} of serving.{name}={each:g} want "
                    f"{replicas * each:g} {what}, Ray has {there:g}: take fewer, or "
                    f"serving.{name}={there / replicas:g}"
                )
        deployment: Any = serve.deployment(serve.ingress(_builder(settings))(_Replica))
        options: dict[str, Any] = {"num_cpus": cpu, "num_gpus": gpu}
        if not gpu:  # Ray no longer hides what it did not assign
            options["runtime_env"] = {"env_vars": {"CUDA_VISIBLE_DEVICES": ""}}
        placed = deployment.options(
            num_replicas=replicas,
            ray_actor_options=options,
            max_ongoing_requests=settings.limits.waiting,
        )
        try:
            serve.start(http_options={"host": host, "port": port})
            serve.run(placed.bind(), name="carsclf", route_prefix="/")
        except (RayError, RuntimeError, TimeoutError) as error:
            raise ConfigError(f"Ray Serve did not start: {str(error).splitlines()[0]}") from None
        print(f"serving {settings.run} on http://{host}:{port} ({replicas} replicas)", flush=True)
        try:
            while True:
                time.sleep(1)
        finally:
            serve.shutdown()


class _Replica:
    """What Ray Serve wraps around the app."""


def _builder(settings: Settings) -> Any:
    """A plain function, which Ray Serve calls in each replica."""

    def build() -> Any:
        return create_app(lambda: Service(settings), settings.limits.request_bytes)

    return build
