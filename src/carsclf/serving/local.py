"""The service in this process."""

import socket
from contextlib import suppress

import uvicorn

from carsclf.errors import ConfigError
from carsclf.serving.app import create_app
from carsclf.serving.service import Service
from carsclf.serving.settings import Settings

GRACE = 30  # seconds for what is being answered when the service is told to end


def serve_here(settings: Settings, host: str, port: int) -> None:
    """Answers until Ctrl-C or SIGTERM, then what is being asked, then ends."""
    service = Service(settings)
    listening = _bound(host, port)
    app = create_app(lambda: service, settings.limits.request_bytes)
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=GRACE)
    )
    shown = f"[{host}]" if ":" in host else host
    here = f"http://{shown}:{listening.getsockname()[1]}"
    print(f"serving {service.deployment.current.version} on {here} (described on {here}/docs)")
    print(f"log: {service.log.database.shown}", flush=True)
    with suppress(KeyboardInterrupt):  # uvicorn raises it again when all is done
        server.run(sockets=[listening])


def _bound(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError as error:
        raise ConfigError(
            f"host={host} port={port} cannot be listened on ({error.strerror or error}): "
            "choose another port, or port=0 for any that is free"
        ) from None
    return listening
