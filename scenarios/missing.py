"""What the logs at hand do not hold: peers without a log, parts, rounds, beginnings and ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from ..gossip.events import LOG_VERSION
from ..peer.log_parts import number_of, parts_of
from .log_files import LOG_NAME
from .run_log import RunLog
from .tally import Tally
from .tally_values import PeerTally

MAX_GAPS = 5  # told of each peer


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Something that is not there; ``which`` names a peer, an id or a file."""

    what: str
    which: str
    detail: str = ""


def what_is_missing(tally: Tally, log: RunLog) -> tuple[Missing, ...]:
    """Everything that the logs speak of, or must once have held, and do not hold."""
    found = [*_peers(tally), *_parts(log), *_ends(log)]
    for name, peer in tally.peers.items():
        found += _of_peer(name, peer)
    if tally.log_version > LOG_VERSION:
        found.append(
            Missing(
                what="later version",
                which=f"log_version {tally.log_version}",
                detail=f"this one reads {LOG_VERSION}: some figures may be wrong; update Tidings",
            )
        )
    if log.unknown:
        found.append(
            Missing(
                what="unknown kinds",
                which=f"{log.unknown} events",
                detail="of kinds that a later version may know; they were left out",
            )
        )
    return tuple(found)


def _peers(tally: Tally) -> Iterator[Missing]:
    """Peers that others speak of, without a log of their own."""
    named: dict[str, list[str]] = {}
    for name, peer in tally.peers.items():
        for other in dict.fromkeys((*peer.to, *peer.heard, *peer.companions)):
            if other and tally.name_of(other) not in tally.peers:
                named.setdefault(other, []).append(name)
    for peer_id, by in named.items():
        more = f" and {len(by) - 3} more" if len(by) > 3 else ""
        yield Missing(
            what="no log", which=peer_id, detail=f"of a peer that {', '.join(by[:3])}{more} names"
        )


def _parts(log: RunLog) -> Iterator[Missing]:
    for file in log.files:
        if file.name != LOG_NAME:
            continue
        numbers = sorted(number_of(file, part) for part in parts_of(file))
        if numbers and numbers[0] > 1:
            yield Missing(
                what="beginning",
                which=log.name(file),
                detail=f"parts 1 to {numbers[0] - 1} were dropped, or not sent",
            )
        for before, after in pairwise(numbers):
            if after > before + 1:
                gone = f"part {before + 1}" + (f" to {after - 1}" if after > before + 2 else "")
                yield Missing(what="part", which=log.name(file), detail=f"{gone} is not there")


def _ends(log: RunLog) -> Iterator[Missing]:
    for file in log.torn:
        detail = "it ends in the midst of a line, as after a kill or a power cut"
        if file.endswith(".gz"):
            detail = "it is cut short, or is no gzip file: the rest of this part is lost"
        elif file.endswith(".tmp"):
            detail = "this part of a table was never closed: the run is at it, or was killed there"
        yield Missing(what="end", which=file, detail=detail)


def _of_peer(name: str, peer: PeerTally) -> Iterator[Missing]:
    if not peer.starts:
        detail = "its log does not tell how it started; its id is not known"
        yield Missing(what="beginning", which=name, detail=detail)
    rounds = list(dict.fromkeys(peer.mixed_rounds))
    gaps = [(a, b) for a, b in pairwise(sorted(rounds)) if b > a + 1]
    skipped = peer.skipped
    for before, after in gaps[:MAX_GAPS]:
        if skipped >= after - before - 1 > 0:  # it says itself that it jumped over them
            skipped -= after - before - 1
            continue
        which = f"{before + 1}" if after == before + 2 else f"{before + 1} to {after - 1}"
        yield Missing(what="rounds", which=name, detail=f"nothing is told of round {which}")
