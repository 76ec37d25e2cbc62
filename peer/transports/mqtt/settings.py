"""How a broker is reached: address, TLS, name and password."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal
from urllib.parse import urlsplit

from ....crypto.errors import ConfigError

_DEFAULT_PORTS: Mapping[str, int] = MappingProxyType({"mqtt": 1883, "mqtts": 8883})


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttSettings:
    """A broker, and who this peer is there.

    Attributes:
        host: its name or IP address.
        port: its TCP port.
        tls: whether the connection is by TLS; always on but for a broker on the same machine.
        ca_file: the certificate of the authority that signed the broker's; None trusts those
            that the operating system trusts.
        username: None means the peer's verify key in hexadecimal, as the generated ACL expects.
        password: None connects without name and password.
        protocol: "5", or "3.1.1" for a broker that knows no better (amqtt): then an over-long
            message is dropped without a word, and the broker keeps messages without an expiry.
        keepalive_s: after 1.5 times this without a sign the broker publishes the last will.
        session_expiry_s: for how long the broker remembers the subscriptions, and what arrives
            on them, while this peer is away; 0 forgets at once.
    """

    host: str
    port: int = 1883
    tls: bool = False
    ca_file: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    protocol: Literal["5", "3.1.1"] = "5"
    keepalive_s: int = 20
    session_expiry_s: int = 3600

    def __post_init__(self) -> None:
        if not self.host or not 1 <= self.port <= 65535:
            raise ConfigError(
                f"'{self.host}:{self.port}' is no address of a broker",
                fix="write a host name and a port from 1 to 65535",
            )
        if not 1 <= self.keepalive_s <= 65535:
            raise ConfigError(f"keepalive_s ({self.keepalive_s}) must be 1 to 65535")
        if not 0 <= self.session_expiry_s < 2**32:
            raise ConfigError(f"session_expiry_s ({self.session_expiry_s}) must be 0 to 2^32 - 1")
        if self.ca_file is not None and not self.tls:
            raise ConfigError(
                "ca_file is given, but the connection is without TLS",
                fix="write mqtts:// in front of the broker, or leave ca_file out",
            )

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        ca_file: str | None = None,
        username: str | None = None,
        password: str | None = None,
        protocol: Literal["5", "3.1.1"] = "5",
        keepalive_s: int = 20,
        session_expiry_s: int = 3600,
    ) -> MqttSettings:
        """The settings of ``mqtt://host[:port]`` or, with TLS, ``mqtts://host[:port]``.

        Raises ConfigError for anything else; a password in it is refused, because addresses end
        up in logs.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if not host or parts.scheme not in _DEFAULT_PORTS or parts.path.strip("/") or parts.query:
            raise ConfigError(
                f"'{url.rpartition('@')[2]}' is no address of a broker",
                fix="write mqtts://host:8883, or mqtt://host:1883 without TLS",
            )
        if parts.username is not None or parts.password is not None:
            raise ConfigError(
                "the address of a broker holds no name and no password",
                where=f"{parts.scheme}://{host}",
                fix="give them by settings of their own",
            )
        return cls(
            host=host,
            port=port or _DEFAULT_PORTS[parts.scheme],
            tls=parts.scheme == "mqtts",
            ca_file=ca_file,
            username=username,
            password=password,
            protocol=protocol,
            keepalive_s=keepalive_s,
            session_expiry_s=session_expiry_s,
        )

    @property
    def url(self) -> str:
        """The address for people."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"

    def tls_context(self) -> ssl.SSLContext | None:
        """What TLS checks: the broker's certificate and its name; None without TLS.

        Raises ConfigError when ``ca_file`` cannot be read.
        """
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"the certificate cannot be read: {error.strerror or error}",
                where=self.ca_file or "",
                fix="name the ca.pem that `tidings network broker-config` wrote",
            ) from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context
