"""One pass over the event logs of a run, from which its summary comes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from .proofs import proves
from .run_log import RunLog
from .summary_values import (
    Edge,
    LinkRow,
    PeerRow,
    ProofRow,
    RefusalRow,
    RoundRow,
    RunSummary,
)
from .tally import Tally, sketched_distance
from .tally_values import PeerTally, Road, RoundTally, Spread, largest

__all__ = ["RunSummary", "summarise", "summary_of"]


def summarise(folder: Path) -> RunSummary:
    """Read all event logs of one run (or of one peer) once.

    Raises ConfigError for a folder without logs, StorageError for one that cannot be read. Lines
    that cannot be understood never raise; the summary counts them.
    """
    log = RunLog(folder)
    tally = Tally()
    for batch in log.batches():
        tally.add_records(batch)
    tally.settle()
    return summary_of(tally, log)


def summary_of(tally: Tally, log: RunLog) -> RunSummary:
    """What a tally amounts to; ``log`` tells what could not be read on the way."""
    run = tally.run
    peers = tally.peers.values()
    accuracies = [peer.last.accuracy for peer in peers if peer.last is not None]
    edges = _edges(tally)
    proofs = _proofs(tally)
    return RunSummary(
        name=run.name if run else log.folder.resolve().name,
        engine=run.engine if run else "",
        transport=run.transport if run else "",
        seed=run.seed if run else None,
        outcome=tally.outcome,
        duration_s=tally.duration_s,
        peers=len(peers),
        rounds=tally.furthest_round,
        accuracy_mean=_mean(accuracies),
        accuracy_min=min(accuracies, default=None),
        consensus_distance=sketched_distance([p.sketch for p in peers if p.sketch]),
        bytes_sent=sum(edge.bytes for edge in edges),
        messages_sent=sum(edge.messages for edge in edges),
        epsilon_max=max((p.epsilon for p in peers if p.epsilon is not None), default=None),
        delta=max((p.delta for p in peers if p.delta is not None), default=None),
        privacy_unit=_of_releases(tally, "unit") or "none",
        neighbouring_relation=_of_releases(tally, "relation"),
        trust_model=_of_releases(tally, "trust_model"),
        accountant=_of_releases(tally, "accountant"),
        refused=_refused(tally),
        roads=dict(Counter(tally.roads).most_common()),
        revoked=tuple(tally.name_of(peer_id) for peer_id in tally.revoked),
        edges=edges,
        by_round=_rounds(tally),
        by_peer=_peers(tally),
        links=_links(tally),
        refusals=_refusals(tally),
        proofs=tuple(proofs.values()),
        rolled_back=tuple(tally.rolled_back),
        copies=tally.copies.verdict(
            tally.name_of, {author for (author, _, _), row in proofs.items() if row.verified}
        ),
        corrupt_lines=log.corrupt,
        bad_lines=tuple(log.bad_lines),
        torn_logs=tuple(log.torn),
    )


def _of_releases(tally: Tally, what: str) -> str:
    # one value when all peers agree, as they do in every run that one scenario made
    releases = [peer.released for peer in tally.peers.values() if peer.released is not None]
    return " + ".join(dict.fromkeys(getattr(release, what) for release in releases))


def _edges(tally: Tally) -> tuple[Edge, ...]:
    edges: dict[tuple[str, str], Road] = {}
    for name, peer in tally.peers.items():
        for receiver, road in peer.to.items():
            sum_ = edges.setdefault((name, tally.name_of(receiver)), Road())
            sum_.bytes += road.bytes
            sum_.messages += road.messages
    return tuple(
        Edge(sender=sender, receiver=receiver, bytes=road.bytes, messages=road.messages)
        for (sender, receiver), road in sorted(edges.items())
    )


def _rounds(tally: Tally) -> tuple[RoundRow, ...]:
    rows = []
    spent: float | None = None
    accuracies, spreads = tally.accuracies(), tally.spreads()
    for number in sorted({*tally.rounds, *accuracies, *spreads}):
        row = tally.rounds.get(number, RoundTally())
        spent = largest(spent, row.epsilon)  # what was spent stays spent
        found = accuracies.get(number, [])
        sketched = spreads.get(number, Spread()).distance
        rows.append(
            RoundRow(
                round=number,
                accuracy_peers=len(found),
                accuracy_mean=_mean(found),
                accuracy_min=min(found, default=None),
                accuracy_max=max(found, default=None),
                accuracy_deviation=_deviation(found),
                bytes_sent=row.sent,
                consensus_distance=sketched if row.measured is None else row.measured,
                epsilon_max=spent,
            )
        )
    return tuple(rows)


def _deviation(values: Sequence[float]) -> float | None:
    if not values:
        return None
    with np.errstate(all="ignore"):  # a log may hold any number
        return float(np.std(values))


def _peers(tally: Tally) -> tuple[PeerRow, ...]:
    ordered = sorted(tally.peers.items(), key=lambda item: (item[1].index, item[0]))
    return tuple(_peer(name, peer) for name, peer in ordered)


def _peer(name: str, peer: PeerTally) -> PeerRow:
    released = peer.released
    return PeerRow(
        name=name,
        id=peer.id,
        index=peer.index,
        starts=peer.starts,
        rounds=peer.rounds,
        finished=peer.finished,
        accuracy=peer.last.accuracy if peer.last else None,
        loss=peer.last.loss if peer.last else None,
        epsilon=peer.epsilon,
        delta=peer.delta,
        unit=released.unit if released else "none",
        mechanism=released.mechanism if released else "",
        noise_multiplier=released.noise_multiplier if released else None,
        sampling_rate=released.sampling_rate if released else None,
        ledger=released.ledger if released else "",
        releases=peer.releases,
        budget_spent_round=peer.budget_spent_round,
        bytes_sent=sum(road.bytes for road in peer.to.values()),
        messages_sent=sum(road.messages for road in peer.to.values()),
        bytes_received=sum(road.bytes for road in peer.heard.values()),
        messages_received=sum(road.messages for road in peer.heard.values()),
        refused=peer.refused,
        missing=peer.missing,
        skipped=peer.skipped,
    )


def _links(tally: Tally) -> tuple[LinkRow, ...]:
    return tuple(
        LinkRow(
            peer=peer,
            neighbour=tally.name_of(neighbour),
            up=link.up,
            down=link.down,
            last_why=link.why,
        )
        for (peer, neighbour), link in sorted(tally.links.items())
    )


def _refused(tally: Tally) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for (_, _, reason), refusals in tally.refusals.items():
        counts[reason] += refusals.count
    return dict(counts.most_common())


def _refusals(tally: Tally) -> tuple[RefusalRow, ...]:
    rows = [
        RefusalRow(
            peer=peer,
            sender=tally.name_of(sender),
            reason=reason,
            count=refusals.count,
            detail=refusals.detail,
        )
        for (peer, sender, reason), refusals in tally.refusals.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.count, row.peer, row.sender, row.reason)))


def _proofs(tally: Tally) -> dict[tuple[str, int, str], ProofRow]:
    return {
        (author, sequence, proof): ProofRow(
            author=tally.name_of(author),
            sequence=sequence,
            proof=proof,
            reported_by=tuple(reporters),
            verified=proves(proof, author, tally.networks),
        )
        for (author, sequence, proof), reporters in tally.proofs.items()
    }


def _mean(values: Collection[float]) -> float | None:
    return sum(values) / len(values) if values else None
