"""Who gets a photo: pages of this machine, by number."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image
from starlette.websockets import WebSocket, WebSocketDisconnect

from carsclf.curation.page.board import Board
from carsclf.curation.page.guard import Guard
from carsclf.curation.page.thumbnails import Thumbnails
from tests.curation.page.conftest import doubt

HERE = "http://127.0.0.1:8600"


@pytest.fixture
def thumbs(board: Callable[..., Board], paths: dict[str, Path]) -> Thumbnails:
    ids = list(paths)
    return Thumbnails(board(doubt(ids[0], nearest_own=ids[1], nearest_suggested="../x.png")))


@pytest.fixture
def client(thumbs: Thumbnails) -> TestClient:
    app = FastAPI()
    app.include_router(thumbs.router())

    @app.websocket("/socket")
    async def socket(connection: WebSocket) -> None:
        await connection.accept()
        await connection.send_text("in")

    app.add_middleware(Guard)
    return TestClient(app, base_url=HERE)


def test_photos_of_the_findings_and_no_others(
    thumbs: Thumbnails, client: TestClient, paths: dict[str, Path]
) -> None:
    first, second, third = list(paths)[:3]
    assert thumbs.ids == [first, second]
    assert thumbs.url(third, 640) is None
    assert thumbs.url("../x.png", 640) is None
    url = thumbs.url(first, 640, 90)
    assert url is not None
    assert "<" not in url
    answer = client.get(url)
    assert answer.headers["content-type"] == "image/jpeg"
    assert "max-age" in answer.headers["cache-control"]
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    with Image.open(paths[first]) as image:
        wanted = np.asarray(image.convert("RGB").rotate(-90, expand=True), int)
    seen = np.asarray(Image.open(BytesIO(answer.content)), int)
    assert np.abs(seen - wanted).mean() < 6  # JPEG
    paths[first].write_bytes(b"no picture")
    assert thumbs.url(first, 640, 90) != url
    assert client.get(url).status_code == 415


@pytest.mark.parametrize(
    "path",
    [
        *("/photo/2", "/photo/-1", "/photo/..%2f..%2fetc%2fpasswd", "/photo//etc/passwd"),
        *("/photo/../../etc/passwd", "/photo/0?side=100000", "/photo/0?turn=45", "/etc/passwd"),
        "/photo/grün%2F03 é.png",
    ],
)
def test_no_path_leads_to_a_file(path: str, client: TestClient) -> None:
    assert client.get(path).status_code in (404, 422)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost:8600"}, 200),
        ({"host": "[::1]:8600"}, 200),
        ({"origin": HERE}, 200),
        ({"host": "evil.example:8600"}, 403),
        ({"host": "127.0.0.1.evil.example"}, 403),
        ({"host": "evil@127.0.0.1.example"}, 403),
        ({"host": ""}, 403),
        ({"host": "[::1"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"origin": "null"}, 403),
    ],
)
def test_pages_of_other_names_are_refused(
    headers: dict[str, str], status: int, client: TestClient
) -> None:
    assert client.get("/photo/0", headers=headers).status_code == status
    if status == 200:
        headers = {"host": "127.0.0.1:8600", **headers}
        with client.websocket_connect("/socket", headers=headers) as socket:
            assert socket.receive_text() == "in"
    else:
        with (
            pytest.raises(WebSocketDisconnect),
            client.websocket_connect("/socket", headers={"host": "127.0.0.1:8600", **headers}),
        ):
            pass
