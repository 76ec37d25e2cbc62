"""Partitions, silent peers and flapping ones, from links that came and went."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..tally_values import PeerTally
from .finding import Evidence, Finding
from .observed import Observed, Transition, components, listed

GRAINS = 300  # a run is looked at so many times; what is over between two looks is not seen
SHORTEST_S = 0.4  # a split that is over sooner is one link that went a moment before another
FLAPPING = 3  # times away
EVIDENCE = 4  # lines shown of each finding
GONE_SHARE = 0.2  # who says nothing for the last fifth of a run is gone


def partitions(seen: Observed) -> Iterator[Finding]:
    """Times in which the peers were in two pieces or more, each of at least two."""
    if not seen.links_went:
        return
    began: float | None = None
    pieces: list[list[str]] = []
    for time, now in _pieces_over_time(seen):
        apart = len(now) > 1
        if apart and began is None:
            began, pieces = time, now
        elif not apart and began is not None:
            if time - began >= SHORTEST_S:
                yield _partition(seen, pieces, began, time)
            began = None
    if began is not None and seen.end - began >= SHORTEST_S:
        yield _partition(seen, pieces, began, None)


def _pieces_over_time(seen: Observed) -> Iterator[tuple[float, list[list[str]]]]:
    """The pieces of two peers and more after each moment, from when they were first one."""
    up: dict[tuple[str, str], bool] = {}
    grain = max(0.02, seen.duration_s / GRAINS)
    whole = False
    found: list[list[str]] = []
    for moment in _moments(seen, grain):
        for each in moment:
            up[each.peer, each.neighbour] = each.up
        if whole and len(found) == 1 and all(each.up for each in moment):
            continue  # one piece stays one when links are added
        edges = [(a, b) for (a, b), is_up in up.items() if is_up and up.get((b, a), True)]
        found = [piece for piece in components(seen.peers, edges) if len(piece) > 1]
        whole = whole or len(found) == 1
        if whole:
            yield moment[0].time, found


def _moments(seen: Observed, grain: float) -> Iterator[list[Transition]]:
    """Transitions that belong together, until the first peer has finished."""
    moment: list[Transition] = []
    for transition in seen.transitions:
        if transition.time > seen.first_finish:
            break
        if moment and transition.time > moment[0].time + grain:
            yield moment
            moment = []
        moment.append(transition)
    if moment:
        yield moment


def _partition(
    seen: Observed, pieces: list[list[str]], began: float, ended: float | None
) -> Finding:
    piece_of = {name: number for number, piece in enumerate(pieces) for name in piece}

    def crossing(each: Transition) -> bool:
        return piece_of.get(each.peer, -1) != piece_of.get(each.neighbour, -2)

    grain = max(0.02, seen.duration_s / GRAINS)
    downs = [t for t in seen.transitions if not t.up and began <= t.time <= began + grain]
    ups = [t for t in seen.transitions if ended is not None and t.up and t.time >= ended]
    lines = [t for t in downs if crossing(t)][:EVIDENCE] + [t for t in ups if crossing(t)][
        :EVIDENCE
    ]
    groups = "; ".join(listed(piece) for piece in pieces)
    healed = f"and healed {ended - began:.1f} s later" if ended is not None else "and never healed"
    return Finding(
        kind="partition",
        what=f"the network was in {len(pieces)} pieces ({groups}) {healed}",
        advice="look for what joins the pieces: a router, a cable, a broker, a firewall",
        peers=tuple(name for piece in pieces for name in piece),
        from_s=began,
        to_s=ended,
        evidence=_lines(lines),
    )


def absences(seen: Observed) -> Iterator[Finding]:
    """Peers that were away: once or twice (silent), or again and again (flapping)."""
    times = _times_away(seen) if seen.links_went else {}
    for name, peer in seen.peers.items():
        away = times.get(name, [])
        if len(away) >= FLAPPING:
            yield _flapping(seen, name, away)
        elif away:
            yield _silent(seen, name, away)
        elif _fell_silent(seen, name, peer):
            yield _silent(seen, name, [(seen.time(name, peer.last_time), None)])


def _times_away(seen: Observed) -> dict[str, list[tuple[float, float | None]]]:
    """When no neighbour of a peer had a link to it, of those that had had one."""
    holders: dict[str, set[str]] = {}
    away: dict[str, list[tuple[float, float | None]]] = {}
    for each in seen.transitions:
        who = each.neighbour
        if who not in seen.peers or each.time > seen.first_finish:
            continue
        around = holders.setdefault(who, set())
        if each.up:
            if not around and away.get(who) and away[who][-1][1] is None:
                away[who][-1] = (away[who][-1][0], each.time)
            around.add(each.peer)
        elif around:
            around.discard(each.peer)
            if not around:
                away.setdefault(who, []).append((each.time, None))
    together = {began for spans in away.values() for began, _ in spans}
    alone = _everybody_left(away, len(seen.peers)) if together else set()
    return {
        who: kept
        for who, spans in away.items()
        if (kept := [span for span in spans if span[0] not in alone])
    }


def _everybody_left(away: dict[str, list[tuple[float, float | None]]], peers: int) -> set[float]:
    """Moments at which most peers lost all their links at once: the run was stopped."""
    begins = sorted(began for spans in away.values() for began, _ in spans)
    return {
        began
        for began in begins
        if 2 * sum(abs(other - began) <= SHORTEST_S for other in begins) > peers
    }


def _fell_silent(seen: Observed, name: str, peer: PeerTally) -> bool:
    """Whether a peer noted nothing for long, while others went on and missed it."""
    quiet_s = seen.end - seen.time(name, peer.last_time)
    others = [other.furthest for who, other in seen.peers.items() if who != name]
    missed = sum(
        other.companions[peer.id].missed
        for other in seen.peers.values()
        if peer.id in other.companions
    )
    return (
        not peer.finished
        and quiet_s > max(1.0, GONE_SHARE * seen.duration_s)
        and missed > 0
        and max(others, default=0) > peer.furthest
    )


def _silent(seen: Observed, name: str, away: Sequence[tuple[float, float | None]]) -> Finding:
    began, ended = away[0]
    if away[-1][1] is None:
        what = f"{name} fell silent and did not come back"
    elif len(away) == 1 and ended is not None:
        what = f"{name} was away for {ended - began:.1f} s and came back"
    else:
        what = f"{name} was away {len(away)} times and came back"
    return Finding(
        kind="silent-peer",
        what=what,
        advice=f"look at the machine of {name}: power, network, and the end of its own log",
        peers=(name,),
        from_s=away[-1][0] if away[-1][1] is None else began,
        to_s=away[-1][1],
        evidence=_lines(_about(seen, name, away)),
    )


def _flapping(seen: Observed, name: str, away: Sequence[tuple[float, float | None]]) -> Finding:
    return Finding(
        kind="flapping-peer",
        what=f"{name} came and went: it was away {len(away)} times",
        advice=f"a peer that restarts again and again tells why at the end of {name}'s output; "
        "a weak radio link or a power supply look alike",
        peers=(name,),
        from_s=away[0][0],
        to_s=away[-1][1],
        evidence=_lines(_about(seen, name, away)),
    )


def _about(
    seen: Observed, name: str, away: Sequence[tuple[float, float | None]]
) -> list[Transition]:
    """The last link that went, and the first that came again, each time."""
    moments = {time for span in away for time in span if time is not None}
    return [t for t in seen.transitions if t.neighbour == name and t.time in moments]


def _lines(transitions: Sequence[Transition]) -> tuple[Evidence, ...]:
    return tuple(
        Evidence(
            time=each.time,
            peer=each.peer,
            text=f"link-{'up' if each.up else 'down'} {each.neighbour}",
        )
        for each in transitions[: 2 * EVIDENCE]
    )
