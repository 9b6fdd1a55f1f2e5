"""The same app in replicas of Ray Serve, on one machine or several.

Written against Ray Serve's documentation (serve.ingress with a builder function); never run here.
"""

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
    """Deploys and stays until Ctrl-C. Each replica has its own network, batches and spool."""
    try:
        from ray import serve
    except ImportError as error:
        raise ConfigError(
            f"serving=ray needs Ray Serve ({error.name or error} is missing): "
            "pip install 'carsclf[ray-serve]', or serving=local"
        ) from None
    import ray

    load_served(settings.run, settings.device)  # refused here, not in a replica's log
    ray.init(address=address, ignore_reinit_error=True)
    serve.start(http_options={"host": host, "port": port})
    deployment: Any = serve.deployment(serve.ingress(_builder(settings))(_Replica))
    options = {"num_cpus": cpu, "num_gpus": gpu}
    placed = deployment.options(
        num_replicas=replicas,
        ray_actor_options=options,
        max_ongoing_requests=settings.limits.waiting,
    )
    serve.run(placed.bind(), name="carsclf", route_prefix="/")
    print(f"serving {settings.run} on http://{host}:{port}, {replicas} replicas", flush=True)
    try:
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        serve.shutdown()


class _Replica:
    """What Ray Serve wraps around the app."""


def _builder(settings: Settings) -> Any:
    """A plain function, which Ray Serve calls in each replica."""

    def build() -> Any:
        return create_app(lambda: Service(settings), settings.limits.request_bytes)

    return build
