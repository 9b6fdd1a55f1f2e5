"""Real processes are killed in the middle of real studies, which then go on."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from carsclf.records import Run, RunFolder
from tests.conftest import ROOT

Command = Callable[..., int]
SEARCH = {
    "asha": ["search=asha", "search.grace=0.25", "search.budget=2.5", "search.final=0"],
    "bohb": ["search=bohb", "search.rungs=2", "search.budget=3", "search.final=0"],
    "multitask": [
        "search=multitask",
        "search.fidelities=[0.25,0.5,1.0]",
        "search.budget=2",
        "search.final=0",
    ],
    "freeze_thaw": ["search=freeze_thaw", "search.grace=0.25", "search.budget=3", "search.final=0"],
    "final": ["search=freeze_thaw", "search.grace=0.25", "search.budget=4.5", "search.final=0.45"],
}
ASIDE = ("idle", "resume", "error", "start", "study")

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]


def environment() -> dict[str, str]:
    """For a process of its own: this checkout, wherever the library was installed from."""
    sources = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    return os.environ | {"PYTHONPATH": sources, "HYDRA_FULL_ERROR": "0"}


@pytest.fixture
def study(tiny: list[str], tmp_path: Path) -> list[str]:
    """A study of a few seconds, whose trained epochs are counted in epochs.log."""
    return [
        *(o for o in tiny if not o.startswith(("look", "trainer.max_epochs", "data.batch"))),
        "trainer.max_epochs=4",
        "optimizer=sgd",
        "schedule=plateau",
        "space=published",
        "space.data.batch_size.high=5",
        "schedule._target_=tests.tuning.counting.plateau",
        f"+schedule.log={tmp_path / 'epochs.log'}",
        "resources.workers=1",
    ]


def events(folder: Path) -> list[dict]:
    path = folder / "events.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def decided(folder: Path) -> list[dict]:
    return [
        {k: v for k, v in event.items() if k not in ("time", "seconds")}
        for event in events(folder)
        if event["kind"] not in ASIDE
    ]


def results(folder: Path) -> int:
    return sum(event["kind"] == "result" for event in events(folder))


def in_final(folder: Path) -> int:
    found = events(folder)
    numbers = {e["trial"] for e in found if e["kind"] == "suggest" and e["role"] == "final"}
    return sum(e["kind"] == "result" and e["trial"] in numbers for e in found)


def trained(folder: Path) -> int:
    return len((folder / "epochs.log").read_text().splitlines())


def reach(
    folder: Path, count: int, alive: Callable[[], bool] = lambda: True, *, final: bool = False
) -> None:
    """Waits for so many results, or for the second one of the final."""
    until = time.monotonic() + 300
    while (in_final(folder) < 2 if final else results(folder) < count) and alive():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("search", SEARCH)
def test_the_driver_is_killed(
    search: str, study: list[str], tmp_path: Path, command: Command, ray_cluster: None
) -> None:
    log, runs = tmp_path / "epochs.log", tmp_path / "runs/tune"
    assert command("tune.py", *study, *SEARCH[search], "name=whole") == 0
    undisturbed = trained(tmp_path)
    log.unlink()

    import ray

    address = ray.get_runtime_context().gcs_address
    place = ["name=killed", "cluster=address", f"cluster.address={address}"]
    driver = subprocess.Popen(
        [sys.executable, str(ROOT / "tune.py"), *study, *SEARCH[search], *place],
        cwd=tmp_path,
        env=environment(),
    )
    reach(runs / "killed", 4, lambda: driver.poll() is None, final=search == "final")
    assert driver.poll() is None
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    before = results(runs / "killed")
    assert command("tune.py", f"resume={runs / 'killed'}") == 0
    assert before < results(runs / "killed")
    assert trained(tmp_path) <= undisturbed + 1
    if search == "bohb":
        assert rungs(runs / "killed") == rungs(runs / "whole")
    else:
        assert decided(runs / "killed") == decided(runs / "whole")
    told = [json.loads((runs / n / "study.json").read_text()) for n in ("whole", "killed")]
    assert told[0]["final"] == told[1]["final"]
    assert bool(told[0]["final"]) == (search == "final")
    assert not list((runs / "killed" / "final").rglob("*.ckpt"))
    kept = list((runs / "killed" / "trials").rglob("*.ckpt"))
    paused = sum(e.get("decision") == "PAUSE" for e in events(runs / "killed"))
    assert len(kept) <= 2 + paused


def rungs(folder: Path) -> Counter[int]:
    last = {e["trial"]: e["epoch"] for e in events(folder) if e["kind"] == "result"}
    return Counter(last.values())


def test_a_worker_is_killed_and_the_winner_retrains(
    study: list[str], tmp_path: Path, command: Command, ray_cluster: None
) -> None:
    folder = tmp_path / "runs/tune/worker"

    def kill() -> None:
        reach(folder, 2)
        for process in psutil.process_iter(["cmdline", "cwd"]):
            name = (process.info["cmdline"] or [""])[0]
            # never another study's: a worker stands where its own driver does
            if name.startswith("ray::Worker") and process.info["cwd"] == str(tmp_path):
                process.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    assert (
        command(
            "tune.py", *study, "search=random", "search.budget=2", "search.final=0", "name=worker"
        )
        == 0
    )
    killer.join()
    errors = [e for e in events(folder) if e["kind"] == "error"]
    assert [e["lost"] for e in errors] == [False]
    starts = [e["epoch"] for e in events(folder) if e["kind"] == "start"]
    assert len(starts) == 3
    assert max(starts) >= 2
    assert trained(tmp_path) <= 9
    import yaml

    overrides = yaml.safe_load((folder / "best.yaml").read_text())
    assert command("train.py", *overrides, "look=false", "name=winner") == 0
    winner = Run.read(RunFolder(tmp_path / "runs/train/winner").run)
    best = json.loads((folder / "study.json").read_text())
    assert winner.metrics["val/top1"] == pytest.approx(best["best"])


LOST_NODE = """
import json, runpy, sys, threading, time
from pathlib import Path
import ray
from ray.cluster_utils import Cluster

root, folder = sys.argv[1], Path(sys.argv[2])
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
nodes = [cluster.add_node(num_cpus=1, num_gpus=1) for _ in range(2)]
cluster.wait_for_nodes()
ray.init(address=cluster.address, log_to_driver=False)

def in_their_middle():
    # whether both machines have a trial that has finished an epoch, with seconds yet to go
    path = folder / "events.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    found = [json.loads(line) for line in lines if line.endswith("\\n")]
    epochs = {e["trial"]: 0 for e in found if e["kind"] == "start"}
    epochs |= {e["trial"]: e["epoch"] for e in found if e["kind"] == "result"}
    running = [epoch for epoch in epochs.values() if epoch < 6]
    return len(running) == 2 and all(1 <= epoch <= 3 for epoch in running)

def lose():
    while not in_their_middle():
        time.sleep(0.02)
    cluster.remove_node(nodes[0], allow_graceful=False)

threading.Thread(target=lose, daemon=True).start()
sys.argv = [root + "/tune.py", *sys.argv[3:]]
try:
    runpy.run_path(root + "/tune.py", run_name="__main__")
finally:
    ray.shutdown()
    cluster.shutdown()
"""


def test_a_lost_machine_loses_no_trial(study: list[str], tmp_path: Path) -> None:
    script, folder = tmp_path / "lost_node.py", tmp_path / "runs/tune/lost"
    script.write_text(LOST_NODE)
    options = [*(o for o in study if "workers=1" not in o), "resources.gpu=1", "search=random"]
    options += ["search.budget=4", "search.final=0", "trainer.max_epochs=6", "name=lost"]
    options += ["+schedule.pause=1"]  # a machine takes its time to be gone
    done = subprocess.run(
        [sys.executable, str(script), str(ROOT), str(folder), *options],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = events(folder)
    errors = [e for e in found if e["kind"] == "error"]
    assert [e["lost"] for e in errors] == [True]
    lost = errors[0]["trial"]
    starts = [e["epoch"] for e in found if e["kind"] == "start" and e["trial"] == lost]
    assert len(starts) == 2
    assert starts[1] > 0
    summary = json.loads((folder / "study.json").read_text())
    assert summary["statuses"] == {"finished": 4}
    assert summary["spent"] == 4


def test_a_full_disk_stops_the_study_which_goes_on_when_there_is_room(
    study: list[str], tmp_path: Path, command: Command, ray_cluster: None, capfd
) -> None:
    folder = tmp_path / "runs/tune/full"

    def fill() -> None:
        reach(folder, 2)
        for process in psutil.process_iter(["cmdline", "cwd"]):
            name = (process.info["cmdline"] or [""])[0]
            if name.startswith("ray::Worker") and process.info["cwd"] == str(tmp_path):
                process.rlimit(psutil.RLIMIT_FSIZE, (50_000, 50_000))  # less than one checkpoint

    filler = threading.Thread(target=fill)
    filler.start()
    assert (
        command(
            "tune.py", *study, "search=random", "search.budget=2", "search.final=0", "name=full"
        )
        == 1
    )
    filler.join()
    assert "the study stopped, to be resumed: could not write" in capfd.readouterr().err
    assert not any(e["kind"] in ("reject", "error") for e in events(folder))
    assert command("tune.py", f"resume={folder}") == 0
    assert json.loads((folder / "study.json").read_text())["statuses"] == {"finished": 2}


def test_trials_log_to_one_group_and_may_choose_where_to_freeze(
    study: list[str], tmp_path: Path, command: Command, ray_cluster: None
) -> None:
    from tests.training.test_wandb import records

    options = ["mode=partial", "space=boundary", "space.mode.boundary={low: 1, high: 3, int: true}"]
    options += ["search=random", "search.budget=2", "search.final=0", "logger=wandb", "name=team"]
    kept = [o for o in study if not o.startswith("space")]
    assert command("tune.py", *kept, "data.batch_size=16", *options) == 0
    folder = tmp_path / "runs/tune/team"
    runs = [
        next(r.run for r in records(path) if r.HasField("run"))
        for path in folder.rglob("offline-run-*/*.wandb")
    ]
    assert {(run.run_group, run.run_id.rpartition("-")[0]) for run in runs} == {
        ("team", "team-0000"),
        ("team", "team-0001"),
    }
    said = [Run.read(path).boundary for path in sorted(folder.glob("trials/*/run.json"))]
    assert len(said) == 2
    assert all(said)
    assert (folder / "figures/boundaries.png").is_file()
