"""Finding a Ray cluster, or starting one on this machine that nobody else can reach."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from types import ModuleType
from typing import Any

from ....crypto.errors import ConfigError, TransportError

ADDRESS = "RAY_ADDRESS"  # the variable that Ray's own tools go by
KNOCK_S = 10.0  # how long a cluster may take to answer


def load_ray() -> ModuleType:
    """The library. Raises ConfigError when it is not installed."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is told to its makers
    try:
        import ray
    except ImportError:
        raise ConfigError(
            "the engine 'ray' needs Ray, which is not installed",
            where="engine",
            fix="pip install 'tidings[ray]'",
        ) from None
    return ray


def join() -> bool:
    """Join the cluster that RAY_ADDRESS names, or start one here; whether it is ours to leave.

    Raises TransportError when there is none at that address.
    """
    ray = load_ray()
    if ray.is_initialized():
        return False
    address = os.environ.get(ADDRESS) or "local"
    options: dict[str, Any] = {}
    if address == "local":
        # without the option Ray would listen on the machine's address in the network
        options = {"_node_ip_address": "127.0.0.1", "include_dashboard": False}
        options["num_cpus"] = len(os.sched_getaffinity(0))
    logging.getLogger("ray").setLevel(logging.ERROR)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except (OSError, RuntimeError, ValueError) as error:
        raise TransportError(
            f"there is no Ray cluster at {address}: {error}",
            where=ADDRESS,
            fix="start one with 'ray start --head', or unset the variable to use this machine",
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray puts one of its own there
    return True


def _knock(address: str) -> None:
    """Raise OSError where nobody listens: Ray itself takes minutes to find that out."""
    host, colon, port = address.rpartition(":")
    if colon and "//" not in host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_S).close()


def leave() -> None:
    """Leave the cluster, and end it if it was started here."""
    load_ray().shutdown()


def cores() -> int:
    """How many cores the cluster has to offer."""
    return max(1, int(load_ray().cluster_resources().get("CPU", 1)))
