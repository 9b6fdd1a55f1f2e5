"""What is answered over HTTP: the model's own probabilities, or a reason."""

import asyncio
import hashlib
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image
from safetensors.torch import load_file

from carsclf.inference.predict import load_model
from carsclf.serving.app import create_app
from carsclf.serving.service import Service
from tests.inference.plain import NAMES, make_model, plain_probabilities
from tests.serving.conftest import LIMITS

Started = Callable[..., tuple[TestClient, Service]]


def files(photos: list[Path]) -> list[tuple[str, tuple[str, bytes, str]]]:
    return [("images", (photo.name, photo.read_bytes(), "image/png")) for photo in photos]


def probabilities(told: dict[str, Any]) -> np.ndarray:
    """Of one picture of an answer, in the order of NAMES."""
    named = {each["name"]: each["probability"] for each in told["top"]}
    return np.array([named[name] for name in NAMES], np.float32)


@pytest.mark.parametrize(("rule", "resize"), [("squash", 32), ("center_crop", 37)])
def test_one_picture_is_answered_to_the_bit(
    rule: str, resize: int, started: Started, photos: list[Path], tmp_path: Path
) -> None:
    run = make_model(tmp_path / rule, rule, resize)
    client, _ = started(run=str(run))
    model = load_model(run, device="cpu")
    for photo in photos[:5]:
        told = client.post("/predict?top=3", content=photo.read_bytes()).json()
        expected = model.predict(photo).probabilities
        assert np.array_equal(probabilities(told["images"][0]), expected)
        plain = plain_probabilities(run, [photo])[0]
        np.testing.assert_allclose(expected, plain, atol=0.01)


def test_several_pictures_are_answered_in_order(
    started: Started, model: Path, photos: list[Path]
) -> None:
    client, _ = started()
    told = client.post("/predict?top=3", files=files(photos[:4])).json()
    expected = [p.probabilities for p in load_model(model).predict(photos[:4])]
    found = [probabilities(each) for each in told["images"]]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert [each["image"] for each in told["images"]] == [0, 1, 2, 3]
    for each, photo, row in zip(told["images"], photos, expected, strict=False):
        assert each["sha256"] == hashlib.sha256(photo.read_bytes()).hexdigest()
        assert each["predicted"] == each["top"][0]["name"] == NAMES[row.argmax()]
        assert each["openness"] is None


def test_a_turned_photo_and_another_format_are_seen_as_in_evaluation(
    started: Started, model: Path, photos: list[Path], tmp_path: Path
) -> None:
    client, _ = started()
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, settings in {"a.jpg": {"exif": exif}, "b.webp": {}, "c.tiff": {}}.items():
        path = tmp_path / name
        Image.open(photos[0]).save(path, **settings)
        told = client.post("/predict?top=3", content=path.read_bytes()).json()
        expected = load_model(model, device="cpu").predict(path).probabilities
        assert np.array_equal(probabilities(told["images"][0]), expected)


def test_requests_go_through_the_network_together(
    started: Started, model: Path, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # of two passes each would take but half of what came so far (test_batching)
    monkeypatch.setattr("carsclf.serving.service.passes_at_once", lambda device: 1)
    client, service = started(max_delay=1.0)
    inner, sizes = type(service.deployment.current.model).see, []

    def counting(self: Any, pictures: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        sizes.append(len(pictures))
        return inner(self, pictures)

    monkeypatch.setattr(type(service.deployment.current.model), "see", counting)
    told = asyncio.run(_together(client, [photo.read_bytes() for photo in photos[:16]]))
    assert sum(sizes) == 16
    assert max(sizes) <= 8  # max_batch
    assert len(sizes) < 8
    expected = [p.probabilities for p in load_model(model).predict(photos[:16])]
    found = [probabilities(each.json()["images"][0]) for each in told]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    before = len(sizes)
    client.post("/predict", content=photos[0].read_bytes())  # alone: nobody to wait for
    assert sizes[before:] == [1]


async def _together(client: TestClient, contents: list[bytes]) -> list[Any]:
    send = asyncio.to_thread
    return await asyncio.gather(*(send(client.post, "/predict?top=3", content=c) for c in contents))


def png_of(width: int, height: int) -> bytes:
    """A PNG that claims a size, with next to nothing in it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def zipped() -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("photo.jpg", bytes(50_000_000))
    return held.getvalue()


def jpeg(size: tuple[int, int] = (64, 48)) -> bytes:
    held = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).save(held, "JPEG")
    return held.getvalue()


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
BAD: dict[str, tuple[bytes, int, str]] = {
    "nothing": (b"", 400, "no picture"),
    "text": (b"hello", 415, "of no kind"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "SVG, a drawing"),
    "html": (b"<!DOCTYPE html><html>a.jpg</html>", 415, "a web page"),
    "json": (json.dumps({"image": "aGVsbG8="}).encode(), 415, "of no kind"),
    "eps, which an interpreter would run": (EPS, 415, "PostScript"),
    "pdf": (b"%PDF-1.7\n1 0 obj\n", 415, "of no kind"),
    "zip bomb": (zipped(), 415, "of no kind"),
    "zeros": (bytes(999), 415, "an empty file"),
    "cut jpeg": (jpeg()[:800], 422, "damaged"),
    "jpeg's head": (jpeg()[:20], 415, "of no kind"),
    "one of a hundred megapixels": (png_of(10_000, 10_000), 413, "10000 x 10000 pixels"),
    "one of a billion": (png_of(60_000, 60_000), 413, "pixels are decoded"),
    "a small one with too little in it": (png_of(900, 900), 422, "damaged"),
    "no width": (png_of(0, 10), 415, "of no kind"),
    "many bytes": (bytes(LIMITS.image_bytes + 1), 413, "at most 100,000"),
    "very many bytes": (bytes(LIMITS.request_bytes + 1), 413, "more than 300,000"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("way", ["body", "form"])
def test_what_is_no_picture_is_refused_with_a_reason(
    case: str, way: str, started: Started, photos: list[Path], tmp_path: Path
) -> None:
    content, status, reason = BAD[case]
    client, _ = started()
    if way == "body":
        told = client.post("/predict", content=content, headers={"Content-Type": "image/jpeg"})
    else:
        told = client.post("/predict", files={"images": ("photo.jpg", content, "image/jpeg")})
    assert told.status_code == status, told.text
    detail = told.json()["detail"]
    if (case, way) == ("nothing", "form"):
        reason = "an empty file"
    assert reason in detail
    assert "\n" not in detail
    assert client.post("/predict", content=photos[0].read_bytes()).status_code == 200


def test_forms_that_hold_no_pictures_or_too_many(started: Started, photos: list[Path]) -> None:
    client, _ = started()
    many = files(photos[:1] * 5)
    assert (told := client.post("/predict", files=many)).status_code == 413
    assert "more than 4 pictures" in told.json()["detail"]
    assert client.post("/predict", files=files(photos[:1] * 50)).status_code == 413
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    for body in (
        b"",
        b"--x--\r\n",
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--',
    ):
        assert client.post("/predict", content=body, headers=form).status_code == 400
    nameless = {"Content-Type": "multipart/form-data"}
    assert client.post("/predict", content=b"--x", headers=nameless).status_code == 400
    raw = {"images": ("photo.NEF", photos[0].read_bytes(), "image/jpeg")}
    assert (told := client.post("/predict", files=raw)).status_code == 415
    assert "camera raw" in told.json()["detail"]
    mixed = [*files(photos[:2]), ("images", ("x.jpg", b"hello", "image/jpeg"))]
    assert (told := client.post("/predict", files=mixed)).status_code == 415
    assert told.json()["detail"].startswith("picture 2: ")
    for top in ("0", "-1", "many"):
        content = photos[0].read_bytes()
        assert client.post(f"/predict?top={top}", content=content).status_code == 422
    assert client.get("/predict").status_code == 405


def test_a_body_without_a_length_is_limited_too(started: Started) -> None:
    client, _ = started()

    def endless() -> Any:
        for _ in range(10_000):
            yield bytes(10_000)

    told = client.post("/predict", content=endless())
    assert told.status_code == 413
    assert "more than 300,000 bytes" in told.json()["detail"]


def test_more_than_may_wait_is_told_to_come_again(
    started: Started, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, service = started(limits=replace(LIMITS, waiting=4), max_batch=1)
    inner = type(service.deployment.current.model).see

    def slow(self: Any, pictures: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        import time

        time.sleep(0.05)
        return inner(self, pictures)

    monkeypatch.setattr(type(service.deployment.current.model), "see", slow)
    told = asyncio.run(_together(client, [photos[0].read_bytes()] * 12))
    found = {each.status_code for each in told}
    assert found == {200, 503}
    for each in told:
        if each.status_code == 503:
            assert each.headers["Retry-After"] == "1"
            assert "too many pictures are waiting" in each.json()["detail"]
    four = client.post("/predict", files=files(photos[:4]))
    assert four.status_code == 200  # all that waited is gone again
    assert service._gate.pictures == service._gate.bytes == 0


def test_model_and_page_say_what_answers(started: Started, model: Path, photos: list[Path]) -> None:
    client, _ = started()
    told = client.get("/model").json()
    digest = hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()
    assert told["version"] == f"one@{digest[:16]}"
    assert told["class_names"] == NAMES
    card = json.loads((model / "model.json").read_text())
    assert told["transform"] == card["eval_transform"]
    assert told["weights_license"] == "unknown"
    answer = client.post("/predict", content=photos[0].read_bytes()).json()
    assert answer["version"] == told["version"]
    page = client.get("/openapi.json").json()
    assert set(page["paths"]) == {"/predict", "/health", "/model", "/evaluations"}
    assert set(page["paths"]["/predict"]["post"]["responses"]) >= {"200", "413", "415", "503"}
    assert "multipart/form-data" in page["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert client.get("/docs").status_code == 200


def test_health_is_503_where_the_model_does_not_answer(
    started: Started, monkeypatch: pytest.MonkeyPatch, photos: list[Path]
) -> None:
    client, service = started()
    told = client.get("/health")
    assert (told.status_code, told.json()["ready"], told.json()["problems"]) == (200, True, [])

    def broken(self: Any, pictures: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        raise RuntimeError("CUDA error: an illegal memory access")

    service._batcher.answered = -1e9
    with monkeypatch.context() as patched:
        patched.setattr(type(service.deployment.current.model), "see", broken)
        assert client.post("/predict", content=photos[0].read_bytes()).status_code == 503
        told = client.get("/health")
        assert (told.status_code, told.json()["ready"]) == (503, False)
        assert "illegal memory access" in told.json()["problems"][0]
    assert client.get("/health").status_code == 200
    assert client.post("/predict", content=photos[0].read_bytes()).status_code == 200


def test_before_a_model_is_there_nothing_is_ready(
    settings: Callable[..., Any], photos: list[Path]
) -> None:
    app = create_app(lambda: Service(settings()), LIMITS.request_bytes)
    client = TestClient(app, raise_server_exceptions=False)  # not started
    assert client.get("/health").status_code == 503
    assert client.post("/predict", content=photos[0].read_bytes()).status_code == 503
    assert client.get("/model").status_code == 503
    assert client.post("/evaluations", json=[]).status_code in (422, 503)


def test_a_body_that_never_ends_is_given_up(started: Started, photos: list[Path]) -> None:
    _, service = started(limits=replace(LIMITS, seconds=0.05))
    app = create_app(lambda: service, LIMITS.request_bytes)
    sent: list[Any] = []

    async def scene() -> None:
        async def receive() -> Any:
            await asyncio.sleep(30)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/predict",
            "raw_path": b"/predict",
            "query_string": b"",
            "headers": [],
            "http_version": "1.1",
            "scheme": "http",
        }
        app.state.service = service
        await app(scope, receive, send)

    asyncio.run(scene())
    assert sent[0]["status"] == 408


def test_the_weights_are_those_of_the_file(started: Started, model: Path) -> None:
    _, service = started()
    network = service.deployment.current.model.network.state_dict()
    for name, tensor in load_file(model / "model.safetensors").items():
        assert torch.equal(network[name].contiguous(), tensor)
