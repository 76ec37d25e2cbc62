"""Where a peer's MQTT broker is, as ``[broker]`` in its settings says it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..crypto.errors import ConfigError
from ..crypto.identity import read_secret

if TYPE_CHECKING:
    from .transports.mqtt.settings import MqttSettings


class BrokerConfig(BaseModel):
    """The broker of a peer whose transport is MQTT.

    ``url`` is ``mqtts://host[:8883]`` or, without TLS, ``mqtt://host[:1883]``. ``ca_file`` holds
    the certificate of the authority that signed the broker's, ``password_file`` one line, mode
    0600; relative paths start from the peer's folder. ``username`` is left out where the broker's
    files were made by ``tidings network broker-config``. ``session_expiry_s`` is for how long the
    broker keeps what arrives while the peer is away.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    ca_file: str | None = None
    username: str | None = None
    password_file: str | None = None
    protocol: Literal["5", "3.1.1"] = "5"
    keepalive_s: int = Field(default=20, ge=1, le=65535)
    session_expiry_s: int = Field(default=86_400, ge=0, lt=2**32)

    def settings(self, folder: Path) -> MqttSettings:
        """What the transport needs. Raises ConfigError or IdentityError."""
        from .transports.mqtt.settings import MqttSettings

        password = None
        if self.password_file is not None:
            try:
                password = read_secret(folder / self.password_file).decode("utf-8").strip()
            except UnicodeDecodeError:
                raise ConfigError(
                    "the password is not UTF-8 text", where=str(folder / self.password_file)
                ) from None
        return MqttSettings.from_url(
            self.url,
            ca_file=str(folder / self.ca_file) if self.ca_file else None,
            username=self.username,
            password=password,
            protocol=self.protocol,
            keepalive_s=self.keepalive_s,
            session_expiry_s=self.session_expiry_s,
        )
