"""The rule that says which graph a network's members form."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Kind = Literal[
    "none",
    "ring",
    "torus",
    "hypercube",
    "star",
    "path",
    "binary-tree",
    "complete",
    "two-cliques",
    "exponential",
    "one-peer-exponential",
    "base",
    "random-regular",
    "random-matching",
    "epidemic",
    "erdos-renyi",
    "watts-strogatz",
    "barabasi-albert",
    "edges",
    "directed-edges",
]

DIRECTED: frozenset[Kind] = frozenset(
    {"exponential", "one-peer-exponential", "epidemic", "directed-edges"}
)
CHANGING: frozenset[Kind] = frozenset(
    {"one-peer-exponential", "base", "random-matching", "epidemic"}
)
GIVEN: frozenset[Kind] = frozenset({"edges", "directed-edges"})
"""What is nothing but its edges."""
DRAWN: frozenset[Kind] = frozenset({"erdos-renyi", "watts-strogatz", "barabasi-albert"})
"""What networkx draws: becomes edges when a network file is made or a scenario is read."""

_DEGREES: dict[Kind, int] = {
    "random-regular": 4,
    "base": 1,
    "epidemic": 2,
    "watts-strogatz": 4,
    "barabasi-albert": 2,
}
_BELOW_NODES: frozenset[Kind] = frozenset(
    {"random-regular", "epidemic", "watts-strogatz", "barabasi-albert"}
)


MOST_LINKS = 20_000_000  # in one round: some 300 MB


class TopologyRule(BaseModel):
    """Which graph the members form; node numbers are the indices in their certificates.

    ``degree`` is of random-regular the number of neighbours, of base the k of Base-(k+1), of
    epidemic how many each node tells, of watts-strogatz the neighbours on the ring before rewiring,
    of barabasi-albert the links that a newcomer makes, of erdos-renyi the mean. The first end of
    one of the directed-edges tells the second. ``period`` is of random-matching and epidemic: after
    so many rounds the graphs come again. Left out, both are what
    ``chosen_degree`` and ``chosen_period`` say.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind = "exponential"
    nodes: int = Field(default=10, ge=1)
    degree: int | None = Field(default=None, ge=1)
    period: int | None = Field(default=None, ge=1, le=1_000_000)
    rewire: float = Field(default=0.1, ge=0, le=1, description="share, of watts-strogatz")
    seed: int = Field(default=0, ge=0, description="of the random kinds")
    edges: tuple[tuple[int, int], ...] = ()
    file: str | None = Field(default=None, description="GraphML or edge list, instead of edges")

    @property
    def chosen_degree(self) -> int:
        """The degree, or what stands for it; erdos-renyi is then nearly always connected."""
        if self.degree is not None:
            return self.degree
        if self.kind == "erdos-renyi":
            return min(self.nodes - 1, math.ceil(2 * math.log(self.nodes)))
        return _DEGREES.get(self.kind, 1)

    @property
    def chosen_period(self) -> int:
        """The period, or twice log2 of the nodes: few links for a peer, and news reaches all."""
        return self.period or 2 * max(1, (self.nodes - 1).bit_length())

    @property
    def is_drawn(self) -> bool:
        """Whether the graph still has to be drawn or read: see ``edges``."""
        waits = self.kind in DRAWN or self.file is not None
        return waits and not self.edges and self.nodes > 1

    @model_validator(mode="after")
    def _edges_fit(self) -> TopologyRule:
        if self.file is not None and (self.edges or self.kind != "edges"):
            raise ValueError("'file' goes with kind 'edges', and stands instead of 'edges'")
        if self.kind in GIVEN and self.file is None and not self.edges and self.nodes > 1:
            also = ", or a file" if self.kind == "edges" else ""
            raise ValueError(
                f"topology kind '{self.kind}' needs a list of edges, such as [[0, 1], [1, 2]]{also}"
            )
        if self.edges and self.kind not in GIVEN | DRAWN:
            raise ValueError(f"topology kind '{self.kind}' makes its own edges; remove 'edges'")
        for a, b in self.edges:
            if not (0 <= a < self.nodes and 0 <= b < self.nodes) or a == b:
                raise ValueError(
                    f"edge [{a}, {b}] must join two different nodes of 0..{self.nodes - 1}"
                )
        return self

    @model_validator(mode="after")
    def _nodes_fit(self) -> TopologyRule:
        n, degree = self.nodes, self.chosen_degree
        links = n * {"complete": n - 1, "two-cliques": n // 2}.get(self.kind, degree)
        if links > MOST_LINKS:
            raise ValueError(
                f"{self.kind} of {n} nodes has {links} links; {MOST_LINKS} fit memory, "
                "so take a sparser kind"
            )
        if self.kind == "hypercube" and n & (n - 1):
            below = 1 << (n.bit_length() - 1)
            raise ValueError(
                f"a hypercube has a power of two of nodes: {below} or {2 * below}, not {n}; "
                "kind 'base' takes any number"
            )
        if self.kind == "torus" and n > 1 and torus_sides(n)[0] == 1:
            raise ValueError(
                f"{n} nodes make no torus, for {n} is prime; take {max(4, n + 1)}, or kind 'ring'"
            )
        if self.kind in _BELOW_NODES and degree >= n:
            raise ValueError(f"degree {degree} needs more than {n} nodes")
        if self.kind == "random-regular" and degree * n % 2:
            raise ValueError("degree x nodes must be even for a random regular graph")
        if self.kind == "watts-strogatz" and degree % 2:
            raise ValueError("the degree of watts-strogatz is even: as many on either side")
        return self


def torus_sides(nodes: int) -> tuple[int, int]:
    """The sides (a, b), a <= b, of the torus of so many nodes that is the nearest to a square."""
    a = next(a for a in range(math.isqrt(nodes), 0, -1) if nodes % a == 0)
    return a, nodes // a
