from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peer.mqtt_kit import Mosquitto, mosquitto


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A mosquitto with TLS, passwords and ACL."""
    with mosquitto(tmp_path) as process:
        yield process
