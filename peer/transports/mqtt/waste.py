"""What comes by the broker and is of no use: how much of it a topic may bring before it is muted.

All that a peer hears comes over one connection, in the order in which the broker has it. A link
that is cut stays cut elsewhere at its socket; here whoever lost it can go on publishing, and what
others say waits behind that. So the broker is asked to send nothing of such a topic for a while.
"""

from __future__ import annotations

from .limits import MqttLimits

_MESSAGE_BYTES = 512  # what looking at a message costs beside its bytes
_MOST = 1000  # topics that are remembered


class Waste:
    """A token bucket for each topic, and the topics that are muted."""

    def __init__(self, limits: MqttLimits) -> None:
        self._limits = limits
        self._spent: dict[str, tuple[float, float]] = {}  # topic -> bytes, as of when
        self._muted: dict[str, float] = {}  # topic -> until when

    def add(self, topic: str, size_bytes: int, now: float) -> bool:
        """Note what was of no use; whether the topic is to be muted from now on."""
        if topic in self._muted:  # what was on its way
            return False
        spent, at = self._spent.pop(topic, (0.0, now))
        spent = max(0.0, spent - (now - at) * self._limits.waste_bytes_per_s)
        spent += size_bytes + _MESSAGE_BYTES
        if spent > self._limits.max_waste_bytes:
            self._muted[topic] = now + self._limits.mute_s
            return True
        self._spent[topic] = spent, now
        if len(self._spent) > _MOST:
            del self._spent[next(iter(self._spent))]  # the one that was silent for longest
        return False

    def muted(self, now: float) -> frozenset[str]:
        """The topics that are muted."""
        self._muted = {topic: until for topic, until in self._muted.items() if until > now}
        return frozenset(self._muted)
