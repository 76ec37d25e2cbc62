"""The transport that a peer's configuration names, made from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...crypto.errors import ConfigError
from ...gossip.state import State
from ..config import PeerConfig
from .base import Accept, Transport


def transport_of(
    config: PeerConfig, state: State, folder: Path, warn: Callable[[str], None]
) -> Transport:
    """The transport for a peer in ``folder``; ``warn`` gets what a person should know.

    Raises ConfigError when a package is missing.
    """
    match config.transport:
        case "libp2p":
            return _libp2p(config, state, state.may_link)
        case "mqtt":
            return _mqtt(config, state, folder, state.may_link, warn)
        case "gateway":
            from .gateway import GatewayTransport
            from .trio_thread import TrioThread  # trio is weight that a board has no use for

            return GatewayTransport(
                lambda accept: TrioThread(_libp2p(config, state, accept)),
                lambda accept: _mqtt(config, state, folder, accept, warn),
                state.may_link,
            )
        case other:
            raise ConfigError(
                f"a peer of its own cannot use transport '{other}'",
                where="transport",
                fix='use transport = "libp2p", "mqtt" or "gateway"',
            )


def _libp2p(config: PeerConfig, state: State, accept: Accept) -> Transport:
    try:
        from .libp2p.transport import Libp2pTransport
    except ImportError as error:
        raise ConfigError(
            f"transport '{config.transport}' needs a package that is not installed",
            where="transport",
            fix="pip install 'tidings[libp2p]'",
        ) from error
    return Libp2pTransport(
        state.me.identity.seed,
        config.listen,
        accept,
        config.limits.limits(state.me.rules.max_frame_bytes),
        discovery=config.discovery.discovery(),
    )


def _mqtt(
    config: PeerConfig, state: State, folder: Path, accept: Accept, warn: Callable[[str], None]
) -> Transport:
    assert config.broker is not None  # checked when the file was read
    try:
        from .mqtt.limits import MqttLimits
        from .mqtt.transport import MqttTransport
    except ImportError as error:
        raise ConfigError(
            f"transport '{config.transport}' needs a package that is not installed",
            where="transport",
            fix="pip install 'tidings[mqtt]'",
        ) from error
    longest = state.me.rules.max_frame_bytes
    limits = MqttLimits(
        max_frame_bytes=longest,
        max_buffered_bytes=longest + longest // 2,
        max_queued_bytes=longest + longest // 2,
    )
    return MqttTransport(
        state.me.identity,
        state.me.certificate.network_id,
        config.broker.settings(folder),
        accept,
        limits,
        warn=warn,
    )
