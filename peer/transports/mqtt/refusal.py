"""Why a connection to a broker failed, in words that say what to do."""

from __future__ import annotations

from aiomqtt import MqttError
from aiomqtt.exceptions import MqttConnectError

from ....crypto.errors import TransportError
from .settings import MqttSettings

# Codes of MQTT 5 (and of 3.1.1): what happened, what to do.
_REFUSED = {
    0x84: (
        "it does not speak this version of MQTT",
        'for a broker without MQTT 5 set protocol = "3.1.1"',
    ),
    0x85: ("it does not accept the client id", "look at the broker's log"),
    0x86: ("it does not know this name with this password", "check username and password"),
    0x87: ("it does not authorize this peer", "check username, password and the broker's ACL"),
    0x88: ("it is not available", "look at the broker's log"),
    0x89: ("it is busy", "try again later"),
    0x8A: ("it has banned this peer", "look at the broker's log"),
    0x95: ("the message was too large for it", "raise its max_packet_size to 1 MiB"),
    1: ("it does not speak this version of MQTT", 'set protocol to "5" or to "3.1.1"'),
    2: ("it does not accept the client id", "look at the broker's log"),
    3: ("it is not available", "look at the broker's log"),
    4: ("it does not know this name with this password", "check username and password"),
    5: ("it does not authorize this peer", "check username, password and the broker's ACL"),
}
_TEXTS = (
    (
        "CERTIFICATE_VERIFY_FAILED",
        "its certificate is not trusted",
        "set ca_file to the ca.pem that `tidings network broker-config` wrote, and check that"
        " the certificate is for this host name",
    ),
    ("WRONG_VERSION_NUMBER", "it does not speak TLS on this port", "check the port"),
    ("SSL", "TLS failed", "check ca_file, and that the port is the broker's TLS port"),
    ("refused", "nothing listens there", "start the broker, or check host and port"),
    ("not known", "this host name is not known", "check the spelling of the host"),
    ("resolution", "this host name is not known", "check the spelling of the host"),
    ("nreachable", "there is no way to it", "check the network and the host"),
    (
        "reset",
        "it closed the connection",
        "check the port: one without TLS closes what begins with it (mqtt:// or mqtts://)",
    ),
    (
        "timed out",
        "it did not answer in time",
        "check host and port; a port that expects TLS does not answer without it (mqtts://)",
    ),
)


def explain(error: MqttError | OSError | ValueError, settings: MqttSettings) -> TransportError:
    """``error``, which a connection attempt ended with, for a person."""
    what, fix = str(error) or type(error).__name__, "look at the broker's log"
    if isinstance(error, MqttConnectError):
        code = getattr(error.rc, "value", error.rc)
        what, fix = _REFUSED.get(code, (what, fix)) if isinstance(code, int) else (what, fix)
    else:
        for text, meaning, mend in _TEXTS:
            if text in what:
                what, fix = f"{meaning} ({what})", mend
                break
    return TransportError(f"the broker cannot be used: {what}", where=settings.url, fix=fix)
