"""Stragglers, slow links and wrong clocks: who is late, and by whose watch."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from ..tally_values import PeerTally
from .finding import Evidence, Finding
from .observed import Observed, listed

SLOW_TIMES = 3.0  # a straggler trains so many times as long as the others
SLOW_SHARE = 0.25  # ... and for such a part of a round
SLOW_ROUNDS = 3
SLOW_LINK_TIMES = 5.0
SLOW_LINK_S = 0.1
CLOCK_S = 1.0  # what a machine that asks for the time is never off by
CLOCK_ERRORS = 10.0


def stragglers(seen: Observed) -> Iterator[Finding]:
    """Peers that take much longer to train than the others, so that these wait for them."""
    work = {name: times for name, peer in seen.peers.items() if (times := _work(peer))}
    usual = {name: median(times) for name, times in work.items() if len(times) >= SLOW_ROUNDS}
    if len(usual) < 3:
        return
    middle = median(usual.values())
    for name, seconds in usual.items():
        if seconds > SLOW_TIMES * middle and seconds > SLOW_SHARE * seen.round_s:
            yield Finding(
                kind="straggler",
                what=f"{name} trains for {seconds:.2f} s a round, the others for {middle:.2f} s",
                advice=f"give {name} fewer local steps or a smaller share, shorten the deadline, "
                'or set rules.pace = "asynchronous", so that nobody waits',
                peers=(name,),
                evidence=_slowest(seen, name),
            )


def _work(peer: PeerTally) -> list[float]:
    """Seconds from the end of each round to the peer's next entry."""
    ended = dict(zip(peer.mixed_rounds, peer.mixed_at, strict=True))
    return [
        at - ended[number - 1]
        for number, at in zip(peer.published_rounds, peer.published_at, strict=True)
        if number - 1 in ended and at >= ended[number - 1]
    ]


def _slowest(seen: Observed, name: str) -> tuple[Evidence, ...]:
    peer = seen.peers[name]
    lines = zip(peer.published_rounds, peer.published_at, strict=True)
    return tuple(
        Evidence(time=seen.time(name, at), peer=name, text=f"published round {number}")
        for number, at in list(lines)[:3]
    )


def slow_links(seen: Observed) -> Iterator[Finding]:
    """Links on which frames travel much longer than on the others."""
    delays = seen.clocks.delays_s
    if len(delays) < 3:
        return
    usual = median(delays.values())
    limit = max(SLOW_LINK_TIMES * usual, usual + SLOW_LINK_S)
    slow = {ends: delay for ends, delay in delays.items() if delay > limit}
    told: set[str] = set()
    for name in seen.peers:
        own = [ends for ends in delays if name in ends]
        bad = [ends for ends in own if ends in slow]
        if len(bad) > 2 and 2 * len(bad) > len(own):
            told.add(name)
            yield _slow(seen, (name,), f"the links of {name}", bad, usual)
    pairs = {tuple(sorted(ends)) for ends in slow if not told & set(ends)}
    for a, b in sorted(pairs):
        ends = [each for each in ((a, b), (b, a)) if each in slow]
        yield _slow(seen, (a, b), f"the link between {a} and {b}", ends, usual)


def _slow(
    seen: Observed, peers: tuple[str, ...], which: str, ends: list[tuple[str, str]], usual: float
) -> Finding:
    delay = median(seen.clocks.delays_s[each] for each in ends)
    evidence = []
    for sender, receiver in ends[:2]:
        marks = seen.peers[sender].to[seen.peers[receiver].id].marks
        arrived = seen.peers[receiver].heard[seen.peers[sender].id].marks
        news = next(key for key in arrived if key in marks)
        evidence += [
            Evidence(
                time=seen.time(sender, marks[news]),
                peer=sender,
                text=f"sent entry {news[1]} to {receiver}",
            ),
            Evidence(
                time=seen.time(receiver, arrived[news]),
                peer=receiver,
                text=f"received entry {news[1]} from {sender}",
            ),
        ]
    are = "is" if len(peers) == 2 else "are"
    return Finding(
        kind="slow-link",
        what=f"{which} {are} slow: frames take {delay:.2f} s, elsewhere {usual:.3f} s",
        advice="send less over it (rules.compression), or take it out of the topology",
        peers=peers,
        evidence=tuple(evidence),
    )


def wrong_clocks(seen: Observed) -> Iterator[Finding]:
    """Peers whose clocks are off, by what they and their neighbours noted of the same frames."""
    limit = max(CLOCK_S, CLOCK_ERRORS * seen.clocks.error_s)
    off = {name: by for name, by in seen.clocks.offsets_s.items() if abs(by) > limit}
    for name, by in off.items():
        way = "ahead of" if by > 0 else "behind"
        evidence: list[Evidence] = []
        for sender_id, road in seen.peers[name].heard.items():
            sender = seen.tally.name_of(sender_id)
            left = seen.peers[sender].to.get(seen.peers[name].id) if sender in seen.peers else None
            news = next((key for key in road.marks if left and key in left.marks), None)
            if left is not None and news is not None and len(evidence) < 4:
                evidence += [
                    Evidence(time=left.marks[news], peer=sender, text=f"sent entry {news[1]}"),
                    Evidence(time=road.marks[news], peer=name, text=f"received entry {news[1]}"),
                ]
        yield Finding(
            kind="clock",
            what=f"the clock of {name} is {abs(by):.1f} s {way} the others'",
            advice=f"set the clock of {listed([name])} by NTP; nothing but the log depends on it",
            peers=(name,),
            evidence=tuple(evidence),
        )
