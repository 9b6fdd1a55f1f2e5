"""Another model while requests come, and models that are not deployed at all."""

import asyncio
import json
import shutil
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient
from safetensors.torch import load_file, save_file

from carsclf.inference.predict import load_model
from carsclf.serving.deployment import load_served
from carsclf.serving.service import Service
from tests.inference.plain import make_model
from tests.serving.conftest import LIMITS

Started = Callable[..., tuple[TestClient, Service]]
RECORD: dict[str, Any] = {  # what a run.json of an earlier version has
    **dict.fromkeys(("model", "mode", "source", "protocol", "device", "precision"), ""),
    **dict.fromkeys(("classes", "seed", "epochs", "horizon", "images_trained"), 1),
    **{key: {} for key in ("split_sizes", "versions", "metrics")},
    **dict.fromkeys(("boundary", "git_commit")),
    "weights": "none",
    "seconds": 1.0,
    "reported": "best",
    "reported_epoch": 1,
    "finished": True,
}


def other_model(folder: Path) -> Path:
    """Of other weights, classes and a larger picture."""
    make_model(folder, "center_crop", 40)
    state = load_file(folder / "model.safetensors")
    state["fc.bias"] += torch.tensor([3.0, -3.0, 0.5])
    save_file(state, folder / "model.safetensors")
    card = json.loads((folder / "model.json").read_text())
    card["class_names"] = ["lake", "wood", "road"]
    (folder / "model.json").write_text(json.dumps(card))
    return folder


def point(link: Path, to: Path) -> None:
    """As `ln -sfn` does, at once."""
    beside = link.with_name("beside")
    beside.symlink_to(to)
    beside.replace(link)


def test_another_model_is_taken_without_a_dropped_request(
    started: Started, model: Path, photos: list[Path], tmp_path: Path
) -> None:
    """Each answer is that of the model which it names, to the bit."""
    two, link = other_model(tmp_path / "runs/train/two"), tmp_path / "deployed"
    point(link, model)
    client, service = started(run=str(link), max_batch=4, limits=replace(LIMITS, waiting=1000))
    trained = {
        load_served(run, "cpu").version: load_model(run, device="cpu") for run in (model, two)
    }
    content, told, ended = photos[0].read_bytes(), [], threading.Event()

    def ask() -> None:
        while not ended.is_set():
            told.append(client.post("/predict?top=3", content=content))

    async def scene() -> None:
        asking = [asyncio.to_thread(ask) for _ in range(4)]

        async def swap() -> None:
            for run in (two, model, two):
                await asyncio.sleep(0.2)
                point(link, run)
                for _ in range(2):  # as the watching thread does
                    await asyncio.to_thread(service.deployment.look)
            await asyncio.sleep(0.2)
            ended.set()

        await asyncio.gather(*asking, swap())

    asyncio.run(scene())
    assert {each.status_code for each in told} == {200}
    assert {each.json()["version"] for each in told} == set(trained)
    for version, one in trained.items():
        expected = one.predict(photos[0])
        for each in (e.json() for e in told if e.json()["version"] == version):
            found = [(r["name"], r["probability"]) for r in each["images"][0]["top"]]
            assert [name for name, _ in found] == [name for name, _ in expected.top(3)]
            assert [p for _, p in found] == pytest.approx([p for _, p in expected.top(3)], abs=1e-5)
    assert client.get("/model").json()["class_names"] == ["lake", "wood", "road"]
    assert service.log.flush(20)


def test_what_is_no_better_than_the_current_model_is_not_taken(
    started: Started, model: Path, photos: list[Path], tmp_path: Path
) -> None:
    link = tmp_path / "deployed"
    point(link, model)
    client, service = started(run=str(link))
    version, deployment = service.deployment.current.version, service.deployment
    deployment.stop()
    leaky = make_model(tmp_path / "leaky")
    card = json.loads((leaky / "model.json").read_text())
    (leaky / "model.json").write_text(json.dumps(card | {"deployable": False}))
    broken = make_model(tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"half of it")
    cases = {
        leaky: "is a throw-away run",
        broken: "cannot be loaded",
        tmp_path / "nowhere": "the last one goes on answering",
    }
    for folder, said in cases.items():
        point(link, folder)
        for _ in range(3):
            deployment.look()
        assert said in str(deployment.problem)
        health = client.get("/health").json()
        assert (health["ready"], health["version"]) == (True, version)
        assert said in health["problems"][0]
        told = client.post("/predict", content=photos[0].read_bytes())
        assert told.json()["version"] == version
    point(link, model)
    for _ in range(3):
        deployment.look()
    assert deployment.problem is None
    shutil.rmtree(model)
    deployment.look()
    assert client.post("/predict", content=photos[0].read_bytes()).json()["version"] == version
    assert "holds no model any more" in client.get("/health").json()["problems"][0]


def test_a_model_that_failed_for_a_while_is_tried_again(
    started: Started, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where memory was short; also where it was gone meanwhile."""
    link, other = tmp_path / "deployed", other_model(tmp_path / "other")
    point(link, model)
    _, service = started(run=str(link))
    deployment, loads = service.deployment, list[str]()
    deployment.stop()

    def short() -> None:
        loads.append("short")
        raise MemoryError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(deployment, "_load", short)
        for to in (other, other, other, tmp_path / "nowhere", other, other):
            point(link, to)
            deployment.look()
    assert loads == ["short"]  # not at each look
    assert "another model was not taken: no room" in str(deployment.problem)
    deployment._again = 0.0  # a minute later
    deployment.look()
    assert deployment.current.version.startswith("other@")
    assert deployment.problem is None


def test_weights_are_read_once_they_are_whole(started: Started, model: Path) -> None:
    """A copy in progress is another file at each look."""
    _, service = started()
    deployment, version = service.deployment, service.deployment.current.version
    deployment.stop()
    state = load_file(model / "model.safetensors")
    state["fc.bias"] += 1
    save_file(state, model / "new")
    whole = (model / "new").read_bytes()
    for share in (3, 2):
        (model / "model.safetensors").write_bytes(whole[: len(whole) // share])
        deployment.look()
        assert (deployment.current.version, deployment.problem) == (version, None)
    (model / "model.safetensors").write_bytes(whole)
    deployment.look()
    assert deployment.current.version == version
    deployment.look()
    assert deployment.current.version != version
    assert deployment.problem is None


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "throw-away": ({"deployable": False}, "is a throw-away run, trained to find photos"),
    "leak": ({"leak": "published"}, "was trained with data.leak=published, on copies of its val"),
    "random": ({"weights": "random"}, "was trained from random weights"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("marked", ["model.json", "run.json"])
def test_models_that_are_not_for_deployment(
    case: str,
    marked: str,
    command: Callable[..., int],
    model: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    marks, said = REFUSED[case]
    (model / "run.json").write_text(json.dumps(RECORD))
    load_served(model, "cpu")  # as it was
    record = json.loads((model / marked).read_text())
    (model / marked).write_text(json.dumps(record | marks))
    assert command("serve.py", "run=runs/train/one", "port=0") == 1
    (line,) = [x for x in capfd.readouterr().err.splitlines() if "error" in x]
    assert said in line


MISTAKES: dict[str, tuple[list[str], str]] = {
    "no run": ([], "run has no value: give it as run="),
    "missing run": (["run=nowhere"], "is no folder: give a run folder"),
    "both": (["evaluations=a.csv"], "imports them and serves nothing"),
    "port": (["port=99999"], "port=99999: expected a whole number"),
    "batch": (["max_batch=0"], "max_batch=0: expected"),
    "waiting": (["limits.waiting=4"], "limits.images=32 exceeds limits.waiting=4"),
    "megabytes": (["limits.megabytes=200"], "exceeds limits.request_megabytes=100"),
    "log": (["log=sqlite:/log.sqlite"], "log=sqlite:/log.sqlite: expected an SQLite file"),
    "group": (["serving=cloud"], "Could not find 'serving/cloud'"),
    "host": (["host=no.such.host.invalid"], "cannot be listened on"),
    "folder": (["folder=runs/train/one/model.json"], "give another place with folder="),
    "record": ([], "run.json is not readable JSON"),
    "openness": ([], "openness.safetensors cannot be read"),
}
DAMAGED = {"record": "run.json", "openness": "openness.safetensors"}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_end_in_one_line(
    mistake: str, command: Callable[..., int], model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments, said = MISTAKES[mistake]
    run = [] if mistake in ("no run", "missing run") else ["run=runs/train/one"]
    if mistake in DAMAGED:
        (model / DAMAGED[mistake]).write_text("{")
    assert command("serve.py", *run, *arguments) == 1
    (line,) = [x for x in capfd.readouterr().err.splitlines() if "error" in x.lower()]
    assert said in line


def test_a_port_that_is_taken(
    command: Callable[..., int], model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert command("serve.py", "run=runs/train/one", f"port={port}") == 1
    assert f"port={port} cannot be listened on" in capfd.readouterr().err


def test_ray_serve_says_what_it_needs(
    command: Callable[..., int],
    model: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ray.serve", None)
    assert command("serve.py", "run=runs/train/one", "serving=ray") == 1
    assert "pip install 'carsclf[ray-serve]'" in capfd.readouterr().err
