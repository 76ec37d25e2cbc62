"""Whole peers over a real mosquitto: one publish for all followers, and trouble that is noted."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import anyio
import pytest

from tests.peer.mqtt_kit import QUICK, Mosquitto, caught_up, spying
from tests.peer.peer_folders import small_network
from tidings.crypto.envelope import split_frame
from tidings.crypto.errors import UnknownKey
from tidings.crypto.identity import short_id
from tidings.crypto.network import NetworkAdmin
from tidings.gossip import wire
from tidings.gossip.events import (
    Event,
    LinkDown,
    LinkUp,
    PeerFinished,
    Received,
    Refused,
    Sent,
    TransportWarning,
)
from tidings.gossip.state import State
from tidings.peer.admission import Admission
from tidings.peer.folder import PeerFolder
from tidings.peer.launch import opened
from tidings.peer.node import Node
from tidings.peer.transports.mqtt.topics import Topics
from tidings.peer.transports.mqtt.transport import MqttTransport
from tidings.scenarios.engines.town import prepare
from tidings.scenarios.scenario import load_scenario

ROUNDS = 4
FOLLOWERS = 4
COMPLETE = 'rules.topology={kind="complete"}'
UNCOMPRESSED = "rules.compression=none"  # small as the model is, its news are worth a publish


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def at_work(
    folders: list[PeerFolder],
    watch: Callable[[Event], None],
    transport: Callable[[State], MqttTransport] | None = None,
) -> AsyncIterator[list[Node]]:
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(opened(each, transport=transport, watch=watch)) for each in folders
        ]
        async with anyio.create_task_group() as tasks:
            for node in nodes:
                await tasks.start(node.run)
            with anyio.fail_after(60):
                yield nodes
            tasks.cancel_scope.cancel()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await anyio.sleep(0.01)


@pytest.mark.anyio
async def test_one_publish_brings_a_delta_to_all_followers(tmp_path: Path) -> None:
    sets = (COMPLETE, UNCOMPRESSED, "rules.deadline_s=60.0")  # nobody goes on without the others
    folders = small_network(tmp_path, *sets, peers=FOLLOWERS + 1, rounds=ROUNDS)
    identities = [each.identity() for each in folders]
    network = folders[0].admission().certificate.network_id
    (tmp_path / "broker").mkdir()
    broker = Mosquitto(tmp_path / "broker", network=network, members=identities)
    events: list[Event] = []
    heard: list[tuple[str, bytes]] = []

    def over_mqtt(state: State) -> MqttTransport:
        transport = MqttTransport(
            state.me.identity, network, broker.settings(state.me.identity), state.may_link, QUICK
        )
        transport.seek({each.verify_key: () for each in identities})
        return transport

    with broker:
        async with (
            spying(broker.allow_spy(), heard) as spy,
            at_work(folders, events.append, over_mqtt),
        ):
            await until(lambda: sum(isinstance(e, PeerFinished) for e in events) == len(folders))
            await caught_up(spy, heard)
    news = [e for e in events if isinstance(e, Sent) and e.message == "news"]
    assert len(news) >= ROUNDS * FOLLOWERS * len(folders)
    feed = Counter(topic for topic, _ in heard if "/feed/" in topic)
    # a link that lagged at the start gets its own copy, so the first round may do without
    assert sorted(feed) == sorted(t for t in feed if feed[t] in (ROUNDS - 1, ROUNDS))
    assert len(feed) == len(folders)
    assert sum(feed.values()) >= ROUNDS * len(folders) - 2
    # each delta crossed the line to the broker once, not once for each follower
    feed_bytes = sum(len(payload) for topic, payload in heard if "/feed/" in topic)
    largest = max(e.size_bytes for e in news)
    assert feed_bytes < 1.2 * ROUNDS * len(folders) * largest
    assert not [e for e in events if isinstance(e, LinkDown)]


@pytest.mark.anyio
async def test_a_late_joiner_pulls_what_a_sleeping_author_left_word_of(tmp_path: Path) -> None:
    """It asks the author's follower before that has said what it holds, and gets it all."""
    folders = small_network(tmp_path, COMPLETE, peers=3, rounds=ROUNDS)
    sleeper, awake, joiner = folders
    identities = [each.identity() for each in folders]
    network = sleeper.admission().certificate.network_id
    (tmp_path / "broker").mkdir()
    broker = Mosquitto(tmp_path / "broker", network=network, members=identities)
    events: list[Event] = []
    heard: list[tuple[str, bytes]] = []

    def over_mqtt(state: State) -> MqttTransport:
        transport = MqttTransport(
            state.me.identity, network, broker.settings(state.me.identity), state.may_link, QUICK
        )
        transport.seek({each.verify_key: () for each in identities})
        return transport

    author, follower = (short_id(each.verify_key) for each in identities[:2])
    with broker:
        async with (
            spying(broker.allow_spy(), heard),
            at_work([awake], lambda event: None, over_mqtt),
        ):
            published: list[Event] = []
            async with at_work([sleeper], published.append, over_mqtt):
                await until(lambda: any(isinstance(e, PeerFinished) for e in published))
                key = identities[0].verify_key
                head = Topics(network, key).head(key)
                await until(lambda: [topic for topic, _ in heard].count(head) >= ROUNDS)
            async with at_work([joiner], events.append, over_mqtt):
                await until(
                    lambda: any(
                        isinstance(e, Received) and e.message == "news" and e.author == author
                        for e in events
                    )
                )
    told = [e for e in events if isinstance(e, Received) and e.message == "notice"]
    assert (author, ROUNDS) in [(e.sender, e.sequence) for e in told]
    kinds = [getattr(each, "message", "") for each in events]
    greetings = [i for i, e in enumerate(events) if isinstance(e, Received) and kinds[i] == "hello"]
    assert kinds.index("pull") < greetings[0]
    assert events[kinds.index("pull")].to == follower
    got = next(e for e in events if isinstance(e, Received) and e.author == author and e.road)
    assert (got.sender, got.sequence) == (follower, ROUNDS)
    assert not [e for e in events if isinstance(e, Refused)]
    # the broker holds a sealed payload: no name, no key and no entry can be read in it
    left = [payload for topic, payload in heard if "/head/" in topic]
    assert len(left) >= ROUNDS
    admission = sleeper.admission()
    secrets = (admission.certificate.name.encode(), identities[0].verify_key, b"entry")
    assert not any(secret in payload for payload in left for secret in secrets)


@pytest.mark.anyio
async def test_notices_are_sealed_anew_when_a_member_is_revoked(tmp_path: Path) -> None:
    """Nobody publishes any more, and yet the outcast reads none, and who is new reads all."""
    folders = small_network(tmp_path, COMPLETE, "rules.deadline_s=1.0", peers=4, rounds=2)
    *members, joiner = folders
    identities = [each.identity() for each in folders]
    *authors, outcast = (each.verify_key for each in identities[:3])
    network = joiner.admission().certificate.network_id
    (tmp_path / "broker").mkdir()
    broker = Mosquitto(tmp_path / "broker", network=network, members=identities)
    heard: list[tuple[str, bytes]] = []

    def over_mqtt(state: State) -> MqttTransport:
        settings = broker.settings(state.me.identity)
        return MqttTransport(state.me.identity, network, settings, state.may_link, QUICK)

    def left(by: bytes) -> list[bytes]:
        return [payload for topic, payload in heard if topic == Topics(network, by).head(by)]

    def epoch(by: bytes) -> int:
        return split_frame(left(by)[-1], 4096).epoch

    with broker:
        async with spying(broker.allow_spy(), heard):
            events: list[Event] = []
            async with at_work(members, events.append, over_mqtt) as nodes:
                await until(lambda: sum(isinstance(e, PeerFinished) for e in events) == 3)
                await until(lambda: all(left(author) for author in authors))
                before = {author: left(author)[-1] for author in authors}
                bulletin = NetworkAdmin.open(tmp_path / "network").revoke(outcast)
                await nodes[0].tell(bulletin)
                await until(lambda: all(epoch(each) == bulletin.key_epoch for each in authors))
                nodes[2].state.take_bulletin(bulletin)
                for author in authors:
                    wire.decode_notice(before[author], nodes[2].state.door, author)
                    with pytest.raises(UnknownKey):
                        wire.decode_notice(left(author)[-1], nodes[2].state.door, author)
        told = joiner.admission()
        joiner.join(
            Admission(network=told.network, certificate=told.certificate, bulletin=bulletin)
        )
        events = []
        async with at_work([joiner], events.append, over_mqtt):
            await until(lambda: len([e for e in events if isinstance(e, Received)]) == 2)
    found = {(e.message, e.author) for e in events if isinstance(e, Received)}
    assert found == {("notice", short_id(author)) for author in authors}
    # what the outcast left is there as well, and nobody believes it
    assert {e.sender for e in events if isinstance(e, Refused)} <= {short_id(outcast)}


@pytest.mark.anyio
async def test_a_broker_that_goes_is_noted_and_comes_back(tmp_path: Path) -> None:
    scenario = load_scenario(
        "quickstart",
        (
            "peers=2",
            "rules.rounds=2",
            'rules.topology={kind="ring"}',
            'learner={kind="softmax", features=64, classes=10}',
            "privacy.mode=none",
            "transport=mqtt",
            "broker=mosquitto",
        ),
    )
    town = prepare(scenario, tmp_path)
    assert town.broker is not None
    events: list[Event] = []

    def count(kind: type[Event]) -> int:
        return sum(isinstance(event, kind) for event in events)

    with ExitStack() as first:
        first.enter_context(town.broker.running())
        async with at_work(town.folders, events.append):
            await until(lambda: count(LinkUp) == 2)
            first.close()
            await until(lambda: count(LinkDown) == 2 and count(TransportWarning) >= 2)
            with town.broker.running():
                await until(lambda: count(LinkUp) == 4)
    warnings = [event.what for event in events if isinstance(event, TransportWarning)]
    assert all("broker" in what for what in warnings)
    for folder in town.folders:
        assert '"event":"transport-warning"' in folder.events_file.read_text()
