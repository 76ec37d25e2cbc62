"""What the array engine notes: the events that the peers of a simulation would have noted.

A small network's are lines (``line_chronicle``), ten thousand peers' are tables
(``table_chronicle``). Frames that only arrange things (hellos, heads, pulls) are not simulated and
not noted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ....gossip.block_mixing import Sources
from ....gossip.events import Event
from ....gossip.grid import FloatVector, GridVector
from ...run_events import ConsensusMeasured, RoundDone
from .graph import Graph, Weights
from .rounds import Publication
from .tape import Nodes, Times
from .workers import Scores

Sink = Callable[[float, str, Event], None]  # takes a time, a peer's name and what it notes


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """Who mixed: ``nodes``, ``rounds`` and ``times`` (B,), ``neighbours`` (B, K) and their
    ``weights``, the ``versions`` that were mixed (NOBODY: missing), and ``gamma`` (B,).
    ``alignment`` (B, K) says whether neighbours pull where the others pull; None: nobody asked.
    """

    nodes: Nodes
    rounds: Nodes
    times: Times
    neighbours: Sources
    weights: Weights
    versions: NDArray[np.int64]
    gamma: NDArray[np.float64]
    alignment: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """Who came back: ``nodes``, ``from_rounds``, ``to_rounds`` and ``times`` (B,), ``neighbours``
    (B, K) and their ``weights`` in the mean that they go on from, and its ``versions`` (NOBODY: not
    in it).
    """

    nodes: Nodes
    from_rounds: Nodes
    to_rounds: Nodes
    times: Times
    neighbours: Sources
    weights: Weights
    versions: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """Frames that went to a neighbour each, (F,): from ``senders`` ``to`` whom, how large.

    ``message`` is what they bring, "news" or another; ``sequences`` and ``rounds`` are those of the
    entries that news bring up to, or that the frames go with.
    """

    message: str
    senders: Nodes
    to: Nodes
    sizes: NDArray[np.int64]
    sequences: Nodes
    rounds: Nodes
    times: Times


class Chronicle(Protocol):
    """Takes down what happens.

    ``sees_vectors`` says whether it looks at copies and models; where it does not, they need not
    be gathered and may be None.
    """

    sees_vectors: bool

    def began(self, parameters: int) -> None:
        """All peers start."""
        ...

    def skipped(self, done: Return) -> None:
        """Peers came back and joined the rounds of their neighbours."""
        ...

    def published(self, done: Publication, copies: GridVector | None) -> None:
        """Peers released and published; ``copies`` (n, P) are their new public copies."""
        ...

    def posted(self, frames: Posted) -> None:
        """Frames went out."""
        ...

    def mixed(self, done: Mixture, models: FloatVector | None) -> None:
        """Peers mixed; ``models`` (B, P) are what came of it."""
        ...

    def evaluated(self, nodes: Nodes, rounds: Nodes, times: Times, scores: Scores) -> None:
        """Models were tested."""
        ...

    def finished(
        self, nodes: Nodes, rounds: Nodes, times: Times, copies: GridVector | None
    ) -> None:
        """Peers have done all rounds; ``copies`` (n, P) are their public copies."""
        ...

    def told(self, time: float, event: RoundDone | ConsensusMeasured) -> None:
        """The engine has something to say about all peers."""
        ...

    def settle(self, until: float) -> None:
        """Nothing that happens before ``until`` is still to come."""
        ...

    def stopped(self, nodes: NDArray[np.bool_]) -> None:
        """These nodes (N,) were noted to train no more, in the run that this one carries on."""
        ...

    def flush(self) -> None:
        """Put what is known on the disk."""
        ...

    def close(self) -> None:
        """Put away what is still held."""
        ...


def posted(done: Publication, graph: Graph) -> Posted:
    """The frames of a publication, one to each that hears its author, as large as its delta; and
    the answers.
    """
    if done.heard_by is None:
        counts, to = graph.hearers(done.nodes, done.rounds)
    else:
        counts = np.array([len(each) for each in done.heard_by], dtype=np.int64)
        to = np.array([node for each in done.heard_by for node in each], dtype=np.int64)
    who = np.repeat(np.arange(len(done.nodes)), counts)
    senders, sizes = done.nodes[who], done.sizes[who]
    if done.answers is not None:
        answer = done.answers[who] > 0
        senders, to = np.append(senders, to[answer]), np.append(to, senders[answer])
        sizes = np.append(sizes, done.answers[who][answer])
        who = np.append(who, who[answer])
    return Posted(
        message=done.message,
        senders=senders,
        to=to,
        sizes=sizes,
        sequences=done.sequences[who],
        rounds=done.rounds[who],
        times=done.times[who],
    )
