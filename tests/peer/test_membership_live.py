"""Members come and go while a network runs, over real libp2p links."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import anyio
import pytest

from tests.peer.peer_folders import small_network
from tidings.crypto.identity import libp2p_peer_id
from tidings.crypto.network import NetworkAdmin
from tidings.gossip.events import Event, MembersChanged
from tidings.peer import admission_watch
from tidings.peer.admission import Admission
from tidings.peer.admission_watch import watch_admission
from tidings.peer.clock import monotonic_time
from tidings.peer.folder import PeerFolder
from tidings.peer.launch import opened
from tidings.peer.node import Node
from tidings.peer.settings_files import to_toml

HEARTBEAT_S = 1.0


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(60):
        while not condition():
            await anyio.sleep(0.02)


def forget_addresses(folder: PeerFolder, bootstrap: str | None) -> None:
    """The peer knows nobody's address but one bootstrap peer's."""
    config = folder.config()
    discovery = config.discovery.model_copy(update={"bootstrap": (bootstrap,) if bootstrap else ()})
    folder.config_file.write_text(
        to_toml(config.model_copy(update={"peers": (), "discovery": discovery}))
    )


def address_of(folder: PeerFolder) -> str:
    return f"{folder.config().listen}/p2p/{libp2p_peer_id(folder.identity().verify_key)}"


@asynccontextmanager
async def running(
    folders: list[PeerFolder], watch: Callable[[int, Event], None] = lambda index, event: None
) -> AsyncIterator[list[Node]]:
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(opened(folder, watch=lambda event, i=i: watch(i, event)))
            for i, folder in enumerate(folders)
        ]
        async with anyio.create_task_group() as tasks:
            for node, folder in zip(nodes, folders, strict=True):
                await tasks.start(node.run)
                tasks.start_soon(watch_admission, folder, node)
            yield nodes
            tasks.cancel_scope.cancel()


def is_linked(node: Node) -> bool:
    """Whether a node is linked with all its neighbours in the graph."""
    state = node.state
    indices = set(state.topology.all_neighbours(state.index))
    return indices <= {state.index_of(key) for key in state.up & state.greeted}


@pytest.mark.anyio
async def test_one_address_is_enough_to_find_the_neighbours(tmp_path: Path) -> None:
    folders = small_network(tmp_path, "rules.rounds=1000", peers=5)
    first = address_of(folders[0])
    for folder in folders:
        forget_addresses(folder, None if folder is folders[0] else first)
    async with running(folders) as nodes:
        await until(lambda: all(map(is_linked, nodes)))
        for node in nodes[1:]:
            sought = set(node.state.sought)
            assert len(sought) == 2, "its two neighbours in the ring, not the whole roster"


@pytest.mark.anyio
async def test_a_revoked_member_is_shut_out_within_three_heartbeats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission_watch, "LOOK_EVERY_S", 0.1)
    folders = small_network(tmp_path, "rules.rounds=100000", peers=5)
    shut_out: dict[int, float] = {}

    def watch(index: int, event: Event) -> None:
        if isinstance(event, MembersChanged):
            shut_out[index] = monotonic_time()

    async with running(folders, watch) as nodes:
        await until(lambda: all(map(is_linked, nodes)))
        outcast = nodes[2].state.me.key
        admin = NetworkAdmin.open(tmp_path / "network")
        bulletin = admin.revoke(outcast)
        told = folders[0].admission()
        began = monotonic_time()
        folders[0].join(
            Admission(network=told.network, certificate=told.certificate, bulletin=bulletin)
        )
        others = [node for node in nodes if node.state.me.key != outcast]
        await until(
            lambda: all(
                node.state.roster.is_revoked(outcast) and outcast not in node.state.up
                for node in others
            )
        )
        took = monotonic_time() - began
        print(f"shut out by all after {took:.2f} s")
        assert took < 3 * HEARTBEAT_S, f"shut out after {took:.2f} s"
        assert {node.state.newest_key() for node in others} == {others[0].state.newest_key()}
        newest = others[0].state.newest_key()
        assert newest is not None
        assert newest.epoch == bulletin.key_epoch

        # it knows no key of what is published from now on, and nobody takes its calls
        assert bulletin.key_epoch not in nodes[2].state.group_keys
        rounds = [node.state.round for node in others]
        await until(
            lambda: all(node.state.round > then for node, then in zip(others, rounds, strict=True))
        )
        assert all(outcast not in node.state.up for node in others)
