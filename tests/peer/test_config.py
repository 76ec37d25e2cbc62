"""peer.toml and the network's file: what is refused, and in which words."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.crypto.errors import ConfigError
from tidings.crypto.identity import Identity, libp2p_peer_id
from tidings.peer.config import NetworkConfig, PeerConfig
from tidings.peer.settings_files import check_settings, parse_toml, to_toml
from tidings.peer.transports.discovery import Discovery
from tidings.peer.transports.limits import Limits

LEARNER = {"kind": "softmax", "features": 4, "classes": 2}
ADA, BOB = (Identity.from_seed(bytes([n]) * 32).verify_key for n in (1, 2))


def peer(**settings: Any) -> PeerConfig:
    given = {"name": "ada", "learner": LEARNER, **settings}
    return check_settings(PeerConfig, given, where="peer.toml")


def at(key: bytes, port: int = 4001, host: str = "ip4/192.0.2.7") -> str:
    return f"/{host}/tcp/{port}/p2p/{libp2p_peer_id(key)}"


@given(
    keys=st.lists(st.binary(min_size=32, max_size=32), max_size=4),
    port=st.integers(0, 65535),
    host=st.ip_addresses(),
)
def test_every_address_of_a_peer_is_kept_under_its_key(
    keys: list[bytes], port: int, host: Any
) -> None:
    written = [at(key, port, f"ip{host.version}/{host}") for key in keys]
    known = peer(peers=written).addresses()
    assert set(known) == set(keys)
    assert sorted(address for each in known.values() for address in each) == sorted(written)


@given(st.text(max_size=40))
def test_any_text_for_an_address_is_taken_or_refused_in_words(text: str) -> None:
    try:
        assert peer(peers=[text]).addresses()
    except ConfigError as error:
        assert "peers.0" in str(error)  # noqa: PT017


def test_several_addresses_of_one_peer_keep_their_order() -> None:
    first, second, other = at(ADA, 1), at(ADA, 2, "dns/ada.example"), at(BOB, 3, "ip6/2001:db8::1")
    assert peer(peers=[first, other, second]).addresses() == {ADA: [first, second], BOB: [other]}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"listen": "localhost:4001"}, "'localhost:4001' is no address of the form /ip4/"),
        ({"listen": "/ip4/127.0.0.1/tcp/70000"}, "is no address of the form"),
        ({"listen": "/ip4/127.0.0.300/tcp/1"}, "'/ip4/127.0.0.300/tcp/1' is no address: Octet 300"),
        ({"listen": at(ADA)}, "names a peer"),
        ({"peers": ["/ip4/127.0.0.1/tcp/1"]}, "does not say whose address it is"),
        ({"peers": ["/ip4/127.0.0.1/tcp/1/p2p/12D3KooNonsense"]}, "not the PeerId"),
        ({"peers": ["/dns/a b/tcp/1/p2p/x"]}, "is no address of the form"),
        ({"name": "../ada"}, "'../ada' is no name"),
        ({"name": ""}, "'' is no name"),
        ({"transport": "libp2"}, "did you mean 'libp2p'?"),
        ({"privacy": {"mode": "recrod"}}, "did you mean 'record'?"),
        ({"training": {"local_step": 5}}, "training.local_step: unknown key; did you mean"),
        ({"learner": {"kind": "softmax"}}, "needs 'features' and 'classes'"),
        ({"discovery": {"mdsn": True}}, "did you mean"),
        ({"discovery": {"bootstrap": ["/ip4/192.0.2.7/tcp/1"]}}, "does not say whose address"),
        ({"discovery": {"bootstrap": [f"/p2p/{libp2p_peer_id(ADA)}"]}}, "but not where"),
        ({"discovery": {"mdns": True}, "listen": "/ip4/0.0.0.0/tcp/1"}, "others cannot dial"),
        ({"limits": {"max_handshakes": 0}}, "limits.max_handshakes"),
        ({"limits": {"silence_s": 1.5}}, "at least two heartbeats"),
        ({"limits": {"backoff_max_s": 0.1}}, "at least backoff_min_s"),
        ({"seed": -1}, "seed: expected at least 0, found -1"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        peer(**settings)
    assert words in caught.value.what


def test_the_defaults_are_private_and_local() -> None:
    config = peer()
    assert config.privacy.mode == "record"
    assert config.listen.startswith("/ip4/127.0.0.1/")
    assert config.addresses() == {}


def test_what_limits_and_discovery_say_reaches_the_transport() -> None:
    config = peer(
        limits={"max_connections": 8, "silence_s": 9.0},
        discovery={"mdns": True, "bootstrap": [at(ADA)]},
    )
    limits = config.limits.limits(1000)
    assert (limits.max_connections, limits.silence_s, limits.max_frame_bytes) == (8, 9.0, 1000)
    assert limits.max_buffered_bytes == limits.max_queued_bytes == 1500
    assert config.discovery.discovery() == Discovery(mdns=True, bootstrap=(at(ADA),))
    assert peer().discovery.discovery() == Discovery()
    assert peer().limits.limits(Limits().max_frame_bytes) == Limits()


def test_a_configuration_reads_back_equal() -> None:
    config = peer(
        peers=[at(ADA)],
        seed=3,
        discovery={"bootstrap": [at(BOB)]},
        privacy={"mode": "peer", "epsilon": 2.0},
    )
    assert check_settings(PeerConfig, parse_toml(to_toml(config), where="t"), where="t") == config


def test_a_network_file_needs_a_model_and_takes_rules() -> None:
    text = """
    name = "digits"
    seed = 7
    [rules]
    rounds = 12
    topology = { kind = "ring", nodes = 3 }
    [learner]
    kind = "softmax"
    features = 64
    classes = 10
    """
    config = check_settings(NetworkConfig, tomllib.loads(text), where="n.toml")
    assert (config.seed, config.rules.rounds, config.rules.topology.nodes) == (7, 12, 3)
    with pytest.raises(ConfigError, match="learner: this key is needed and missing"):
        check_settings(NetworkConfig, {"name": "digits"}, where="n.toml")
