"""Who works on the rows of a network: what a run asks of a process, of some, or of a cluster."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ....gossip.grid import FloatVector, GridVector
from .checkpoint import Memory
from .graph import Weights
from .rounds import Publication
from .tape import Nodes, Wave
from .workers import Scores


class Crew(Protocol):
    """Whoever holds the models and public copies of all nodes, and works on them.

    What comes of it is the same to the bit, however the work is shared out.
    """

    def publish(self, wave: Wave) -> Publication:
        """Let the nodes of a wave train and publish."""
        ...

    def mix(self, wave: Wave, weights: Weights) -> Weights:
        """Let the nodes of a wave mix; see ``mixing.mix``."""
        ...

    def rejoin(self, wave: Wave, shares: Weights) -> Weights:
        """Let the nodes of a wave go on from what others have; see ``rounds.rejoin``."""
        ...

    def evaluate(self, nodes: Nodes) -> Scores:
        """Test the models of some nodes."""
        ...

    def gamma(self, nodes: Nodes) -> NDArray[np.float64]:
        """The step sizes (n,) of mixing that follow from the last releases of some nodes."""
        ...

    def models(self, nodes: Nodes) -> FloatVector:
        """The private models (n, P) of some nodes."""
        ...

    def copies(self, nodes: Nodes) -> GridVector:
        """The public copies (n, V P) of some nodes."""
        ...

    def alignments(self, wave: Wave) -> NDArray[np.float64]:
        """What the nodes of a wave note of those whom they hear, before they mix: (B, K)."""
        ...

    def distance(self) -> float:
        """How far the models are from agreement: see ``measures.consensus_distance``."""
        ...

    def memory(self) -> Memory:
        """All that a run is carried on from, by name."""
        ...

    def take_up(self, memory: Memory) -> None:
        """Carry on from what ``memory()`` gave, now that a checkpoint has been read into it."""
        ...

    def cpu_s(self) -> float:
        """CPU seconds that all processes together have spent so far."""
        ...

    def close(self) -> None:
        """Let helpers go."""
        ...
