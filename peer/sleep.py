"""When a peer goes off the network to save power, and for how long."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from ..gossip.events import Event, Mixed


class SleepConfig(BaseModel):
    """``[sleep]`` in ``peer.toml``: train, publish, sleep.

    After every ``after_rounds`` rounds (0: never) the peer closes all links, and what listens for
    them, for ``for_s`` seconds. Then it is brought up to date by one road from whoever is near.
    Its neighbours do not wait for it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    after_rounds: int = Field(default=0, ge=0)
    for_s: float = Field(default=60.0, gt=0, allow_inf_nan=False)

    def is_due(self, event: Event) -> bool:
        """Whether it is time to sleep after this event."""
        if self.after_rounds == 0 or not isinstance(event, Mixed):
            return False
        return event.round % self.after_rounds == 0


NEVER: Final = SleepConfig()
