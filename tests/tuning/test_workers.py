"""How many workers are asked for, kept and waited for."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import ray
from omegaconf import OmegaConf
from tables import SEARCHES, make_searches

from carsclf.data.build import pick_workers
from carsclf.errors import CarsclfError, ConfigError
from carsclf.machine import devices
from carsclf.tuning.study.controller import Controller
from carsclf.tuning.study.journal import Journal
from carsclf.tuning.study.study import Study
from carsclf.tuning.trial import ENDED, Start
from carsclf.tuning.workers import cluster, ray_workers, resources
from carsclf.tuning.workers.ray_workers import RayWorkers
from carsclf.tuning.workers.recorded import RecordedWorkers, Table
from carsclf.tuning.workers.resources import Resources

pytestmark = pytest.mark.xdist_group("ray")


class Idle:
    def ready(self) -> str:
        return ray.get_runtime_context().get_node_id()


class Broken:
    def __init__(self) -> None:
        raise OSError("no such library\nhere")

    def ready(self) -> str:
        return ""


def crew(
    monkeypatch: pytest.MonkeyPatch, kind: type, said: list[str], places: int, asked: int
) -> RayWorkers:
    """Workers of which so many find a place; the others ask for GPUs, of which there are none."""
    started: list[int] = []

    def start(_: Resources) -> Any:
        started.append(1)
        gpus = 0 if len(started) <= places else 1
        return ray.remote(kind).options(num_cpus=0, num_gpus=gpus).remote()

    monkeypatch.setattr(ray_workers, "_start_worker", start)
    monkeypatch.setattr(ray_workers, "PATIENCE", 0.3)
    return RayWorkers(
        Resources(1, 1, asked, grows=True), lambda _: pytest.fail("no trial"), said.append
    )


def wait_for(done: Callable[[], bool], workers: RayWorkers) -> None:
    until = time.monotonic() + 60
    while not done():
        assert time.monotonic() < until
        workers.next(timeout=0.1)


def test_missing_workers_are_asked_for_said_now_and_then_and_let_go(
    monkeypatch: pytest.MonkeyPatch, ray_cluster: None
) -> None:
    said: list[str] = []
    workers = crew(monkeypatch, Idle, said, places=2, asked=4)
    wait_for(lambda: workers.free == 2, workers)
    assert len(workers.slots) == 4
    said.clear()
    began = time.monotonic()
    wait_for(lambda: len(said) == 3, workers)
    assert set(said) == {"waiting for machines: 4 workers asked for, 2 up"}
    assert time.monotonic() - began > 0.3 + 0.6 + 1.2  # each after twice the time
    workers.keep(3.0)
    assert (len(workers.slots), workers.free) == (3, 2)  # those that are up stay
    workers.keep(0)
    assert (len(workers.slots), workers.free) == (1, 1)
    quiet = len(said)
    for _ in range(10):
        workers.next(timeout=0.1)
        time.sleep(0.1)
    assert len(said) == quiet
    workers.dismiss()
    assert workers.slots == []


def test_workers_that_cannot_start_end_the_study_in_one_line(
    monkeypatch: pytest.MonkeyPatch, ray_cluster: None
) -> None:
    workers = crew(monkeypatch, Broken, [], places=9, asked=1)
    with pytest.raises(CarsclfError, match="workers do not start, to be resumed: .*no such libr"):
        wait_for(lambda: False, workers)
    workers.dismiss()


@pytest.mark.parametrize("search", SEARCHES)
def test_a_study_keeps_the_workers_that_it_can_still_use(search: str, table: Table) -> None:
    """Never fewer than trials that run; in the final as many as have not ended."""
    chosen = replace(make_searches(budget=8)[search], final=0.5)
    journal, kept = Journal(None), list[tuple[float, int, int]]()
    start = Start("incumbent", [], table.raw(0))
    controller = Controller(chosen, table.space, table.horizon, journal.record, [start])
    workers = RecordedWorkers(table, 2, "accuracy")

    def keep(count: float) -> None:
        left = sum(trial.status not in ENDED for trial in controller.finalists)
        kept.append((count, len(workers.busy), left if controller.finalists else -1))

    workers.keep = keep  # type: ignore[method-assign]
    Study(journal, controller, "accuracy", 1).run(workers, lambda: None)
    assert all(count >= busy for count, busy, _ in kept)
    assert all(count >= 4 for count, _, left in kept if left < 0)  # what the final will take
    final = [(count, left) for count, _, left in kept if left >= 0]
    assert all(count == left for count, left in final)
    assert [left for _, left in final if left][-1] == 1


def asked(**options: Any) -> Resources:
    return Resources.from_config(OmegaConf.create({"cpu": 1, "gpu": 0, "workers": None} | options))


def test_only_a_cluster_that_grows_is_asked_for_what_it_has_not(
    monkeypatch: pytest.MonkeyPatch, ray_cluster: None
) -> None:
    assert not cluster.grows()  # two CPUs, and nothing to start machines with
    assert asked(workers=5).room() == 2
    with pytest.raises(ConfigError, match="resources.gpu=1: the cluster has 0 GPUs"):
        asked(gpu=1, workers=5)
    monkeypatch.setattr(resources, "grows", lambda: True)
    assert asked(gpu=1, workers=5).room() == 5
    assert asked().room() == 2
    with pytest.raises(ConfigError, match="resources.workers=null takes what is up, and nothing"):
        asked(gpu=1)
    monkeypatch.setattr(resources, "_largest", lambda key: 0)
    with pytest.raises(ConfigError, match="resources.gpu=auto: no machine of the cluster is up"):
        asked(gpu="auto", workers=5)


def test_what_the_dashboard_lacks_is_said_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lacking = ImportError("No module named 'aiohttp_cors'")
    monkeypatch.setattr(cluster, "get_dashboard_dependency_error", lambda: lacking)
    with (
        pytest.raises(
            ConfigError, match=r"'aiohttp_cors': pip install 'ray\[default\]=="
        ) as caught,
        cluster.cluster(None, dashboard=True),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_the_address_of_the_dashboard() -> None:
    assert cluster.dashboard_line("127.0.0.1:8265") == "dashboard: http://127.0.0.1:8265"
    assert "the cluster runs none" in cluster.dashboard_line("")


def test_trainings_on_the_cpu_take_no_gpu(
    monkeypatch: pytest.MonkeyPatch, ray_cluster: None
) -> None:
    monkeypatch.setattr(resources.ray, "cluster_resources", lambda: {"CPU": 2.0, "GPU": 1.0})
    given = OmegaConf.create({"cpu": 1, "gpu": "auto", "workers": None})
    assert Resources.from_config(given, "cpu").gpu == 0
    monkeypatch.setattr(resources, "_largest", lambda key: 2)
    monkeypatch.setattr(Resources, "room", lambda self: 1)
    assert Resources.from_config(given).gpu == 1


def test_loader_processes_of_a_trial_stay_within_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "available_cores", lambda: 16)
    assert pick_workers("auto", packed=True) == 8
    monkeypatch.setenv(devices.SHARE, "2")
    assert pick_workers("auto", packed=True) == 0
    assert pick_workers("auto", packed=False) == 1
