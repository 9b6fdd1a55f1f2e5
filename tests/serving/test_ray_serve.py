"""`serving=ray`: the same app in replicas of Ray Serve."""

import socket
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest

from carsclf.inference.predict import load_model
from tests.serving.test_predict import files, probabilities

pytest.importorskip("grpc", reason="Ray Serve is not installed: carsclf[ray-serve]")
pytestmark = pytest.mark.slow
Process = Callable[..., tuple[subprocess.Popen[str], str]]


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return asked.getsockname()[1]


def test_replicas_answer_and_log_as_one_process_does(
    process: Process, model: Path, photos: list[Path], tmp_path: Path
) -> None:
    child, address = process(
        *(f"run={model}", "serving=ray", "serving.replicas=2", "serving.cpu=0.5"),
        *(f"port={free_port()}", f"folder={tmp_path / 'served'}"),
    )
    own, asked = load_model(model, device="cpu"), 0
    for photo in photos[:6]:
        said = httpx.post(f"{address}/predict?top=3", content=photo.read_bytes(), timeout=60).json()
        expected = own.predict(photo).probabilities
        assert np.array_equal(probabilities(said["images"][0]), expected)
        asked += 1
    several = httpx.post(f"{address}/predict", files=files(photos[:4]), timeout=60)
    assert [image["image"] for image in several.json()["images"]] == [0, 1, 2, 3]
    assert httpx.post(f"{address}/predict", content=b"<svg/>", timeout=60).status_code == 415
    assert httpx.get(f"{address}/health", timeout=60).json()["ready"] is True
    child.terminate()  # replicas carry their spool to the database before they end
    child.wait(timeout=120)
    with sqlite3.connect(tmp_path / "served/log.sqlite") as log:
        assert log.execute("SELECT COUNT(*) FROM predictions").fetchone() == (asked + 4,)


def test_more_replicas_than_processors_are_refused(process: Process, model: Path) -> None:
    with pytest.raises(AssertionError, match=r"serving\.replicas=2 of serving\.cpu=1000 want 2000"):
        process(f"run={model}", "serving=ray", "serving.cpu=1000", f"port={free_port()}")
    with pytest.raises(AssertionError, match=r"serving\.gpu=1 want 1 GPUs, Ray has 0"):
        process(f"run={model}", "serving=ray", "serving.gpu=1", f"port={free_port()}")
