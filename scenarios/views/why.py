"""Why is a model what it is? The chain of deltas and decisions behind one mixed model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ...crypto.errors import ConfigError
from ..records import Record
from ..run_log import RunLog
from .view import Column, View

OWN_KINDS = (
    "released", "published", "budget-spent", "mixed", "sketched", "evaluated", "skipped",
)  # fmt: skip


@dataclass(slots=True)
class _Neighbour:
    """What led to the copy of one neighbour that was mixed, or to none."""

    name: str
    published: Record | None = None
    sent: Record | None = None
    received: Record | None = None
    troubles: list[Record] = field(default_factory=list)


def why(log: RunLog, peer: str, round_: int) -> View:
    """A row for each step that led to the model of ``peer`` after ``round_``, in its order.

    Reads the log twice: to find the round, then what led to it. Raises ConfigError when the log
    does not tell of such a round.
    """
    own, names = _own_side(log, peer, round_)
    mixed = own["mixed"]
    around = {each: _Neighbour(names.get(each, each)) for each in _named(mixed)}
    _their_side(log, peer, mixed, own.get("begin"), around, names)
    columns = (
        Column("time", "seconds"),
        Column("peer"),
        Column("step"),
        Column("detail"),
    )
    rows = [
        (time - log.begin_s, who, step, detail)
        for time, who, step, detail in _chain(peer, own, around, names)
    ]
    return View(title=f"Why the model of {peer} after round {round_}", columns=columns, rows=rows)


def _own_side(log: RunLog, peer: str, round_: int) -> tuple[dict[str, Any], dict[str, str]]:
    """The peer's own events of the round by kind, where it began, and all peers' names by id."""
    own: dict[str, Any] = {}
    names: dict[str, str] = {}
    rounds: set[int] = set()
    for batch in log.batches():
        for record in batch:
            if record.kind == "peer-started":
                names.setdefault(record.id, record.peer)
            if record.peer != peer or record.kind not in OWN_KINDS:
                continue
            number = record.to_round if record.kind == "skipped" else record.round
            if record.kind == "mixed":
                rounds.add(number)
                if number < round_:
                    own["begin"] = record.time
            if number == round_:
                own[record.kind] = record
    if "mixed" not in own:
        raise _unknown(peer, round_, rounds, names)
    return own, names


def _unknown(peer: str, round_: int, rounds: set[int], names: dict[str, str]) -> ConfigError:
    if not rounds:
        known = ", ".join(sorted(names.values())[:10])
        return ConfigError(f"no log tells of a round of '{peer}'", fix=f"peers are {known}")
    return ConfigError(
        f"the log of '{peer}' does not tell of round {round_}",
        fix=f"it tells of {min(rounds)} to {max(rounds)}",
    )


def _named(mixed: Record) -> list[str]:
    return list(dict.fromkeys((*mixed.neighbours, *mixed.missing)))


def _their_side(
    log: RunLog,
    peer: str,
    mixed: Record,
    begin: float | None,
    around: dict[str, _Neighbour],
    names: dict[str, str],
) -> None:
    """Fill in what the neighbours published and sent, and what of it arrived or did not."""
    by_name = {each.name: (peer_id, each) for peer_id, each in around.items()}
    rounds = {peer_id: mixed.round - mixed.staleness.get(peer_id, 0) for peer_id in around}
    ids = [peer_id for peer_id, name in names.items() if name == peer]
    since = -float("inf") if begin is None else begin
    for batch in log.batches():
        for record in batch:
            if record.peer == peer:
                _heard(record, mixed, since, around)
            elif record.peer in by_name:
                peer_id, neighbour = by_name[record.peer]
                if record.kind == "published" and record.round == rounds[peer_id]:
                    neighbour.published = record
                elif (
                    record.kind == "sent"
                    and record.to in ids
                    and neighbour.published is not None
                    and record.author == peer_id
                    and record.sequence == neighbour.published.sequence
                    and neighbour.sent is None
                ):
                    neighbour.sent = record


def _heard(record: Record, mixed: Record, since: float, around: dict[str, _Neighbour]) -> None:
    """Take an event of the peer itself into account: news that came, and what went wrong."""
    match record.kind:
        case "received" if record.author in around and record.state:
            neighbour = around[record.author]
            if record.time <= mixed.time:
                neighbour.received = record
        case "refused" if record.sender in around and since <= record.time <= mixed.time:
            around[record.sender].troubles.append(record)
        case "link-down" if record.neighbour in around and record.time <= mixed.time:
            around[record.neighbour].troubles.append(record)
        case "link-up" if record.neighbour in around and record.time <= mixed.time:
            kept = around[record.neighbour].troubles
            kept[:] = [trouble for trouble in kept if trouble.kind != "link-down"]
        case "equivocated" if record.author in around and record.time <= mixed.time:
            around[record.author].troubles.append(record)


def _chain(
    peer: str, own: dict[str, Any], around: dict[str, _Neighbour], names: dict[str, str]
) -> Iterator[tuple[float, str, str, str]]:
    mixed = own["mixed"]
    # a run that was stopped may not have come to tell of them
    cosines = own["sketched"].alignment if "sketched" in own else {}
    steps = [*_own_steps(peer, own, names)]
    for peer_id, neighbour in around.items():
        steps += _neighbour_steps(peer, peer_id, neighbour, mixed, cosines.get(peer_id))
    yield from sorted(steps, key=lambda step: step[0])
    rest = 1.0 - sum(mixed.neighbours.values())
    yield mixed.time, peer, "mixed", f"own copy weighs {rest:.4g}; gamma {mixed.gamma:.4g}"
    if "evaluated" in own:
        tested = own["evaluated"]
        detail = f"accuracy {100 * tested.accuracy:.1f} %, loss {tested.loss:.4g}"
        yield tested.time, peer, "evaluated", detail


def _start(skipped: Record, names: dict[str, str]) -> str:
    """What a peer went on from when it had skipped rounds."""
    if not skipped.neighbours:
        return "with its own model"
    parts = [f"{names.get(id_, id_)} ({share:.4g})" for id_, share in skipped.neighbours.items()]
    return f"to the mean of {', '.join(parts)}"


def _own_steps(
    peer: str, own: dict[str, Any], names: dict[str, str]
) -> Iterator[tuple[float, str, str, str]]:
    if "skipped" in own:
        record = own["skipped"]
        yield (
            record.time,
            peer,
            "skipped",
            f"from round {record.from_round}, {_start(record, names)}",
        )
    if "budget-spent" in own:
        yield own["budget-spent"].time, peer, "did not train", own["budget-spent"].why
    if "released" in own:
        record = own["released"]
        cost = "no privacy" if record.epsilon is None else f"epsilon {record.epsilon:.4g} so far"
        yield record.time, peer, "released", f"{record.mechanism}, {record.steps} steps; {cost}"
    if "published" in own:
        record = own["published"]
        detail = (
            f"entry {record.sequence}, {record.size_bytes} bytes, "
            f"{100 * record.captured:.0f} % of the delta captured"
        )
        yield record.time, peer, "published", detail


def _neighbour_steps(
    peer: str, peer_id: str, neighbour: _Neighbour, mixed: Record, aligned: float | None
) -> Iterator[tuple[float, str, str, str]]:
    name, used = neighbour.name, peer_id in mixed.neighbours
    entry = neighbour.published
    if entry is not None:
        yield entry.time, name, "published", f"entry {entry.sequence} of round {entry.round}"
    if neighbour.sent is not None:
        yield neighbour.sent.time, name, f"sent to {peer}", f"{neighbour.sent.size_bytes} bytes"
    if used and neighbour.received is not None:
        record = neighbour.received
        detail = f"entry {record.sequence} of {name} by {record.road}, copy {record.state[:12]}"
        yield record.time, peer, "received", detail
    for trouble in neighbour.troubles[-3:]:
        yield trouble.time, peer, *_trouble(trouble, name)
    if used:
        late = mixed.staleness.get(peer_id, 0)
        detail = f"{name} weighs {mixed.neighbours[peer_id]:.4g}"
        detail += f", {late} rounds old" if late else ""
        detail += "" if aligned is None else f", alignment {aligned:.2f}"
        yield mixed.time, peer, "took", detail
    else:
        yield mixed.time, peer, "went without", f"{name}: {_reason(neighbour)}"


def _trouble(record: Record, name: str) -> tuple[str, str]:
    match record.kind:
        case "refused":
            return "refused", f"{record.reason} from {name}: {record.detail}"
        case "equivocated":
            return "shut out", f"{name} signed two entries with the number {record.sequence}"
    return "link down", f"{name}: {record.why}"


def _reason(neighbour: _Neighbour) -> str:
    kinds = {trouble.kind for trouble in neighbour.troubles}
    if "equivocated" in kinds:
        return "it is shut out for signing two entries with one number"
    if "link-down" in kinds:
        return "the link was down"
    if neighbour.published is None:
        return "no log at hand tells that it published in time"
    if neighbour.sent is None:
        return "it published, but no log tells that it sent that here"
    return "it sent, but nothing arrived in time"
