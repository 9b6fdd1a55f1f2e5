"""What is acknowledged is logged, whatever happens to the process, the database or the disk."""

import fcntl
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from textwrap import dedent
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from carsclf.errors import ConfigError
from carsclf.inference.predict import load_model
from carsclf.serving.database import MODELS, PREDICTIONS, Database, file_url
from carsclf.serving.log import PredictionLog
from carsclf.serving.service import Service
from carsclf.serving.spool import Spool
from tests.inference.plain import NAMES
from tests.serving.test_predict import files

Started = Callable[..., tuple[TestClient, Service]]
KILLS = int(os.environ.get("CARSCLF_KILLS", "3"))


def rows(path: Path, query: str = "select * from predictions") -> list[dict[str, Any]]:
    """With Python's own SQLite."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query)]


def record(request_id: str, **changed: Any) -> dict[str, Any]:
    return {
        "kind": "prediction",
        "request_id": request_id,
        "image": 0,
        "time": 1.5e9,
        "version": "one@0",
        "sha256": "0" * 64,
        "predicted": "sea",
        "probability": 0.5,
        "top": [["sea", 0.5]],
        "openness": None,
        "seconds": 0.1,
        "client": None,
        "photo": None,
        **changed,
    }


def problems_of(client: TestClient) -> list[str]:
    """What /health names, as soon as it names something."""
    problems: list[str] = []
    until = time.monotonic() + 30
    while not problems and time.monotonic() < until:
        problems = client.get("/health").json()["problems"]
        time.sleep(0.02)
    return problems


def test_every_prediction_is_a_row(
    started: Started, model: Path, photos: list[Path], tmp_path: Path
) -> None:
    client, service = started()
    before = datetime.now(UTC)
    told = client.post("/predict?top=1", files=files(photos[:3]), headers={"X-Client": " a\x01pp "})
    nobody = client.post("/predict", content=photos[0].read_bytes()).json()
    client.post("/predict", content=b"no picture")
    assert service.log.flush(10)
    found = rows(tmp_path / "served/log.sqlite")
    assert len(found) == 4
    mine = [row for row in found if row["request_id"] == told.json()["request_id"]]
    for row, photo, each in zip(mine, photos, told.json()["images"], strict=False):
        expected = load_model(model).predict(photo)
        assert row["image"] == each["image"]
        assert row["sha256"] == sha256(photo.read_bytes()).hexdigest()
        assert row["predicted"] == expected.predicted
        top = json.loads(row["top"])
        assert [name for name, _ in top] == [name for name, _ in expected.top(5)]
        assert [p for _, p in top] == pytest.approx([p for _, p in expected.top(5)], abs=1e-5)
        assert row["version"] == told.json()["version"]
        assert row["client"] == "app"
        assert 0 < row["seconds"] < 60
        assert row["openness"] is row["photo"] is None
        when = datetime.fromisoformat(row["time"]).replace(tzinfo=UTC)
        assert before <= when <= datetime.now(UTC)
    (other,) = [row for row in found if row["request_id"] == nobody["request_id"]]
    assert other["client"] is None
    (known,) = rows(tmp_path / "served/log.sqlite", "select * from models")
    assert json.loads(known["class_names"]) == NAMES
    assert known["sha256"] == sha256((model / "model.safetensors").read_bytes()).hexdigest()
    assert not (tmp_path / "served/photos").exists()
    assert rows(tmp_path / "served/log.sqlite", "pragma journal_mode") == [{"journal_mode": "wal"}]


def test_photos_are_kept_by_hash_where_that_is_asked_for(
    started: Started, photos: list[Path], tmp_path: Path
) -> None:
    client, service = started(keep_photos=True)
    client.post("/predict", files=files([photos[0], photos[1], photos[0]]))
    assert service.log.flush(10)
    found = rows(tmp_path / "served/log.sqlite")
    for row, photo in zip(found, [photos[0], photos[1], photos[0]], strict=True):
        assert (tmp_path / "served/photos" / row["photo"]).read_bytes() == photo.read_bytes()
    assert sum(path.is_file() for path in (tmp_path / "served/photos").rglob("*")) == 2


def test_a_locked_database_delays_no_request_and_loses_none(
    started: Started, photos: list[Path], tmp_path: Path
) -> None:
    client, service = started()
    assert service.log.flush(10)  # the tables are there
    holder = sqlite3.connect(tmp_path / "served/log.sqlite", isolation_level=None)
    holder.execute("begin immediate")
    told = [client.post("/predict", content=photos[0].read_bytes()).json() for _ in range(20)]
    health = client.get("/health")
    assert health.status_code == 200
    assert health.json()["log"]["waiting_bytes"] > 20 * 300
    assert rows(tmp_path / "served/log.sqlite") == []
    holder.execute("commit")
    holder.close()
    assert service.log.flush(20)
    ids = {row["request_id"] for row in rows(tmp_path / "served/log.sqlite")}
    assert ids == {each["request_id"] for each in told}


def test_a_database_that_is_down_is_told_and_caught_up_with(
    started: Started, photos: list[Path], tmp_path: Path
) -> None:
    place = tmp_path / "database"
    place.write_text("a file where a folder should be")
    client, service = started(log=f"sqlite:///{place / 'log.sqlite'}")
    told = [client.post("/predict", content=photos[0].read_bytes()) for _ in range(5)]
    assert {each.status_code for each in told} == {200}
    assert "unable to open database file" in problems_of(client)[0]
    evaluation = [{"request_id": "a", "true_class": "sea", "who": "me"}]
    assert client.post("/evaluations", json=evaluation).status_code == 503
    place.unlink()
    place.mkdir()
    assert service.log.flush(20)
    assert {row["request_id"] for row in rows(place / "log.sqlite")} == {
        each.json()["request_id"] for each in told
    }
    assert client.get("/health").json()["problems"] == []


def test_a_database_that_is_removed_is_made_again(
    started: Started, photos: list[Path], tmp_path: Path
) -> None:
    client, service = started()
    client.post("/predict", content=photos[0].read_bytes())
    assert service.log.flush(10)
    for path in (tmp_path / "served").glob("log.sqlite*"):
        path.unlink()
    told = client.post("/predict", content=photos[0].read_bytes()).json()
    assert service.log.flush(20)
    (row,) = rows(tmp_path / "served/log.sqlite")
    assert row["request_id"] == told["request_id"]
    (model,) = rows(tmp_path / "served/log.sqlite", "select * from models")
    assert model["version"] == told["version"]


def test_a_full_disk_acknowledges_nothing(
    started: Started, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, service = started()
    first = client.post("/predict", content=photos[0].read_bytes()).json()
    real = os.write

    def full(file: int, data: bytes) -> int:
        if threading.current_thread().name.startswith("spool"):
            return real(file, data[:40])  # as a disk with 40 bytes left does
        return real(file, data)

    with monkeypatch.context() as patched:
        patched.setattr("carsclf.serving.spool.os.write", full)
        told = client.post("/predict", content=photos[0].read_bytes())
        assert told.status_code == 503
        assert "cannot be logged" in told.json()["detail"]
    assert service.log.broken is not None
    assert client.get("/health").status_code == 200  # tried again there, and mended
    last = client.post("/predict", content=photos[0].read_bytes()).json()
    assert service.log.flush(10)
    ids = [row["request_id"] for row in rows(tmp_path / "served/log.sqlite")]
    assert sorted(ids) == sorted([first["request_id"], last["request_id"]])


def test_a_removed_spool_is_begun_anew(
    started: Started, photos: list[Path], tmp_path: Path
) -> None:
    client, service = started()
    shutil.rmtree(tmp_path / "served/spool")
    told = client.post("/predict", content=photos[0].read_bytes()).json()
    assert list((tmp_path / "served/spool").glob("*.jsonl"))
    assert service.log.flush(10)
    assert told["request_id"] in {r["request_id"] for r in rows(tmp_path / "served/log.sqlite")}


def test_what_a_dead_process_left_is_stored_once(tmp_path: Path) -> None:
    """Whole lines twice, one that the database refuses, one that is no record, a torn end."""
    spool = tmp_path / "spool"
    spool.mkdir()
    refused = record("bad", predicted=None)
    lines = [record("a"), record("a"), refused, record("b", image=1), record("b")]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (spool / "1.jsonl").write_text(text + "nonsense\n" + json.dumps(record("c")) + "\n")
    (spool / "2.jsonl").write_text(json.dumps(record("d")) + "\n" + json.dumps(record("e"))[:-1])
    log = PredictionLog(Database(f"sqlite:///{tmp_path / 'log.sqlite'}"), spool, None)
    log.start()
    assert log.flush(20)
    log.stop()
    found = {(row["request_id"], row["image"]) for row in rows(tmp_path / "log.sqlite")}
    assert found == {("a", 0), ("b", 0), ("b", 1), ("c", 0), ("d", 0)}
    assert len(rows(tmp_path / "log.sqlite")) == 5
    told = (spool / "refused.txt").read_text().splitlines()
    assert len(told) == 2
    assert any("NOT NULL" in line and '"bad"' in line for line in told)
    assert any("nonsense" in line for line in told)
    assert [path.name for path in spool.iterdir()] == ["refused.txt"]


def test_two_processes_share_a_spool(tmp_path: Path) -> None:
    """Each has its own segment, and takes over only what nobody holds."""
    one = Spool(tmp_path)
    one.append([record("a")])
    other = Spool(tmp_path)
    assert other.waiting() == []
    other.append([record("b")])
    assert len(list(tmp_path.glob("*.jsonl"))) == 2
    one.close()
    other.adopt()
    assert b"".join(segment.read() for segment in other.waiting()).count(b"\n") == 2


@pytest.mark.parametrize(
    ("owner", "name"), [("os", "open"), ("fcntl", "flock"), ("Path", "unlink")]
)
def test_a_process_killed_between_two_steps_leaves_nothing_behind(
    tmp_path: Path, owner: str, name: str
) -> None:
    """Of a segment that it begins or removes: the next process ends with an empty folder."""
    script = f"""
        import fcntl, os, signal, sys
        from pathlib import Path
        from carsclf.serving import spool
        own = spool.Spool(Path(sys.argv[1]))
        real = {owner}.{name}
        def die_after(*args, **kwargs):
            real(*args, **kwargs)
            os.kill(os.getpid(), signal.SIGKILL)
        {owner}.{name} = die_after
        own.append([{{"kind": "prediction"}}])
        (segment,) = own.waiting()
        segment.done = segment.length
        own.close()
    """
    told = subprocess.run([sys.executable, "-c", dedent(script), str(tmp_path)], check=False)
    assert told.returncode == -signal.SIGKILL
    after = Spool(tmp_path)
    for segment in after.waiting():
        assert segment.read() == b""
        after.finish(segment)
    assert list(tmp_path.iterdir()) == []


def test_a_segment_lost_before_it_was_locked_is_another_process_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new one is taken over, and another begun; an old one is stored and gone meanwhile."""
    real = fcntl.flock
    taken: list[Path] = []

    def late(file: int, how: int) -> None:
        if not taken:
            (path,) = tmp_path.glob("*.jsonl")
            taken.append(path)
            other = Spool(tmp_path)
            other.finish(other.waiting()[0])
        real(file, how)

    monkeypatch.setattr("carsclf.serving.spool.fcntl.flock", late)
    own = Spool(tmp_path)
    own.append([record("a")])
    (segment,) = own.waiting()
    assert taken
    assert segment.path != taken[0]
    assert list(tmp_path.iterdir()) == [segment.path]
    own.close()
    (tmp_path / "1.jsonl").write_text("")
    (tmp_path / segment.path.name).unlink()
    taken.clear()
    assert Spool(tmp_path).waiting() == []
    assert list(tmp_path.iterdir()) == []


def test_large_spools_are_read_in_parts_and_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("carsclf.serving.spool.FULL", 5_000)
    spool = Spool(tmp_path)
    for number in range(100):
        spool.append([record(f"{number:03}")])
    assert len(list(tmp_path.glob("*.jsonl"))) > 3
    ids = []
    for segment in spool.waiting():
        while data := segment.read(700):
            ids += [json.loads(line)["request_id"] for line in data.splitlines()]
            segment.done += len(data)
        spool.finish(segment)
    assert ids == [f"{number:03}" for number in range(100)]
    assert spool.bytes == 0
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_logs_that_cannot_be(tmp_path: Path) -> None:
    for log in ("", "mysql://host/log", "sqlite://", "sqlite:///:memory:", "sqlite:/log.sqlite"):
        with pytest.raises(ConfigError, match="expected an SQLite file, sqlite:///<file> or"):
            Database(log)
    odd = tmp_path / "größe?a=b #1 %20"
    odd.mkdir()
    assert Database(file_url(odd / "log.sqlite")).write([record("a")]) == []
    assert [row["request_id"] for row in rows(odd / "log.sqlite")] == ["a"]
    shown = Database("postgresql://me:secret@host/log").shown
    assert "secret" not in shown


@pytest.mark.slow
def test_a_killed_service_loses_no_acknowledged_prediction(
    process: Callable[..., tuple[subprocess.Popen[str], str]],
    model: Path,
    photos: list[Path],
    tmp_path: Path,
) -> None:
    """SIGKILL under load, again and again; the last process then stores what is left."""
    acknowledged: list[str] = []
    content = photos[0].read_bytes()
    for kill in range(KILLS):
        child, address = process(f"run={model}", "folder=served")
        gone = threading.Event()

        def ask(address: str = address, gone: threading.Event = gone) -> None:
            with httpx.Client(base_url=address, timeout=30) as client:
                while not gone.is_set():
                    with suppress(httpx.TransportError):
                        told = client.post("/predict", content=content)
                        assert told.status_code == 200, told.text
                        acknowledged.append(told.json()["request_id"])

        with ThreadPoolExecutor(4) as pool:
            asking = [pool.submit(ask) for _ in range(4)]
            before = len(acknowledged)
            until = time.monotonic() + 60
            while len(acknowledged) < before + 20 + 7 * kill and time.monotonic() < until:
                time.sleep(0.01)
            child.kill()
            child.wait()
            gone.set()
        for each in asking:
            each.result()
    assert len(acknowledged) >= 20 * KILLS
    child, address = process(f"run={model}", "folder=served")
    child.terminate()  # stores what waits
    assert child.wait(60) == 0
    found = [row["request_id"] for row in rows(tmp_path / "served/log.sqlite")]
    assert len(found) == len(set(found))
    assert set(acknowledged) <= set(found)
    assert list((tmp_path / "served/spool").iterdir()) == []


@pytest.mark.slow
def test_postgresql_keeps_the_log_and_may_go_down(
    postgresql: tuple[str, Callable[[str], None]], started: Started, photos: list[Path]
) -> None:
    url, server = postgresql
    client, service = started(log=url)
    content = photos[0].read_bytes()
    first = client.post("/predict", content=content, headers={"X-Client": "app"}).json()
    assert service.log.flush(30)
    server("stop")
    later = [client.post("/predict", content=content) for _ in range(5)]
    assert {each.status_code for each in later} == {200}
    assert problems_of(client)
    server("start")
    assert service.log.flush(60)
    ids = [first["request_id"], *(each.json()["request_id"] for each in later)]
    with service.log.database.begin() as connection:
        found = list(connection.execute(select(PREDICTIONS)).mappings())
        names = list(connection.scalars(select(MODELS.c.class_names)))
    assert sorted(row["request_id"] for row in found) == sorted(ids)
    assert names == [NAMES]
    (row,) = [row for row in found if row["request_id"] == ids[0]]
    assert row["top"][0] == [row["predicted"], pytest.approx(row["probability"])]
    assert abs((row["time"] - datetime.now(UTC)).total_seconds()) < 600
    good = {"request_id": ids[0], "true_class": NAMES[0], "who": "me", "note": "größer"}
    assert client.post("/evaluations", json=[good, good | {"true_class": NAMES[1]}]).json() == {
        "kept": 2,
        "refused": [],
    }
    zero = record("zero", client="a\0b")  # which PostgreSQL does not take
    refused = service.log.database.write([record("x"), zero, record("y")])
    assert [each["request_id"] for each, _ in refused] == ["zero"]
    with service.log.database.begin() as connection:
        found = set(connection.scalars(select(PREDICTIONS.c.request_id)))
    assert found == {*ids, "x", "y"}


def test_serving_needs_no_training_library(model: Path, tmp_path: Path) -> None:
    program = (
        "import sys, carsclf.serving.command, carsclf.serving.local\n"
        "print([m for m in ('pytorch_lightning', 'ray', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout == "[]\n", done.stderr
