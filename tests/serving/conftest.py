"""A service over a tiny model, in this process or in one that can be killed."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from carsclf.serving.app import create_app
from carsclf.serving.service import Service
from carsclf.serving.settings import Limits, Settings
from tests.conftest import ROOT
from tests.inference.plain import make_model

LIMITS = Limits(images=4, image_bytes=100_000, request_bytes=300_000, pixels=1_000_000, waiting=64)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_model(tmp_path / "runs/train/one")


@pytest.fixture
def photos(pictures: Path) -> list[Path]:
    return sorted(pictures.rglob("*.png"))[::3]


@pytest.fixture
def settings(model: Path, tmp_path: Path) -> Callable[..., Settings]:
    def make(**changed: object) -> Settings:
        folder = tmp_path / "served"
        usual: dict[str, object] = {
            "run": str(model),
            "folder": folder,
            "log": f"sqlite:///{folder / 'log.sqlite'}",
            "keep_photos": False,
            "max_batch": 8,
            "max_delay": 0.005,
            "device": "cpu",
            "limits": LIMITS,
        }
        return Settings(**(usual | changed))  # type: ignore[arg-type]

    return make


@pytest.fixture
def started(
    settings: Callable[..., Settings],
) -> Iterator[Callable[..., tuple[TestClient, Service]]]:
    """Starts services in this process, which end with the test."""
    with ExitStack() as running:

        def start(**changed: object) -> tuple[TestClient, Service]:
            service = Service(settings(**changed))
            app = create_app(lambda: service, service.settings.limits.request_bytes)
            client = running.enter_context(TestClient(app, raise_server_exceptions=False))
            return client, service

        yield start


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], str]]]:
    """Starts `serve.py` as a process; returns it and its address once it answers."""
    running: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> tuple[subprocess.Popen[str], str]:
        child = subprocess.Popen(
            [sys.executable, str(ROOT / "serve.py"), "port=0", "device=cpu", *arguments],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            text=True,
        )
        running.append(child)
        assert child.stdout is not None
        said = ""
        for line in child.stdout:
            said += line
            if found := re.search(r"serving \S+ on (http://\S+)", line):
                return child, found[1]
        raise AssertionError(said)

    yield start
    for child in running:
        child.kill()
        child.wait()
