"""How unlike all that it was trained on a picture is: predict.py's number in answer and log."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from fastapi.testclient import TestClient

from carsclf.data.images import read_picture
from carsclf.data.samples import Sample
from carsclf.inference.bank import model_key
from carsclf.inference.openness import Openness
from carsclf.inference.predict import load_model
from carsclf.serving.service import Service
from tests.serving.test_predict import files

Started = Callable[..., tuple[TestClient, Service]]


def measure(run: Path, photos: list[Path]) -> None:
    """Writes the openness of a run as if it was trained on half of the photos."""
    model = load_model(run, device="cpu")
    seen = [model.transform(read_picture(Sample(str(p), p, 0))) for p in photos]
    embeddings, logits = model.see(torch.stack(seen))
    train, val = slice(0, None, 2), slice(1, None, 2)
    openness = Openness.fit(embeddings[train], embeddings[val], logits[val], model_key(model), k=3)
    openness.write(run / "openness.safetensors")


def logged(service: Service, database: Path) -> list[float | None]:
    assert service.log.flush(10)
    with closing(sqlite3.connect(database)) as connection:
        order = "select openness from predictions order by time, image"
        return [row[0] for row in connection.execute(order)]


def test_it_is_that_of_predict(
    started: Started,
    model: Path,
    photos: list[Path],
    command: Callable[..., int],
    tmp_path: Path,
) -> None:
    measure(model, photos)
    client, service = started()
    told = []
    for photo in photos[:4]:
        answer = client.post("/predict", content=photo.read_bytes()).json()
        told.append(answer["images"][0]["openness"])
        arguments = [f"images={photo}", f"csv={tmp_path}/said.csv", "device=cpu"]
        assert command("predict.py", f"run={model}", *arguments) == 0
        assert told[-1] == pq.read_table(tmp_path / "said.parquet")["openness"].to_pylist()[0]
    assert len(set(told)) == 4
    together = client.post("/predict", files=files(photos[:4])).json()["images"]
    # the distance is a root of the little by which a cosine lies below 1, so rounding shows
    assert [each["openness"] for each in together] == pytest.approx(told, abs=2e-3)
    expected = [*told, *(each["openness"] for each in together)]
    assert logged(service, tmp_path / "served/log.sqlite") == expected


def test_the_network_runs_once_for_a_picture(
    started: Started, model: Path, photos: list[Path]
) -> None:
    measure(model, photos)
    client, service = started()
    passes: list[int] = []
    network = service.deployment.current.model.network
    network.register_forward_hook(lambda _, given, __: passes.append(len(given[0])))
    assert client.post("/predict", content=photos[0].read_bytes()).json()["images"][0]["openness"]
    assert passes == [1]


def test_it_is_taken_when_it_was_measured_and_only_of_this_model(
    started: Started, model: Path, photos: list[Path], tmp_path: Path
) -> None:
    client, service = started()
    deployment, content = service.deployment, photos[0].read_bytes()
    deployment.stop()

    def says() -> float | None:
        for _ in range(2):
            deployment.look()
        return client.post("/predict", content=content).json()["images"][0]["openness"]

    version = deployment.current.version
    assert says() is None
    measure(model, photos)
    own = (model / "openness.safetensors").read_bytes()
    said = says()
    assert said is not None
    assert 0 <= said <= 1
    found = Openness.read(model / "openness.safetensors")
    other = Openness(found.bank, found.distances, found.doubts, found.both, "another", found.k)
    other.write(model / "openness.safetensors")
    assert says() is None
    (model / "openness.safetensors").write_bytes(own[:100])
    assert says() is None  # the model as it was goes on
    assert "openness=true measures it anew" in str(deployment.problem)
    (model / "openness.safetensors").write_bytes(own)
    assert (says(), deployment.problem) == (said, None)
    assert deployment.current.version == version
    assert logged(service, tmp_path / "served/log.sqlite") == [None, said, None, None, said]
