"""The Ray that carries a study out: this machine's own or a running cluster; does it grow?"""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
from ray._private.utils import get_dashboard_dependency_error
from ray.autoscaler._private.util import format_readonly_node_type
from ray.autoscaler.v2.sdk import get_cluster_status
from ray.autoscaler.v2.utils import is_autoscaler_v2
from ray.experimental.internal_kv import _internal_kv_get

from carsclf.errors import ConfigError


@contextmanager
def cluster(
    address: str | None,
    *,
    dashboard: bool = False,
    say: Callable[[str], None] = print,
    option: str = "cluster.address",
) -> Iterator[None]:
    """A Ray of one's own (no address), or a running one; one already joined is left up.

    option: what gave the address. Raises ConfigError where there is none.
    """
    if dashboard and not address:
        check_dashboard()
    if ray.is_initialized():
        yield
        return
    try:
        context: Any = ray.init(
            address=address or "local",
            include_dashboard=None if address else dashboard,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, ValueError) as error:
        said = str(error).splitlines()[0]
        raise ConfigError(f"{option}={address}: no Ray cluster there ({said})") from None
    try:
        if dashboard:
            say(dashboard_line(context.dashboard_url))
        yield
    finally:
        ray.shutdown()


def check_dashboard() -> None:
    """Raises ConfigError where the packages of Ray's dashboard are missing."""
    if error := get_dashboard_dependency_error():
        raise ConfigError(
            f"cluster.dashboard=true: {error}: pip install 'ray[default]=={ray.__version__}', or "
            "set cluster.dashboard=false"
        )


def dashboard_line(url: str | None) -> str:
    """Where the dashboard is, such as http://127.0.0.1:8265."""
    if not url:
        return "dashboard: the cluster runs none; ray start --include-dashboard=true starts one"
    return f"dashboard: {url if '://' in url else f'http://{url}'}"


def grows() -> bool:
    """Whether the cluster brings up machines on demand; as `ray status` knows it.

    Ray runs its autoscaler on every cluster; where it has nothing to start machines with, it names
    each machine that it finds after the machine's id.
    """
    if is_autoscaler_v2():
        status = get_cluster_status(ray.get_runtime_context().gcs_address)
        nodes = [*status.active_nodes, *status.idle_nodes]
        kinds = {node.ray_node_type_name for node in nodes} - {""}
    else:
        report = json.loads(_internal_kv_get(DEBUG_AUTOSCALING_STATUS) or b"{}")
        kinds = set(report.get("autoscaler_report", {}).get("active_nodes", {}))
    return bool(kinds - {format_readonly_node_type(node["NodeID"]) for node in ray.nodes()})
