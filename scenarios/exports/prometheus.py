"""A run's last figures in Prometheus' text format, for a pushgateway or a textfile collector."""

from __future__ import annotations

from collections.abc import Iterator

from ...peer.metrics_text import Family, metrics_lines
from ..formats import shown
from ..inspection import Inspection

WHO = ("peer", "sender", "reason")


def prometheus_text(found: Inspection) -> str:
    """The metrics, named as those that a running peer serves, with the label ``peer``."""
    return "\n".join(metrics_lines(_families(found))) + "\n"


def _families(found: Inspection) -> Iterator[Family]:
    run, peers = found.summary, found.summary.by_peer
    about = {
        "run": shown(run.name),
        "engine": shown(run.engine),
        "outcome": shown(run.outcome),
    }
    yield "run_info", "gauge", "What was run.", [(about, 1)]
    yield "run_peers", "gauge", "Peers of the run.", [({}, run.peers)]
    yield "run_seconds", "gauge", "From the first event to the last.", [({}, run.duration_s)]
    distance = run.consensus_distance
    yield "consensus_distance", "gauge", "How far apart the models are.", [({}, distance)]
    figures: dict[str, tuple[str, str, list[float | None]]] = {
        "rounds_mixed": ("gauge", "Rounds that ended.", [p.rounds for p in peers]),
        "finished": ("gauge", "1 when all rounds are done.", [p.finished for p in peers]),
        "accuracy": ("gauge", "On held-out data, 0 to 1.", [p.accuracy for p in peers]),
        "loss": ("gauge", "Mean loss on held-out data.", [p.loss for p in peers]),
        "epsilon_spent": ("gauge", "Privacy spent by all releases.", [p.epsilon for p in peers]),
        "sent_bytes_total": ("counter", "Bytes sent.", [p.bytes_sent for p in peers]),
        "received_bytes_total": ("counter", "Bytes taken.", [p.bytes_received for p in peers]),
        "sent_frames_total": ("counter", "Frames sent.", [p.messages_sent for p in peers]),
        "received_frames_total": ("counter", "Frames taken.", [p.messages_received for p in peers]),
    }
    for name, (kind, words, values) in figures.items():
        names = [shown(peer.name) for peer in peers]
        yield name, kind, words, [({"peer": n}, v) for n, v in zip(names, values, strict=True)]
    refused = [
        (dict(zip(WHO, map(shown, (row.peer, row.sender, row.reason)), strict=True)), row.count)
        for row in run.refusals
    ]
    yield "refused_frames_total", "counter", "Frames refused.", refused
    kinds = sorted({each.kind for each in found.findings})
    counts = [({"kind": kind}, sum(each.kind == kind for each in found.findings)) for kind in kinds]
    yield "findings", "gauge", "What a diagnosis names.", counts
