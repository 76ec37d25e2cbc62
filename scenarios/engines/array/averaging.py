"""Averaging by sums and by meetings: what nodes make of their releases without public copies.

Training, the privacy gate and the log are those of all other rules. What a node released, put on
the grid, goes to one of the kernels of gossip/algorithms, and the mean that comes of it takes the
place of mixing, so all of it is post-processing. One process holds the sums, helpers train.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ....gossip.algorithms import pairwise, push_sum, relay
from ....gossip.algorithms.chosen import algorithm_of
from ....gossip.block_mixing import NOBODY
from ....gossip.encoded_size import encoded_sizes
from ....gossip.grid import FloatVector, GridVector, from_grid, to_grid
from ...scenario import Scenario
from .checkpoint import Memory
from .crew import Alone
from .graph import Graph, Weights
from .meetings import Meetings
from .rounds import Publication, turn_of
from .tape import Nodes, Wave
from .workers import Scores, Workers

VALUE_BYTES = 4  # of a float32 or a count on its way


@dataclass(frozen=True, slots=True, kw_only=True)
class Messages:
    """What goes out when nodes publish: its name in the log, and the bytes of each (n,).

    ``answers`` (n,) are the bytes of what whoever hears it sends back at once; 0: nothing.
    """

    name: str
    sizes: NDArray[np.int64]
    answers: NDArray[np.int64] | None = None


class Averaging(Protocol):
    """What all nodes hold, and what becomes of it when some publish and when some mix."""

    def publish(self, wave: Wave, before: GridVector, releases: GridVector) -> Messages:
        """Take up the ``releases`` (n, P) of nodes that trained from the models ``before`` (n, P).

        To be asked once for each wave, in their order.
        """
        ...

    def mix(self, wave: Wave, weights: Weights) -> tuple[FloatVector, Weights]:
        """The means (B, P) of the nodes that mix; the weights (B, K) that the others have in them.

        ``weights`` (B, K) are those of the graph, 0 for those who were not heard.
        """
        ...

    def memory(self) -> dict[str, NDArray[np.generic]]:
        """All that a run is carried on from, by name."""
        ...


class PushSum:
    """Stochastic gradient push; see gossip/algorithms/push_sum.py."""

    def __init__(self, graph: Graph, genesis: GridVector, grid_bits: int, spare: int) -> None:
        links = graph.topology.links(1)
        self._starts, self._hearers, self._grid_bits = links.starts, links.out_degrees, grid_bits
        self.state = push_sum.begin(np.tile(genesis, (graph.nodes, 1)), links, spare)

    def publish(self, wave: Wave, before: GridVector, releases: GridVector) -> Messages:
        """See ``Averaging``; what is sent is the way from the sum before to the new one."""
        nodes = wave.publish
        self.state.sent[wave.keep_in] = self.state.sent[wave.keep]
        push_sum.learn(self.state, nodes, releases - before)
        shares = push_sum.push(self.state, nodes, self._hearers[nodes])
        return Messages(name="sum", sizes=encoded_sizes(shares))

    def mix(self, wave: Wave, weights: Weights) -> tuple[FloatVector, Weights]:
        """See ``Averaging``."""
        for place, rows in enumerate(wave.sources.T):
            there = rows != NOBODY
            nodes = wave.mix[there]
            push_sum.take(self.state, nodes, self._starts[nodes] + place, rows[there])
        return push_sum.models(self.state, wave.mix, self._grid_bits), weights

    def memory(self) -> dict[str, NDArray[np.generic]]:
        """See ``Averaging``."""
        return {"mass": self.state.mass, "sent": self.state.sent, "got": self.state.got}


class Relay:
    """RelaySGD; see gossip/algorithms/relay.py."""

    def __init__(self, graph: Graph, genesis: GridVector, grid_bits: int) -> None:
        self._links, self._grid_bits = graph.topology.links(1), grid_bits
        self.state = relay.nothing_yet(self._links, genesis.size)
        self._own = np.tile(from_grid(genesis, grid_bits), (graph.nodes, 1))

    def publish(self, wave: Wave, before: GridVector, releases: GridVector) -> Messages:
        """See ``Averaging``; sums travel as float32, with the number of models in them."""
        own = self._own[wave.publish] = from_grid(releases, self._grid_bits)
        relay.tell(self.state, self._links, wave.publish, own)
        length = VALUE_BYTES * (own.shape[1] + 1)
        return Messages(name="sum", sizes=np.full(len(own), length))

    def mix(self, wave: Wave, weights: Weights) -> tuple[FloatVector, Weights]:
        """See ``Averaging``; a neighbour weighs as much as the models in what it told last."""
        nodes, place = np.nonzero(wave.sources != NOBODY)
        relay.hear(self.state, self._links.starts[wave.mix[nodes]] + place)
        mean, counts = relay.mean(self.state, self._links, wave.mix, self._own[wave.mix])
        used = np.zeros_like(weights)
        places = self._links.starts[wave.mix[nodes]] + place
        used[nodes, place] = self.state.heard_counts[places] / counts[nodes]
        return mean, used

    def memory(self) -> dict[str, NDArray[np.generic]]:
        """See ``Averaging``."""
        state = {field.name: getattr(self.state, field.name) for field in fields(self.state)}
        return {"own": self._own, **state}


class Pairwise:
    """AD-PSGD; see gossip/algorithms/pairwise.py."""

    def __init__(self, meetings: Meetings, genesis: GridVector, grid_bits: int) -> None:
        self._meetings, self._genesis, self._grid_bits = meetings, genesis, grid_bits
        self.held = np.tile(genesis, (meetings.nodes, 1))

    def publish(self, wave: Wave, before: GridVector, releases: GridVector) -> Messages:
        """See ``Averaging``; both send their models, whole."""
        nodes = wave.publish
        # others were met since the training began: what it changed is added to what came of that
        self.held[nodes] += releases - before
        others, answers = self._meetings.answers(nodes, wave.publish_rounds)
        return Messages(
            name="model",
            sizes=encoded_sizes(self.held[nodes] - self._genesis),
            answers=np.where(answers, encoded_sizes(self.held[others] - self._genesis), 0),
        )

    def mix(self, wave: Wave, weights: Weights) -> tuple[FloatVector, Weights]:
        """See ``Averaging``."""
        others = wave.sources[:, 0]
        met = others != NOBODY
        pairwise.meet(self.held, np.column_stack([wave.mix, others])[met])
        return from_grid(self.held[wave.mix], self._grid_bits), weights

    def memory(self) -> dict[str, NDArray[np.generic]]:
        """See ``Averaging``."""
        return {"held": self.held}


def averaging_of(
    scenario: Scenario, graph: Graph, genesis: GridVector, spare: int
) -> Averaging | None:
    """What averages the releases in a scenario; None where public copies are mixed."""
    bits = scenario.rules.grid_bits
    match scenario.rules.averaging:
        case "push-sum":
            return PushSum(graph, genesis, bits, spare)
        case "relay":
            return Relay(graph, genesis, bits)
        case "pairwise":
            assert isinstance(graph, Meetings)
            return Pairwise(graph, genesis, bits)
        case "public-copies":
            return None


class AveragingCrew(Alone):
    """A crew whose nodes mix by an ``averaging``; ``inner`` trains and tests them."""

    def __init__(
        self, inner: Alone, scenario: Scenario, workers: Workers, averaging: Averaging
    ) -> None:
        super().__init__(inner.arrays, scenario, workers)
        self._inner = inner
        self._rule = algorithm_of(scenario.rules)
        self.averaging = averaging

    def publish(self, wave: Wave) -> Publication:
        """Let the nodes of a wave train and publish."""
        before = to_grid(self.models(wave.publish), self._rules.grid_bits)
        done = self._inner.publish(wave)
        sent = self.averaging.publish(wave, before, self.arrays.public.rows(wave.publish))
        return replace(done, sizes=sent.sizes, message=sent.name, answers=sent.answers)

    def mix(self, wave: Wave, weights: Weights) -> Weights:
        """Let the nodes of a wave mix; the weights that were used."""
        mean, used = self.averaging.mix(wave, weights)
        vectors = mean[:, None]  # published and mixed alike: these rules look at the mixed one
        turn = turn_of(self.arrays, wave.mix, self._step_size)
        memory = self._rule.settle(turn, vectors, vectors)
        self.arrays.models.put(wave.mix, vectors)
        self.arrays.remembered.put(wave.mix, memory)
        return used

    def evaluate(self, nodes: Nodes) -> Scores:
        """Test the models of some nodes."""
        return self._inner.evaluate(nodes)

    def memory(self) -> Memory:
        """All that a run is carried on from, by name."""
        held = self.averaging.memory()
        own = {f"averaging.{name}": values for name, values in held.items()}
        return {**self._inner.memory(), **own}

    def cpu_s(self) -> float:
        """CPU seconds that all processes together have spent so far."""
        return self._inner.cpu_s()

    def close(self) -> None:
        """Let helpers go."""
        self._inner.close()
