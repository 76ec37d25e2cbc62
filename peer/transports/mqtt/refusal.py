"""Why a connection to a broker failed: in words that say what to do, and whether it may pass.

The broker's own word (a wrong password, a certificate that is not trusted) is a mistake of
somebody's, and time does not mend it. A broker that does not answer, or a network that is not
there yet, is weather. Some failures look alike in both: these may last a while at the start.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from aiomqtt import MqttError
from aiomqtt.exceptions import MqttConnectError

from ....crypto.errors import TransportError
from .settings import MqttSettings

_MISTAKE, _WEATHER = 0.0, math.inf
_EITHER = 60.0  # a name of mDNS, or a port that a proxy keeps, is there before its owner


@dataclass(frozen=True, slots=True)
class Refusal:
    """What to tell, and for how many seconds a peer that starts waits for it to pass."""

    error: TransportError
    patience_s: float


# Codes of MQTT 5 (and of 3.1.1): what happened, what to do, how long it may take to pass.
_REFUSED = {
    0x84: (
        "it does not speak this version of MQTT",
        'for a broker without MQTT 5 set protocol = "3.1.1"',
        _MISTAKE,
    ),
    0x85: ("it does not accept the client id", "look at the broker's log", _MISTAKE),
    0x86: (
        "it does not know this name with this password",
        "check username and password",
        _MISTAKE,
    ),
    0x87: (
        "it does not authorize this peer",
        "check username, password and the broker's ACL",
        _MISTAKE,
    ),
    0x88: ("it is not available", "look at the broker's log", _WEATHER),
    0x89: ("it is busy", "try again later", _WEATHER),
    0x8A: ("it has banned this peer", "look at the broker's log", _MISTAKE),
    0x95: ("the message was too large for it", "raise its max_packet_size to 1 MiB", _MISTAKE),
    0x97: ("its quota is used up", "look at the broker's log", _WEATHER),
    0x9F: ("it takes no more connections at once", "try again later", _WEATHER),
    1: (
        "it does not speak this version of MQTT",
        'set protocol to "5" or to "3.1.1"',
        _MISTAKE,
    ),
}
_REFUSED |= {old: _REFUSED[new] for old, new in {2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87}.items()}
_UNKNOWN_NAME = ("this host name is not known", "check the spelling of the host")
_TEXTS = (
    (
        "certificate is not yet valid",
        "its certificate is not valid yet",
        "set this machine's clock, which is behind, or the broker's certificate is too new",
        _WEATHER,
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "its certificate is not trusted",
        "set ca_file to the ca.pem that `tidings network broker-config` wrote, and check that"
        " the certificate is for this host name",
        _MISTAKE,
    ),
    ("WRONG_VERSION_NUMBER", "it does not speak TLS on this port", "check the port", _MISTAKE),
    (
        "EOF",
        "it closed the connection",
        "check that the port is the broker's TLS port",
        _EITHER,
    ),
    ("SSL", "TLS failed", "check ca_file, and that the port is the broker's TLS port", _MISTAKE),
    ("'idna' codec", "this is no host name", "check the spelling of the host", _MISTAKE),
    ("refused", "nothing listens there", "start the broker, or check host and port", _WEATHER),
    ("not known", *_UNKNOWN_NAME, _EITHER),
    ("No address associated", *_UNKNOWN_NAME, _EITHER),
    ("resolution", "host names cannot be looked up", "check the network and its DNS", _WEATHER),
    ("nreachable", "there is no way to it", "check the network and the host", _WEATHER),
    ("No route to host", "there is no way to it", "check the network and the host", _WEATHER),
    (
        "reset",
        "it closed the connection",
        "check the port: one without TLS closes what begins with it (mqtt:// or mqtts://)",
        _EITHER,
    ),
    (
        "timed out",
        "it did not answer in time",
        "check host and port; a port that expects TLS does not answer without it (mqtts://)",
        _WEATHER,
    ),
)


def explain(error: MqttError | OSError | ValueError, settings: MqttSettings) -> Refusal:
    """``error``, which a connection attempt ended with, for a person."""
    what, fix = str(error) or type(error).__name__, "look at the broker's log"
    # a value that cannot be sent is a mistake, and so is what a broker refuses for its own reasons
    patience_s = _MISTAKE if isinstance(error, MqttConnectError | ValueError) else _WEATHER
    if isinstance(error, MqttConnectError):
        code = getattr(error.rc, "value", error.rc)
        if isinstance(code, int):
            what, fix, patience_s = _REFUSED.get(code, (what, fix, patience_s))
    else:
        for text, meaning, mend, lasts_s in _TEXTS:
            if text in what:
                what, fix, patience_s = f"{meaning} ({what})", mend, lasts_s
                break
    told = TransportError(f"the broker cannot be used: {what}", where=settings.url, fix=fix)
    return Refusal(told, patience_s)
