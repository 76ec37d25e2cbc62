"""Does mixing bring the models together? Graphs that are split or too sparse, and skewed labels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import median

import numpy as np

from ..tally_values import Pull
from .finding import Evidence, Finding
from .observed import Observed, components, listed

LATE = 2 / 3  # who mixed with whom is asked from this part of the rounds on
LEAST_ROUNDS = 5
SMALL_GAP = 0.05
SHRINKING = 0.8
MAX_PEERS = 1500  # of which the spectral gap is worked out
LITTLE_IN_COMMON = 0.15
CAPTURED = 0.7


def split_graphs(seen: Observed) -> Iterator[Finding]:
    """Groups of peers that did not mix with each other in the last third of the rounds."""
    furthest = seen.tally.furthest_round
    active = [n for n, p in seen.peers.items() if p.furthest >= LATE * furthest > 0]
    if furthest < LEAST_ROUNDS or len(active) < 4:
        return
    edges = [
        (name, seen.tally.name_of(other))
        for name in active
        for other, companion in seen.peers[name].companions.items()
        if companion.mixed and companion.last_mixed >= LATE * furthest
    ]
    pieces = [piece for piece in components(active, edges) if len(piece) > 1]
    if len(pieces) < 2:
        return
    yield Finding(
        kind="split-graph",
        what=f"from round {math.ceil(LATE * furthest)} on, {len(pieces)} groups mixed among "
        f"themselves alone ({'; '.join(listed(piece) for piece in pieces)}): they will not agree",
        advice="add edges between the groups to rules.topology, or look for links that are down",
        peers=tuple(name for piece in pieces for name in piece),
        evidence=tuple(_last_mix(seen, piece[0]) for piece in pieces[:4]),
    )


def _last_mix(seen: Observed, name: str) -> Evidence:
    peer = seen.peers[name]
    partners = [
        seen.tally.name_of(other)
        for other, companion in peer.companions.items()
        if companion.last_mixed == peer.furthest
    ]
    return Evidence(
        time=seen.time(name, peer.mixed_at[-1]) if peer.mixed_at else 0.0,
        peer=name,
        text=f"mixed round {peer.furthest} with {listed(partners) or 'nobody'}",
    )


def sparse_graphs(seen: Observed) -> Iterator[Finding]:
    """A graph so sparse that models drift apart faster than mixing brings them together."""
    gap = spectral_gap(seen)
    distances = [
        spread.distance
        for _, spread in sorted(seen.tally.spreads().items())
        if spread.distance is not None and 2 * spread.count > len(seen.peers)
    ]
    if gap is None or gap >= SMALL_GAP or len(distances) < LEAST_ROUNDS:
        return
    third = len(distances) // 3
    before, after = np.mean(distances[third : 2 * third]), np.mean(distances[2 * third :])
    if after < SHRINKING * before:
        return
    names = list(seen.peers)
    yield Finding(
        kind="sparse-graph",
        what=f"the models do not come closer to each other (consensus distance {before:.3g}, then "
        f"{after:.3g}): the graph of who mixed with whom has a spectral gap of {gap:.3f}",
        advice="give the graph more edges, or one that mixes faster: rules.topology.kind = "
        '"exponential"',
        evidence=tuple(_last_mix(seen, name) for name in names[:2]),
    )


def spectral_gap(seen: Observed) -> float | None:
    """1 - |second eigenvalue| of the mean mixing matrix that was really used, made symmetric.

    None where too few or too many mixed.
    """
    names = [name for name, peer in seen.peers.items() if peer.rounds]
    if not 2 < len(names) <= MAX_PEERS:
        return None
    index = {name: row for row, name in enumerate(names)}
    w = np.zeros((len(names), len(names)))
    for name in names:
        peer = seen.peers[name]
        for other, companion in peer.companions.items():
            column = index.get(seen.tally.name_of(other))
            if column is not None and math.isfinite(companion.weight):
                w[index[name], column] += companion.weight / peer.rounds
    np.fill_diagonal(w, 0.0)
    w = (w + w.T) / 2
    np.fill_diagonal(w, 1.0 - w.sum(axis=1))
    values = np.sort(np.linalg.eigvalsh(w))
    return float(1.0 - max(abs(values[-2]), abs(values[0])))


def skewed_labels(seen: Observed) -> Iterator[Finding]:
    """Peers whose steps have little in common, though none stands out: their data are unlike.

    Not asked where noise or strong compression hides what the steps have in common.
    """
    noisy = any(p.released is not None and p.released.unit != "none" for p in seen.peers.values())
    entries = sum(len(p.published_at) for p in seen.peers.values())
    captured = sum(p.captured for p in seen.peers.values()) / entries if entries else 0.0
    if noisy or captured < CAPTURED or not seen.tally.pulls:
        return
    pulls = seen.tally.pulls[min(seen.tally.pulls)]
    shares = [common_share(pull) for pull in pulls.values() if pull.count > 1]
    if len(shares) < 4 or median(shares) >= LITTLE_IN_COMMON:
        return
    yield Finding(
        kind="label-skew",
        what=f"what the peers learn has little in common (a share of {median(shares):.2f} of a "
        "step): their data seem to differ, in labels perhaps",
        advice="fewer local steps, a denser graph, or gradient tracking help; "
        "compare the accuracy of each peer",
        peers=tuple(sorted(seen.tally.name_of(who) for who in pulls)),
        evidence=tuple(
            Evidence(
                time=seen.time(name, peer.mixed_at[0]),
                peer=name,
                text="mixed: mean alignment of "
                + ", ".join(
                    f"{seen.tally.name_of(who)} {pulls[who].cosines / pulls[who].count:.2f}"
                    for who in list(peer.companions)[:4]
                    if who in pulls
                ),
            )
            for name, peer in list(seen.peers.items())[:3]
            if peer.mixed_at
        ),
    )


def common_share(pull: Pull) -> float:
    """The share r of a step's squared length that all steps have in common, from its cosine.

    If steps are a common part and independent ones of their own, the cosine between one and the
    sum of m others is c = m r / sqrt(m (m r + 1 - r)), solved here for r; 0 for c <= 0.
    """
    c = max(0.0, pull.cosines / pull.count)
    m = pull.others / pull.count
    square = c * c
    return (square * (m - 1) + math.sqrt(square**2 * (m - 1) ** 2 + 4 * m * square)) / (2 * m)
