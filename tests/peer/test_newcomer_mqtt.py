"""A newcomer to a network behind a broker, which knows one member and finds the others."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from tests.peer.mqtt_kit import Mosquitto
from tests.peer.peer_folders import small_network
from tests.peer.test_membership_live import is_linked, running, until
from tidings.crypto.identity import libp2p_peer_id
from tidings.peer.folder import PeerFolder
from tidings.peer.settings_files import to_toml

PEERS = 6


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def name_only(folder: PeerFolder, members: list[bytes], broker: Mosquitto) -> None:
    """Have a peer's file name the broker and these members, and nobody else."""
    config = folder.config()
    settings = broker.settings(folder.identity())
    place = folder.path / "broker.password"
    place.write_text(settings.password)
    place.chmod(0o600)
    mapping = config.model_dump(mode="json", exclude_none=True) | {
        "transport": "mqtt",
        "peers": [f"/p2p/{libp2p_peer_id(member)}" for member in members],
        "broker": {"url": settings.url, "ca_file": settings.ca_file, "password_file": place.name},
    }
    folder.config_file.write_text(to_toml(type(config).model_validate(mapping)))


@pytest.mark.anyio
@pytest.mark.parametrize("known", [min, max], ids=["smallest-key", "largest-key"])
async def test_one_member_is_enough_to_find_the_neighbours(tmp_path: Path, known) -> None:
    """All know the same one, who knows nobody: of each two, either may have the smaller key."""
    folders = small_network(tmp_path, "rules.rounds=1000", peers=PEERS)
    keys = [folder.identity().verify_key for folder in folders]
    hub = known(keys)
    broker = Mosquitto(
        tmp_path / "broker",
        network=folders[0].admission().certificate.network_id,
        members=[folder.identity() for folder in folders],
    )
    for folder, key in zip(folders, keys, strict=True):
        name_only(folder, [] if key == hub else [hub], broker)
    with broker:
        async with running(folders) as nodes:
            began = anyio.current_time()
            await until(lambda: all(map(is_linked, nodes)))
            print(f"all found their neighbours after {anyio.current_time() - began:.1f} s")
            for node, key in zip(nodes, keys, strict=True):
                assert hub in node.state.up | {key}
                assert len(node.state.sought) == 2, "its two neighbours in the ring alone"
