"""The service in this process."""

import signal
import socket
from contextlib import suppress

import uvicorn

from carsclf.errors import ConfigError
from carsclf.serving.app import create_app
from carsclf.serving.service import Service
from carsclf.serving.settings import Settings

GRACE = 30  # seconds for what is being answered when the service is told to end


class Server(uvicorn.Server):
    """Says where it answers as soon as it does."""

    def __init__(self, config: uvicorn.Config, said: str) -> None:
        super().__init__(config)
        self._said = said

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(self._said, flush=True)


def serve_here(settings: Settings, host: str, port: int) -> None:
    """Answers until Ctrl-C or SIGTERM, then what is being asked, then ends."""
    service = Service(settings)
    listening = _bound(host, port)
    app = create_app(lambda: service, settings.limits.request_bytes)
    shown = f"[{host}]" if ":" in host else host
    here = f"http://{shown}:{listening.getsockname()[1]}"
    said = (
        f"serving {service.deployment.current.version} on {here} (described on {here}/docs)\n"
        f"log: {service.log.database.shown}"
    )
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=GRACE
    )
    signal.signal(signal.SIGTERM, _end)
    with suppress(KeyboardInterrupt):  # uvicorn raises it, and SIGTERM, again when all is done
        Server(config, said).run(sockets=[listening])


def _end(*_: object) -> None:
    raise SystemExit(0)


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
