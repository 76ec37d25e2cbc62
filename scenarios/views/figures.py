"""Views of what was added up: peers, links, rounds, refusals, privacy, feeds, findings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..inspection import Inspection
from ..tally_values import Road
from .view import Column, View


def peers(found: Inspection) -> View:
    """One row for each peer that has a log."""
    rows = (
        (
            row.name,
            row.id,
            row.rounds,
            row.finished,
            row.starts,
            row.accuracy,
            row.loss,
            row.epsilon,
            row.bytes_sent,
            row.bytes_received,
            row.refused,
            row.missing,
            row.skipped,
            found.clocks.offsets_s.get(row.name),
            found.tally.peers[row.name].last_time - found.begin_s,
        )
        for row in found.summary.by_peer
    )
    columns = (
        Column("peer"),
        Column("id"),
        Column("rounds", "count"),
        Column("finished", "yes"),
        Column("starts", "count"),
        Column("accuracy", "share"),
        Column("loss", "number"),
        Column("epsilon", "number"),
        Column("sent", "bytes"),
        Column("received", "bytes"),
        Column("refused", "count"),
        Column("missed", "count"),
        Column("skipped", "count"),
        Column("clock off", "seconds"),
        Column("last heard", "seconds"),
    )
    return View(title="Peers", columns=columns, rows=rows)


def links(found: Inspection) -> View:
    """One row for each direction in which frames went: what left, what arrived, how fast."""
    columns = (
        Column("from"),
        Column("to"),
        Column("frames sent", "count"),
        Column("sent", "bytes"),
        Column("frames received", "count"),
        Column("received", "bytes"),
        Column("delay", "seconds"),
        Column("up", "count"),
        Column("down", "count"),
        Column("last because"),
    )
    return View(title="Links", columns=columns, rows=_links(found))


def _links(found: Inspection) -> Iterator[tuple[Any, ...]]:
    tally = found.tally
    sent: dict[tuple[str, str], Road] = {}
    heard: dict[tuple[str, str], Road] = {}
    for name, peer in tally.peers.items():
        sent |= {(name, tally.name_of(other)): road for other, road in peer.to.items()}
        heard |= {(tally.name_of(other), name): road for other, road in peer.heard.items()}
    states = {(peer, tally.name_of(other)): link for (peer, other), link in tally.links.items()}
    for ends in sorted({*sent, *heard, *states}):
        left, arrived, state = sent.get(ends), heard.get(ends), states.get(ends)
        yield (
            *ends,
            left.messages if left else None,
            left.bytes if left else None,
            arrived.messages if arrived else None,
            arrived.bytes if arrived else None,
            found.clocks.delays_s.get(ends),
            state.up if state else None,
            state.down if state else None,
            state.why if state else None,
        )


def rounds(found: Inspection) -> View:
    """One row for each round over all peers that reported it."""
    columns = (
        Column("round", "count"),
        Column("peers", "count"),
        Column("mean accuracy", "share"),
        Column("worst", "share"),
        Column("best", "share"),
        Column("consensus distance", "number"),
        Column("largest epsilon", "number"),
    )
    rows = (
        (
            row.round,
            row.accuracy_peers,
            row.accuracy_mean,
            row.accuracy_min,
            row.accuracy_max,
            row.consensus_distance,
            row.epsilon_max,
        )
        for row in found.summary.by_round
    )
    return View(title="Rounds", columns=columns, rows=rows)


def refusals(found: Inspection) -> View:
    """One row for each peer, sender and reason."""
    columns = (
        Column("peer"),
        Column("from"),
        Column("reason"),
        Column("frames", "count"),
        Column("first", "seconds"),
        Column("last", "seconds"),
        Column("last one"),
    )
    rows = [
        (
            peer,
            found.tally.name_of(sender),
            reason,
            row.count,
            row.first_time - found.begin_s,
            row.last_time - found.begin_s,
            row.detail,
        )
        for (peer, sender, reason), row in found.tally.refusals.items()
    ]
    rows.sort(key=lambda row: (-row[3], row[:3]))
    return View(title="Refused frames", columns=columns, rows=rows, empty="no frame was refused")


def privacy(found: Inspection) -> View:
    """One row for each peer: what its releases cost, to whom the promise is made, and how."""
    columns = (
        Column("peer"),
        Column("unit"),
        Column("epsilon", "number"),
        Column("delta", "number"),
        Column("relation"),
        Column("trust model"),
        Column("accountant"),
        Column("mechanism"),
        Column("noise multiplier", "number"),
        Column("sampling rate", "number"),
        Column("releases", "count"),
        Column("budget spent in round", "count"),
        Column("ledger"),
    )
    rows = []
    for row in found.summary.by_peer:
        released = found.tally.peers[row.name].released
        rows.append(
            (
                row.name,
                row.unit,
                row.epsilon,
                row.delta,
                released.relation if released else None,
                released.trust_model if released else None,
                released.accountant if released else None,
                row.mechanism,
                row.noise_multiplier,
                row.sampling_rate,
                row.releases,
                row.budget_spent_round,
                released.ledger if released else None,
            )
        )
    return View(title="Privacy", columns=columns, rows=rows)


def feeds(found: Inspection) -> View:
    """One row for each author and follower: how far the follower's copy is, and whether it agrees.

    The author's own row has no follower.
    """
    columns = (
        Column("author"),
        Column("follower"),
        Column("entry", "count"),
        Column("behind", "count"),
        Column("agrees", "yes"),
        Column("state"),
    )
    return View(title="Feeds", columns=columns, rows=_feeds(found))


def _feeds(found: Inspection) -> Iterator[tuple[Any, ...]]:
    copies = found.tally.copies
    heads = {author: states.last for author, states in copies.published_by.items()}
    rows: list[tuple[Any, ...]] = [
        (author, "", last, 0, None, copies.published_by[author][last])
        for author, last in heads.items()
    ]
    for follower, author_id, sequence, held in copies.held():
        author = found.tally.name_of(author_id)
        states = copies.published_by.get(author)
        known = states is not None and sequence in states
        behind = heads[author] - sequence if author in heads else None
        agrees = states[sequence] == held if states is not None and known else None
        rows.append((author, follower, sequence, behind, agrees, held))
    yield from sorted(rows, key=lambda row: row[:2])


def diagnosis(found: Inspection) -> View:
    """One row for each finding."""
    columns = (
        Column("finding"),
        Column("what"),
        Column("advice"),
        Column("from", "seconds"),
        Column("to", "seconds"),
        Column("evidence"),
    )
    rows = (
        (
            each.kind,
            each.what,
            each.advice,
            None if each.from_s is None else each.from_s - found.begin_s,
            None if each.to_s is None else each.to_s - found.begin_s,
            "; ".join(
                f"{line.time - found.begin_s:.2f} s {line.peer}: {line.text}"
                for line in each.evidence
            ),
        )
        for each in found.findings
    )
    return View(title="Diagnosis", columns=columns, rows=rows, empty="all seems well")


def missing(found: Inspection) -> View:
    """One row for each thing that the logs should hold and do not."""
    columns = (Column("missing"), Column("which"), Column("detail"))
    rows = [(each.what, each.which, each.detail) for each in found.missing]
    return View(title="Missing", columns=columns, rows=rows, empty="nothing is missing")
