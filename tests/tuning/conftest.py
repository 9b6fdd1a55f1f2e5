import os
from pathlib import Path

import pytest
from tables import make_table

from carsclf.tuning.workers.recorded import Table
from tests.conftest import ROOT


@pytest.fixture(scope="session")
def table() -> Table:
    return make_table()


@pytest.fixture(scope="session")
def ray_cluster():
    """One local Ray for all tests of a session."""
    import ray

    os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"
    # workers import what these tests define, and this checkout wherever it is installed from
    here = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(ROOT / "src")])}
    ray.init(
        address="local",  # never a cluster that happens to run on this machine
        num_cpus=2,
        num_gpus=0,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": here},
    )
    yield
    ray.shutdown()
