"""How far the clocks of peers are apart, and how long frames travel, from what both ends noted.

News leave one peer at t by its clock and arrive at another at t' by that one's: t' - t is the delay
plus the difference of the clocks. Delays are alike in both directions of a link, and around any
circle of links the differences of clocks cancel; so the offsets are those that leave, together with
one common delay, the least absolute errors over all links (the shortest journey over each), found
by least squares with weights (Schlossmacher 1973). A few slow links move nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

import numpy as np

from .tally import MAX_MARKED, Tally

REWEIGHTED = 12
LONGEST_S = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """Offsets of clocks by peer, in seconds ahead of the middle one; delays by sender and receiver.

    ``delays_s`` are medians over the frames that were compared, after the offsets are taken away.
    ``error_s`` is the median of what is left unexplained over a link. Peers of whom no frame could
    be compared are in neither.
    """

    offsets_s: dict[str, float]
    delays_s: dict[tuple[str, str], float]
    error_s: float

    def true_time(self, peer: str, time: float) -> float:
        """A time of a peer's log by the common clock."""
        return time - self.offsets_s.get(peer, 0.0)


def clocks_of(tally: Tally) -> Clocks:
    """What the tally's marked frames tell of clocks and delays."""
    journeys = _journeys(tally)
    names = sorted({name for ends in journeys for name in ends})
    if not names or len(names) > MAX_MARKED:
        return Clocks(offsets_s={}, delays_s={}, error_s=0.0)
    offsets, error_s = _offsets(names, {ends: min(times) for ends, times in journeys.items()})
    delays = {(a, b): median(times) - offsets[b] + offsets[a] for (a, b), times in journeys.items()}
    return Clocks(offsets_s=offsets, delays_s=delays, error_s=error_s)


def _journeys(tally: Tally) -> dict[tuple[str, str], list[float]]:
    """For each sender and receiver, arrival minus departure of the news that both noted."""
    found: dict[tuple[str, str], list[float]] = {}
    for receiver, peer in tally.peers.items():
        for sender_id, arrived in peer.heard.items():
            sender = tally.name_of(sender_id)
            author = tally.peers.get(sender)
            left = author.to.get(peer.id) if author is not None else None
            if left is None or sender == receiver:
                continue
            both = arrived.marks.keys() & left.marks.keys()
            times = [arrived.marks[news] - left.marks[news] for news in both]
            times = [time for time in times if abs(time) < LONGEST_S]
            if times:
                found[sender, receiver] = times
    return found


def _offsets(
    names: list[str], shortest: dict[tuple[str, str], float]
) -> tuple[dict[str, float], float]:
    index = {name: row for row, name in enumerate(names)}
    senders = np.array([index[a] for a, _ in shortest])
    receivers = np.array([index[b] for _, b in shortest])
    apart = np.array(list(shortest.values()))
    count = len(names)
    solution = np.zeros(count + 1)  # the offsets, then the common delay
    weights = np.ones(len(apart))
    errors = apart
    for _ in range(REWEIGHTED):
        solution = _weighted(count, senders, receivers, apart, weights)
        errors = apart - (solution[receivers] - solution[senders] + solution[count])
        weights = 1.0 / np.maximum(np.abs(errors), 1e-6)
    offsets = solution[:count] - np.median(solution[:count])
    return dict(zip(names, offsets.tolist(), strict=True)), float(np.median(np.abs(errors)))


def _weighted(
    count: int, senders: np.ndarray, receivers: np.ndarray, apart: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Offsets (count,) and a delay d: sum w (o_receiver - o_sender + d - apart)^2 is least."""
    normal = np.zeros((count + 1, count + 1))
    right = np.zeros(count + 1)
    delay = np.full(len(apart), count)
    for rows, one in ((receivers, 1.0), (senders, -1.0), (delay, 1.0)):
        np.add.at(right, rows, one * weights * apart)
        for columns, other in ((receivers, 1.0), (senders, -1.0), (delay, 1.0)):
            np.add.at(normal, (rows, columns), one * other * weights)
    found: np.ndarray = np.linalg.lstsq(normal, right, rcond=1e-12)[0]
    return found
