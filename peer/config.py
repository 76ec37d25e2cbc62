"""What the owner of a peer (``peer.toml``) and the creator of a network may choose."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from ..crypto.errors import Malformed, TransportError
from ..crypto.identity import peer_id_to_verify_key
from ..crypto.privacy_settings import PrivacySettings
from ..gossip.rules import Rules
from .broker import BrokerConfig
from .learners.base import TrainingPlan
from .learners.spec import LearnerConfig
from .link_settings import DiscoveryConfig, LimitsConfig
from .sleep import SleepConfig
from .transports.addresses import ANYWHERE, parse
from .upkeep import LogConfig, MetricsConfig


def check_name(name: str) -> str:
    """``name``, which can be part of a file's name. Raises ValueError when it cannot be."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise ValueError(
            f"'{name}' is no name: write 1 to 64 letters, digits, '.', '_' or '-', "
            "beginning with a letter or a digit"
        )
    return name


def _check_listen(address: str) -> str:
    if _dial_target(address) is not None:
        raise ValueError(f"'{address}' names a peer; write the part before /p2p/")
    return address


def _check_announced(address: str) -> str:
    if _is_anywhere(_check_listen(address)):
        raise ValueError(f"others cannot dial '{address}'; write an address that they can")
    return address


def _is_anywhere(address: str) -> bool:
    return parse(address).host in ANYWHERE


def _check_peer(address: str) -> str:
    if _dial_target(address) is None:
        raise ValueError(
            f"'{address}' does not say whose address it is; "
            "add /p2p/ and the peer id that `tidings peer status` shows there"
        )
    return address


def _dial_target(text: str) -> bytes | None:
    """The verify key at the end of a multiaddr, None when it ends with the port.

    Raises ValueError unless it is ``/ip4|ip6|dns|dns4|dns6/HOST/tcp/PORT[/p2p/PEER-ID]``, or
    ``/p2p/PEER-ID`` alone: a peer that a broker or discovery leads to.
    """
    if text.startswith(_NO_ADDRESS):
        return _key_of(text.removeprefix(_NO_ADDRESS), text)
    try:
        address = parse(text)
        if address.kind == "ip4":
            ipaddress.IPv4Address(address.host)
        elif address.kind == "ip6":
            ipaddress.IPv6Address(address.host)
    except TransportError:
        raise ValueError(f"'{text}' is no address of the form /ip4/192.0.2.7/tcp/4001") from None
    except ValueError as error:
        raise ValueError(f"'{text}' is no address: {error}") from None
    return None if address.peer_id is None else _key_of(address.peer_id, text)


def _key_of(peer_id: str, text: str) -> bytes:
    try:
        return peer_id_to_verify_key(peer_id)
    except Malformed as error:
        raise ValueError(f"'{text}' ends badly: {error.what}") from None


_NO_ADDRESS = "/p2p/"
Name = Annotated[str, AfterValidator(check_name)]
"""Of a peer or a network; it becomes part of file names."""


class PeerConfig(BaseModel):
    """``peer.toml``: one peer's own choices. What all members do alike is in the network file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    transport: Literal["libp2p", "mqtt", "gateway", "memory"] = "libp2p"
    listen: Annotated[str, AfterValidator(_check_listen)] = "/ip4/127.0.0.1/tcp/0"
    announce: tuple[Annotated[str, AfterValidator(_check_announced)], ...] = ()
    peers: tuple[Annotated[str, AfterValidator(_check_peer)], ...] = ()
    broker: BrokerConfig | None = None
    discovery: DiscoveryConfig = DiscoveryConfig()
    limits: LimitsConfig = LimitsConfig()
    learner: LearnerConfig
    training: TrainingPlan = TrainingPlan()
    privacy: PrivacySettings = PrivacySettings()
    sleep: SleepConfig = SleepConfig()
    log: LogConfig = LogConfig()
    metrics: MetricsConfig = MetricsConfig()
    seed: int | None = Field(default=None, ge=0)

    def addresses(self) -> dict[bytes, list[str]]:
        """Where the known peers can be reached: verify key -> multiaddrs, in the file's order."""
        known: dict[bytes, list[str]] = {}
        for address in self.peers:
            key = _dial_target(address)
            assert key is not None  # checked when the file was read
            places = known.setdefault(key, [])
            if not address.startswith(_NO_ADDRESS):
                places.append(address)
        return known

    @model_validator(mode="after")
    def _discovery_is_possible(self) -> PeerConfig:
        for address in self.discovery.bootstrap:
            if _check_peer(address).startswith(_NO_ADDRESS):
                raise ValueError(f"'{address}' in discovery.bootstrap says whose, but not where")
        if self.discovery.mdns and _is_anywhere(self.listen):
            raise ValueError(
                f"others cannot dial '{self.listen}', which discovery.mdns would announce; "
                "listen on one address of this machine"
            )
        return self

    @model_validator(mode="after")
    def _broker_is_named(self) -> PeerConfig:
        if self.transport in ("mqtt", "gateway") and self.broker is None:
            raise ValueError(
                f"transport '{self.transport}' needs a table [broker] with a url, such as mqtts://broker.lan"
            )
        return self


class NetworkConfig(BaseModel):
    """What ``tidings network create`` is told: a name, the rules, and the model they all train.

    ``seed`` picks the initial model, which every member starts from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    rules: Rules = Rules()
    learner: LearnerConfig
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _peers_can(self) -> NetworkConfig:
        if self.rules.averaging != "public-copies":
            raise ValueError(
                f"averaging '{self.rules.averaging}' is simulated alone (`tidings run --engine "
                "array`); peers of a network average 'public-copies'"
            )
        return self
