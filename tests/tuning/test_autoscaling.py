"""A cluster that brings machines up on demand grows to a study's workers, and shrinks again."""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from ray.util import get_node_ip_address
from test_kill import environment

from tests.conftest import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]
HEAD = "fffffffffffffffffffffffffffffffffffffffffffffffffff00000"  # as the fake provider calls it
EMPTY: dict[str, Any] = {"auth": {}, "head_node": {}, "worker_nodes": {}, "file_mounts": {}} | {
    f"{where}{what}": []
    for where, what in (
        *(("", "cluster_synced_files"), ("", "initialization_commands"), ("", "setup_commands")),
        *(("head_", "setup_commands"), ("worker_", "setup_commands")),
        *(("head_", "start_ray_commands"), ("worker_", "start_ray_commands")),
    )
}


def fake_cluster(address: str) -> dict[str, Any]:
    """What `ray.cluster_utils.AutoscalingCluster` composes, at an address of its own.

    That utility stops every Ray of the machine before it starts and after it ends.
    """
    worker = {"CPU": 1, "GPU": 1, "object_store_memory": 100_000_000}
    return EMPTY | {
        "cluster_name": "fake",
        "max_workers": 2,
        "upscaling_speed": 10.0,
        "idle_timeout_minutes": 0.05,
        "provider": {
            "type": "fake_multinode",
            "gcs_address": address,
            "head_node_id": HEAD,
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "available_node_types": {
            "head": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "gpu": {"resources": worker, "node_config": {}, "min_workers": 0, "max_workers": 2},
        },
        "head_node_type": "head",
    }


@pytest.fixture
def growing() -> Iterator[str]:
    """The address of a cluster whose head has no CPU and that may start two machines."""
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="ray"))  # names of sockets must be short
    address = f"{get_node_ip_address()}:{port}"
    (folder / "cluster.json").write_text(json.dumps(fake_cluster(address)))
    head = subprocess.Popen(
        [
            *(str(Path(sys.executable).with_name("ray")), "start", "--head", "--block"),
            *(f"--port={port}", "--num-cpus=0", "--num-gpus=0", "--include-dashboard=false"),
            *(f"--temp-dir={folder}", f"--autoscaling-config={folder / 'cluster.json'}"),
            *("--object-store-memory=100000000", "--disable-usage-stats"),
        ],
        env=environment()
        | {
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "RAY_FAKE_CLUSTER": "1",
            "RAY_AUTH_MODE": "disabled",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield address
    finally:
        family = [*psutil.Process(head.pid).children(recursive=True), psutil.Process(head.pid)]
        head.terminate()
        for left in psutil.wait_procs(family, timeout=20)[1]:
            left.kill()
        shutil.rmtree(folder, ignore_errors=True)


DRIVER = """
import json, runpy, sys, threading, time
from pathlib import Path
import ray

root, counts, address = sys.argv[1:4]
for _ in range(60):
    try:
        ray.init(address=address, log_to_driver=False)
        break
    except ConnectionError:
        time.sleep(1)

def up():
    return sum(n["Alive"] and n["Resources"].get("CPU", 0) > 0 for n in ray.nodes())

from ray.experimental.internal_kv import _internal_kv_get
while not _internal_kv_get("__autoscaling_status"):
    time.sleep(0.5)
seen, over = [up()], threading.Event()

def watch():
    while not over.is_set():
        if (now := up()) != seen[-1]:
            seen.append(now)
        time.sleep(0.1)

watcher = threading.Thread(target=watch)
watcher.start()
sys.argv = [root + "/tune.py", *sys.argv[4:]]
try:
    runpy.run_path(root + "/tune.py", run_name="__main__")
finally:
    over.set()
    watcher.join()
    ray.shutdown()  # as tune.py does with a cluster that it joined itself
    ray.init(address=address, log_to_driver=False)
    until = time.monotonic() + 120
    while seen[-1] and time.monotonic() < until:
        time.sleep(0.2)
        if (now := up()) != seen[-1]:
            seen.append(now)
    Path(counts).write_text(json.dumps(seen))
    ray.shutdown()
"""


def run(address: str, folder: Path, options: list[str]) -> tuple[subprocess.CompletedProcess, list]:
    """The finished command, and how many machines there were, one after the other."""
    script, counts = folder / "driver.py", folder / "counts.json"
    script.write_text(DRIVER)
    done = subprocess.run(
        [sys.executable, str(script), str(ROOT), str(counts), address, *options],
        cwd=folder,
        env=environment() | {"RAY_AUTH_MODE": "disabled", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=400,
    )
    return done, json.loads(counts.read_text())


def options_of(tiny: list[str], address: str) -> list[str]:
    return [
        *tiny,
        *("space.data.batch_size={low: 1, high: 3}", "resources.gpu=1", "cluster=address"),
        *(f"cluster.address={address}", "search=random", "search.budget=3", "search.final=0"),
        "name=grown",
    ]


def test_it_grows_from_nothing_and_shrinks_again(
    growing: str, tiny: list[str], tmp_path: Path
) -> None:
    done, counts = run(growing, tmp_path, [*options_of(tiny, growing), "resources.workers=2"])
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "runs/tune/grown/study.json").read_text())
    assert told["statuses"] == {"finished": 3}
    assert (counts[0], max(counts), counts[-1]) == (0, 2, 0)
