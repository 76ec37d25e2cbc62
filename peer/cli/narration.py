"""What a running peer tells whoever looks on: a line for each event that a person waits for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import typer

from ...gossip.events import (
    BudgetSpent,
    Equivocated,
    Evaluated,
    Event,
    LinkDown,
    LinkUp,
    MembersChanged,
    PeerFinished,
    PeerStarted,
    Refused,
    RolledBack,
    Skipped,
    TransportWarning,
)


def narrator(*, as_json: bool) -> Callable[[Event], None]:
    """Prints events: as sentences for people, or every one as a line of JSON."""

    def narrate(event: Event) -> None:
        line = json.dumps(event.as_fields()) if as_json else sentence(event)
        if line is not None:
            typer.echo(line)

    return narrate


def sentence(event: Event) -> str | None:
    """The event in words; None for those that come too often to be read."""
    words = _SENTENCES.get(type(event))
    return words(event) if words else None


_SENTENCES: dict[type[Event], Callable[[Any], str]] = {
    PeerStarted: lambda e: f"{e.id} is node {e.index} and in round {e.round}",
    LinkUp: lambda e: f"linked with {e.neighbour}",
    LinkDown: lambda e: f"lost {e.neighbour}: {e.why}",
    Evaluated: lambda e: f"round {e.round}: accuracy {e.accuracy:.1%}",
    BudgetSpent: lambda e: f"trains no more, but mixes and relays: {e.why}",
    Skipped: lambda e: f"joins its neighbours in round {e.to_round}",
    Refused: lambda e: f"refused a frame from {e.sender}: {e.reason}",
    Equivocated: lambda e: f"shut {e.author} out: it signed two entries number {e.sequence}",
    RolledBack: lambda e: (
        "publishes no more: neighbours hold a later entry of this peer "
        f"({e.seen_sequence}) than its folder ({e.own_sequence})"
    ),
    MembersChanged: lambda e: f"took up bulletin {e.serial} of the network's owner",
    TransportWarning: lambda e: e.what,
    PeerFinished: lambda e: f"all {e.round} rounds are done; goes on answering its neighbours",
}
