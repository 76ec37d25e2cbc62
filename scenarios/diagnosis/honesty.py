"""Equivocators, which are proven, and outliers, whose steps point away from everybody else's."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from ..proofs import proves
from ..tally import PULL_ROUNDS
from .finding import Evidence, Finding
from .observed import Observed

AGAINST = -0.35  # a mean cosine below it points away
GAP = 0.25  # ... and is so far below that of anybody else


def equivocators(seen: Observed) -> Iterator[Finding]:
    """Authors of whom a proof holds that they signed two entries with one number."""
    told: set[str] = set()
    for (author, sequence, proof), reporters in seen.tally.proofs.items():
        if author in told or proves(proof, author, seen.tally.networks) is False:
            continue
        told.add(author)
        name = seen.tally.name_of(author)
        yield Finding(
            kind="equivocator",
            what=f"{name} signed two different entries with the number {sequence}",
            advice=f"withdraw its membership: tidings network revoke {name}",
            peers=(name,),
            evidence=tuple(
                Evidence(
                    time=seen.time(who, seen.tally.proven_at.get((author, who), 0.0)),
                    peer=who,
                    text=f"equivocated {author} entry {sequence}",
                )
                for who in list(reporters)[:4]
            ),
        )


def outliers(seen: Observed) -> Iterator[Finding]:
    """The peer whose steps point away from the others', in the eyes of those who heard it.

    It is looked for in the first rounds in which somebody stands out: later on, those who mixed
    with it have been drawn along.
    """
    for window, pulls in sorted(seen.tally.pulls.items()):
        means = {who: pull.cosines / pull.count for who, pull in pulls.items() if pull.count > 1}
        if len(means) < 4:
            continue
        first, second, *_ = sorted(means, key=lambda who: means[who])
        if means[first] < AGAINST and means[second] - means[first] > GAP:
            yield _outlier(seen, first, window, means)
            return


def _outlier(seen: Observed, who: str, window: int, means: dict[str, float]) -> Finding:
    name = seen.tally.name_of(who)
    others = median(mean for other, mean in means.items() if other != who)
    begin = max(1, window * PULL_ROUNDS)
    rounds = f"{begin} to {(window + 1) * PULL_ROUNDS - 1}"
    hearers = [other for other, peer in seen.peers.items() if who in peer.companions]
    return Finding(
        kind="outlier",
        what=f"the deltas of {name} point away from the rest: mean cosine {means[who]:.2f} in "
        f"rounds {rounds}, the others {others:.2f}",
        advice=f"ask who runs {name}; until then use a robust rule (rules.robust)",
        peers=(name,),
        evidence=tuple(
            Evidence(
                time=seen.time(other, seen.peers[other].mixed_at[0]),
                peer=other,
                text=f"mixed: alignment of {who} in rounds {rounds}",
            )
            for other in hearers[:4]
            if seen.peers[other].mixed_at
        ),
    )
