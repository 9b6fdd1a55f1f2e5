"""Who may ask: pages of this machine's own address, and no others."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

HERE = ("127.0.0.1", "localhost", "::1")
KEPT_IN = {
    "X-Frame-Options": "DENY",  # no other page shows this one, and catches its keys
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Guard:
    """Refuses requests whose Host or Origin is not this machine.

    Listening on 127.0.0.1 keeps other machines out, but not the pages that a browser here has open:
    one whose name was rebound to 127.0.0.1 comes with its own name as Host, one that opens a
    websocket here with its own as Origin.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        asked = f"//{headers.get('host', '')}"
        if not _here(asked) or (origin is not None and not _same(origin, asked)):
            if scope["type"] == "websocket":
                return await WebSocketClose(1008)(scope, receive, send)
            answer = PlainTextResponse("this page is for this machine only\n", 403)
            return await answer(scope, receive, send)

        async def kept_in(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(KEPT_IN)
            await send(message)

        return await self.app(scope, receive, kept_in)


def _here(url: str) -> bool:
    try:
        return urlsplit(url).hostname in HERE
    except ValueError:
        return False


def _same(origin: str, asked: str) -> bool:
    """Whether a page was served by this very port; another program here has one of its own."""
    try:
        one, two = urlsplit(origin), urlsplit(asked)
        return _here(origin) and (one.port or 80) == (two.port or 80)
    except ValueError:
        return False
