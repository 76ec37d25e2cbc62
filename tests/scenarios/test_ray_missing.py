"""The engine `ray` where there is no Ray, or no cluster."""

from __future__ import annotations

import socket
import sys

import pytest

from tidings.crypto.errors import ConfigError, TransportError
from tidings.scenarios.engines.ray import cluster


def test_without_the_library_there_is_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'tidings\[ray\]'"):
        cluster.join()


def test_an_address_where_nobody_is_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        monkeypatch.setenv(cluster.ADDRESS, f"127.0.0.1:{nobody.getsockname()[1]}")
        with pytest.raises(TransportError, match="RAY_ADDRESS"):
            cluster.join()
