"""The pictures of a request: files of a form, or its body."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

from carsclf.serving.pictures import Upload
from carsclf.serving.refusal import Refusal
from carsclf.serving.settings import Limits

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
FIELDS = 16  # of a form, besides its files; they are not looked at
NONE = "no picture: send one as the body, or some as files of a multipart form"


class BodyLimit:
    """ASGI middleware: no request's body is read beyond so many bytes."""

    def __init__(self, app: Any, most: int) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        said = f"a request of more than {self._most:,} bytes"
        if announced(scope, self._most) > self._most:
            await JSONResponse({"detail": said}, 413)(scope, receive, send)  # type: ignore[arg-type]
            return
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._most:
                raise Refusal(413, said)
            return message

        await self._app(scope, counted, send)


def announced(scope: Message, otherwise: int) -> int:
    """The length of the body by its header; `otherwise` where there is none."""
    length = dict(scope["headers"]).get(b"content-length", b"")
    return int(length) if length.isdigit() and len(length) < 19 else otherwise


async def read_uploads(request: Request, limits: Limits) -> list[Upload]:
    """All pictures of the request; raises Refusal."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        async with asyncio.timeout(limits.seconds):
            if kind == "multipart/form-data":
                return await _files(request, limits)
            body = await request.body()
    except TimeoutError:
        raise Refusal(408, f"the body did not arrive within {limits.seconds:g} s") from None
    except ClientDisconnect:
        raise Refusal(400, "the body ended before its end") from None
    if not body:
        raise Refusal(400, NONE)
    return [Upload(body)]


async def _files(request: Request, limits: Limits) -> list[Upload]:
    try:
        async with request.form(max_files=limits.images, max_fields=FIELDS) as form:
            files = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
            if not files:
                raise Refusal(400, NONE)
            return [Upload(await file.read(), file.filename or "") for file in files]
    except HTTPException as error:  # the parser's
        if error.detail.startswith("Too many files"):
            raise Refusal(413, f"more than {limits.images} pictures in one request") from None
        raise
    except OSError as error:  # large files of a form wait in the system's folder for such
        raise Refusal(503, f"no room for the pictures of a form ({error.strerror})") from None
