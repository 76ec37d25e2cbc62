"""Synthetic runs, written through the real event types."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from tidings.gossip.events import (
    Evaluated,
    Event,
    LinkUp,
    Mixed,
    PeerFinished,
    PeerStarted,
    Published,
    Received,
    Released,
    Sent,
    Sketched,
)
from tidings.scenarios.run_log import ALL_KINDS, RunFinished, RunStarted

NETWORK = bytes(range(16)).hex()

HOSTILE_NAMES = (
    "[bold red]boss[/bold red]",
    "[/]",
    "<script>alert(1)</script>",
    "\x1b[2J\x1b]0;owned\x07",
    "$\\frac{$ \\",
    "\u202egnp.txt",
    "line\nbreak\rback",
    "lone \ud800",
    "名前",
    "x" * 5000,
    "",
    "../../etc/passwd",
)

Line = tuple[float, str, Event]


def line_of(time: float, peer: str, event: Event) -> str:
    """A line as a peer writes it."""
    return json.dumps({"time": time, "peer": peer, **event.as_fields()}) + "\n"


def write_log(file: Path, lines: Iterable[Line]) -> None:
    """An events.jsonl with these lines, in a folder that is made where needed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(line_of(*line) for line in lines))


@st.composite
def any_lines(draw: st.DrawFn) -> str:
    """A line of a known kind, its fields of the right types but with any values."""
    event = draw(
        st.sampled_from(sorted(ALL_KINDS)).flatmap(lambda kind: st.builds(ALL_KINDS[kind]))
    )
    peer = draw(st.sampled_from(HOSTILE_NAMES) | st.text(max_size=5))
    return line_of(draw(st.floats(-1e9, 1e9)), peer, event)


def id_of(peer: int) -> str:
    """The short id of a peer by number."""
    return f"id{peer:06d}"


def name_of(peer: int) -> str:
    """The name of a peer by number."""
    return f"peer-{peer:02d}"


def state_of(peer: int, sequence: int) -> str:
    """The hash of a public copy, in hex."""
    return f"{peer:032x}{sequence:032x}"


def sent(**changes: object) -> Sent:
    """A frame, with some fields of one's own."""
    return Sent(**{"to": id_of(1), "message": "news", "size_bytes": 100, **changes})  # type: ignore[arg-type]


def released(**changes: object) -> Released:
    """A record-level release, with some fields of one's own."""
    fields: dict[str, object] = {
        "round": 1,
        "unit": "record",
        "epsilon": 1.0,
        "delta": 1e-5,
        "relation": "add-or-remove-one record",
        "trust_model": "local: nobody but the peer itself is trusted",
        "accountant": "PLD",
        "mechanism": "poisson-gaussian",
        "noise_multiplier": 1.84,
        "sampling_rate": 0.25,
        "steps": 1,
    }
    return Released(**{**fields, **changes})  # type: ignore[arg-type]


def started(peer: int, **changes: object) -> PeerStarted:
    """A peer's beginning, with some fields of one's own."""
    fields: dict[str, object] = {
        "id": id_of(peer),
        "index": peer,
        "round": 0,
        "sequence": 0,
        "network": NETWORK,
        "parameters": 2410,
    }
    return PeerStarted(**{**fields, **changes})  # type: ignore[arg-type]


def evaluated(round_: int, accuracy: float) -> Evaluated:
    """A test of the mixed model on 360 samples."""
    return Evaluated(round=round_, accuracy=accuracy, loss=1 - accuracy, samples=360)


def mixed(round_: int, **changes: object) -> Mixed:
    """The end of a round, with some fields of one's own."""
    fields: dict[str, object] = {
        "round": round_,
        "neighbours": {},
        "missing": (),
        "gamma": 1.0,
    }
    return Mixed(**{**fields, **changes})  # type: ignore[arg-type]


def sketched(round_: int, sketch: Iterable[float], **alignment: float) -> Sketched:
    """A model of a round in a few numbers, and where those that it was mixed with pull."""
    numbers = tuple(float(value) for value in sketch)
    return Sketched(round=round_, sketch=numbers, alignment=alignment)


def run_started(**changes: object) -> RunStarted:
    """The beginning of a run, with some fields of one's own."""
    fields: dict[str, object] = {
        "name": "quickstart",
        "engine": "sim",
        "transport": "memory",
        "seed": 7,
        "peers": 10,
        "rounds": 20,
        "scenario": "",
    }
    return RunStarted(**{**fields, **changes})  # type: ignore[arg-type]


def honest_run(*, peers: int = 10, rounds: int = 20, seed: int = 7) -> list[Line]:
    """A run on the exponential graph in which all goes well and every peer learns."""
    rng = np.random.default_rng(seed)
    ceiling = rng.uniform(0.86, 0.97, peers)
    sketches = rng.normal(size=(peers, 64))
    neighbours = {
        i: sorted({(i + hop) % peers for k in (1, 2, 4) for hop in (k, -k)} - {i})
        for i in range(peers)
    }
    lines: list[Line] = [(0.0, "", run_started(peers=peers, rounds=rounds, seed=seed))]
    for i in range(peers):
        lines.append((0.1, name_of(i), started(i)))
        lines += [(0.2, name_of(i), LinkUp(neighbour=id_of(j))) for j in neighbours[i]]
    for t in range(1, rounds + 1):
        sketches = (
            0.3 * sketches.mean(axis=0) + 0.7 * sketches + 0.02 * rng.normal(size=(peers, 64))
        )
        for i in range(peers):
            lines += _round_of(i, t, neighbours[i], sketches[i], rng)
            accuracy = ceiling[i] * (1 - np.exp(-t / (4 + i / 3))) + rng.normal() * 0.01
            lines.append((t + 0.9, name_of(i), evaluated(t, float(accuracy))))
    end = rounds + 1.0
    lines += [
        (end, name_of(i), PeerFinished(round=rounds, state=state_of(i, rounds)))
        for i in range(peers)
    ]
    lines.append((end, "", RunFinished(outcome="finished")))
    return sorted(lines, key=lambda line: line[0])


def _round_of(
    peer: int, round_: int, neighbours: list[int], sketch: np.ndarray, rng: np.random.Generator
) -> list[Line]:
    name, size = name_of(peer), int(rng.integers(1800, 2600))
    epsilon = 2.5 * round_**0.5
    lines: list[Line] = [
        (round_ + 0.1, name, released(round=round_, epsilon=epsilon)),
        (
            round_ + 0.2,
            name,
            Published(
                round=round_,
                sequence=round_,
                state=state_of(peer, round_),
                size_bytes=size,
                captured=0.99,
            ),
        ),
    ]
    for other in neighbours:
        news = {"message": "news", "author": id_of(peer), "sequence": round_}
        lines.append((round_ + 0.3, name, Sent(to=id_of(other), size_bytes=size, **news)))  # type: ignore[arg-type]
        heard = Received(
            sender=id_of(peer),
            size_bytes=size,
            road="delta",
            state=state_of(peer, round_),
            **news,  # type: ignore[arg-type]
        )
        lines.append((round_ + 0.4, name_of(other), heard))
    weights = {id_of(other): 1 / (1 + len(neighbours)) for other in neighbours}
    lines.append((round_ + 0.8, name, mixed(round_, neighbours=weights)))
    lines.append((round_ + 0.8, name, sketched(round_, sketch)))
    return lines
