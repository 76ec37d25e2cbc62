"""What a page tells of one run, as JSON: facts, film, curves, privacy, findings, tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..diagnosis import Finding
from ..formats import MISSING, number, percent, shown, size
from ..run_log import LogLine
from ..summary_values import RunSummary
from ..tables import privacy_line, summary_rows, trouble_rows
from .curves import Curves, curves_of
from .film import Film

Rows = Sequence[Sequence[str]]
MAX_TABLE = 5_000  # rows


class Reel:
    """What the film and the curves of a run need of its log; takes events as they come."""

    def __init__(self) -> None:
        self.film = Film()
        self.curves = Curves()
        self.is_used = False

    def add(self, line: LogLine) -> None:
        """Take one event into account."""
        self.is_used = True
        self.film.add(line)
        self.curves.add(line)


def run_json(
    name: str,
    summary: RunSummary,
    findings: Sequence[Finding],
    reel: Reel,
    scenario: str = "",
) -> dict[str, Any]:
    """The run as the page's script takes it. All texts are made harmless to show."""
    return {
        "name": shown(name),
        "facts": facts(summary),
        "film": reel.film.as_json(),
        "curves": reel.curves.as_json() if reel.is_used else curves_of(summary.by_round),
        "isPrivate": summary.epsilon_max is not None,
        "privacy": privacy_card(summary),
        "findings": [*map(_finding, findings), *_troubles(summary)],
        "tables": {
            "Peers": _table(_PEER_COLUMNS, _peers(summary)),
            "Links": _table(
                ("peer", "neighbour", "up", "down", "why it went last"), _links(summary)
            ),
            "Refused frames": _table(
                ("reason", "frames", "refused by", "sent by", "last one"), _refusals(summary)
            ),
            "Proofs of equivocation": _table(("author", "entry", "proof"), _proofs(summary)),
        },
        "scenario": scenario[:100_000],
    }


def facts(summary: RunSummary) -> list[list[str]]:
    """The head figures: label and value."""
    return [[label, values[0]] for label, values in summary_rows({summary.name: summary})]


def privacy_card(summary: RunSummary) -> list[list[str]]:
    """What is promised to whom, in the terms of NIST SP 800-226: label and words."""
    if summary.epsilon_max is None:
        return [
            ["differential privacy", "none"],
            ["what that means", "Whoever received this run's deltas may learn about single "
             "records from them."],
        ]  # fmt: skip
    return [
        ["promise", privacy_line(summary)],
        ["of whom", "the most that any one peer spent, all its releases together"],
        ["unit of privacy", shown(summary.privacy_unit)],
        ["epsilon", number(summary.epsilon_max)],
        ["delta", number(summary.delta)],
        ["neighbouring relation", shown(summary.neighbouring_relation)],
        ["trust model", shown(summary.trust_model, limit=200)],
        ["accountant", shown(summary.accountant)],
        ["ledgers", _ledgers(summary)],
    ]


def _ledgers(summary: RunSummary) -> str:
    """The hashes that the peers' ledgers end with, for whoever recomputes epsilon from them."""
    told = [(peer.name, peer.ledger) for peer in summary.by_peer if peer.ledger]
    some = ", ".join(f"{shown(name, limit=24)} {ledger[:16]}" for name, ledger in told[:10])
    more = f", and {len(told) - 10} more in the table of peers" if len(told) > 10 else ""
    return f"end with {some}{more}" if told else "not told by these logs"


def _finding(found: Finding) -> dict[str, Any]:
    lines = [f"{shown(one.peer)}: {shown(one.text, limit=200)}" for one in found.evidence]
    words = f"{found.what} {found.advice}"
    return {
        "what": found.kind.replace("-", " "),
        "detail": shown(words, limit=800),
        "evidence": lines,
    }


def _troubles(summary: RunSummary) -> list[dict[str, Any]]:
    return [
        {"what": shown(what), "detail": shown(which, limit=400), "evidence": []}
        for what, which in trouble_rows(summary)
    ]


_PEER_COLUMNS = (
    "peer", "rounds", "accuracy", "ε", "sent", "received", "refused", "starts", "ledger ends with"
)  # fmt: skip


def _peers(summary: RunSummary) -> Iterable[Sequence[str]]:
    for peer in summary.by_peer:
        yield (
            shown(peer.name),
            str(peer.rounds),
            percent(peer.accuracy),
            number(peer.epsilon),
            size(peer.bytes_sent),
            size(peer.bytes_received),
            str(peer.refused),
            str(peer.starts),
            peer.ledger[:16] or MISSING,
        )


def _links(summary: RunSummary) -> Iterable[Sequence[str]]:
    for row in summary.links:
        names = (shown(row.peer), shown(row.neighbour))
        yield (*names, str(row.up), str(row.down), shown(row.last_why))


def _refusals(summary: RunSummary) -> Iterable[Sequence[str]]:
    for row in summary.refusals:
        who = (shown(row.peer), shown(row.sender) or MISSING)
        yield (shown(row.reason), str(row.count), *who, shown(row.detail, limit=120))


def _proofs(summary: RunSummary) -> Iterable[Sequence[str]]:
    verdict = {True: "valid", False: "proves nothing", None: "not checked"}
    for row in summary.proofs[:20]:
        yield shown(row.author), str(row.sequence), f"{verdict[row.verified]}: {row.proof[:4096]}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> dict[str, Rows]:
    kept = [list(row) for _, row in zip(range(MAX_TABLE), rows, strict=False)]
    return {"columns": list(columns), "rows": kept}
