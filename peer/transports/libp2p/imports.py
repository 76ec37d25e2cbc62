"""What is used of libp2p, in one place: its version is pinned, and it is optional and loud.

Raises ``ConfigError`` on import when libp2p is not installed.
"""

from __future__ import annotations

import logging
import os

from ....crypto.errors import ConfigError

try:
    from libp2p.abc import IListener
    from libp2p.crypto.ed25519 import create_new_key_pair
    from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
    from libp2p.host.basic_host import BasicHost
    from libp2p.io.exceptions import ConnectionClosedError, IOException
    from libp2p.io.trio import TrioTCPStream
    from libp2p.network.config import ConnectionConfig, RetryConfig
    from libp2p.network.connection import swarm_connection
    from libp2p.network.connection.raw_connection import RawConnection
    from libp2p.network.swarm import Swarm
    from libp2p.peer.id import ID
    from libp2p.peer.peerstore import PeerStore
    from libp2p.protocol_muxer.exceptions import (
        MultiselectClientError,
        MultiselectCommunicatorError,
    )
    from libp2p.protocol_muxer.multiselect import Multiselect
    from libp2p.protocol_muxer.multiselect_client import (
        MULTISELECT_PROTOCOL_ID,
        MultiselectClient,
    )
    from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
    from libp2p.security.exceptions import HandshakeFailure
    from libp2p.security.noise.io import MAX_PLAINTEXT_LENGTH
    from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
    from libp2p.security.noise.transport import Transport as NoiseTransport
    from libp2p.security.security_multistream import SecurityMultistream
    from libp2p.stream_muxer.exceptions import MuxedConnUnavailable
    from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
    from libp2p.stream_muxer.yamux.yamux import (
        DEFAULT_WINDOW_SIZE,
        HEADER_SIZE,
        TYPE_DATA,
        YAMUX_HEADER_FORMAT,
        Yamux,
    )
    from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
    from libp2p.transport.exceptions import OpenConnectionError
    from libp2p.transport.tcp.tcp import TCP
    from libp2p.transport.upgrader import TransportUpgrader
    from libp2p.utils import encode_delim
    from multiaddr import Multiaddr
except ImportError as error:
    raise ConfigError(
        f"the libp2p transport cannot be loaded: {error}", fix="pip install 'tidings[libp2p]'"
    ) from error

__all__ = [
    "DEFAULT_WINDOW_SIZE",
    "HEADER_SIZE",
    "ID",
    "MAX_PLAINTEXT_LENGTH",
    "MULTISELECT_PROTOCOL_ID",
    "NOISE",
    "TCP",
    "TYPE_DATA",
    "YAMUX",
    "YAMUX_HEADER_FORMAT",
    "BasicHost",
    "ConnectionClosedError",
    "ConnectionConfig",
    "HandshakeFailure",
    "IListener",
    "IOException",
    "Multiaddr",
    "Multiselect",
    "MultiselectClient",
    "MultiselectClientError",
    "MultiselectCommunicator",
    "MultiselectCommunicatorError",
    "MuxedConnUnavailable",
    "MuxerMultistream",
    "NoiseTransport",
    "OpenConnectionError",
    "PeerStore",
    "RawConnection",
    "RetryConfig",
    "SecurityMultistream",
    "Swarm",
    "TransportUpgrader",
    "TrioTCPStream",
    "Yamux",
    "create_new_key_pair",
    "create_noise_key_pair",
    "encode_delim",
]


def _hush() -> None:
    """Keep libp2p off standard error, unless the user asked for its log with LIBP2P_DEBUG."""
    # It writes to the root logger here, which would set up logging for the whole program.
    swarm_connection.logging = logging.getLogger("libp2p.network.connection.swarm_connection")
    if "LIBP2P_DEBUG" not in os.environ:
        top = logging.getLogger("libp2p")
        top.setLevel(logging.CRITICAL + 1)
        top.addHandler(logging.NullHandler())  # for the modules that set a level of their own


_hush()
