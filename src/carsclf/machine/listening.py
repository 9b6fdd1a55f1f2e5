"""A socket that is listened on, and a server on it that says where it answers."""

import signal
import socket
from contextlib import suppress
from typing import Any

import uvicorn

from carsclf.errors import ConfigError


class _Server(uvicorn.Server):
    """Says where it answers as soon as it does."""

    def __init__(self, config: uvicorn.Config, said: str) -> None:
        super().__init__(config)
        self._said = said

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(self._said, flush=True)


def answer(app: Any, listening: socket.socket, said: str, *, grace: int) -> None:
    """Serves an app until Ctrl-C or SIGTERM, then what is being asked for `grace` seconds."""
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=grace
    )
    signal.signal(signal.SIGTERM, _end)
    with suppress(KeyboardInterrupt):  # uvicorn raises it, and SIGTERM, again when all is done
        _Server(config, said).run(sockets=[listening])


def bound(host: str, port: int) -> socket.socket:
    """Raises ConfigError where the port is taken."""
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


def _end(*_: object) -> None:
    raise SystemExit(0)
