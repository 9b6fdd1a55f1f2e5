"""A service over a tiny model, in this process or in one that can be killed."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
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


@pytest.fixture
def postgresql(tmp_path: Path) -> Iterator[tuple[str, Callable[[str], None]]]:
    """A server of this machine's PostgreSQL: its URL, and what starts and stops it."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    path = os.pathsep.join([*map(str, programs), os.environ.get("PATH", "")])
    initdb, pg_ctl = (shutil.which(name, path=path) for name in ("initdb", "pg_ctl"))
    if initdb is None or pg_ctl is None:
        pytest.skip("PostgreSQL (initdb, pg_ctl) is not installed")
    root = os.geteuid() == 0
    if root and shutil.which("runuser") is None:
        pytest.skip("PostgreSQL does not run as root, and there is no runuser")
    prefix = ["runuser", "-u", "nobody", "--"] if root else []
    # a socket's path is short, and another user must reach it
    place = Path(tempfile.mkdtemp(prefix="pg"))
    if root:
        shutil.chown(place, "nobody")

    def told(*command: str) -> None:
        done = subprocess.run([*prefix, *command], capture_output=True, text=True, cwd="/tmp")
        assert done.returncode == 0, done.stderr

    def server(action: str) -> None:
        options = f"-c listen_addresses='' -k {place}"
        log = str(place / "log")
        told(pg_ctl, "-D", f"{place}/data", "-w", "-l", log, "-o", options, "-m", "fast", action)

    try:
        told(initdb, "-D", f"{place}/data", "-U", "cars", "--auth=trust", "-E", "UTF8", "-N")
        server("start")
        yield f"postgresql://cars@/postgres?host={place}", server
    finally:
        with suppress(AssertionError):
            server("stop")
        shutil.rmtree(place, ignore_errors=True)
