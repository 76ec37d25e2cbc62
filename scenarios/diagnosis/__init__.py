"""What a good operator would notice in a run's logs, named and with the lines that show it.

    from tidings.scenarios.diagnosis import diagnose
    for finding in diagnose(tally): ...

Rules look at a tally (scenarios/tally.py), so a diagnosis costs no further reading of the logs and
can be made of a run that is still going. A rule says nothing where it cannot tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..tally import Tally
from .budget import budgets
from .finding import Evidence, Finding, Kind
from .honesty import equivocators, outliers
from .links import absences, partitions
from .mixing import skewed_labels, sparse_graphs, split_graphs
from .observed import Observed
from .pace import slow_links, stragglers, wrong_clocks

__all__ = ["Evidence", "Finding", "Kind", "diagnose"]

Rule = Callable[[Observed], Iterator[Finding]]

RULES: tuple[Rule, ...] = (
    equivocators,
    outliers,
    partitions,
    absences,
    stragglers,
    slow_links,
    wrong_clocks,
    budgets,
    split_graphs,
    sparse_graphs,
    skewed_labels,
)
# What follows from a finding is not told beside it.
FOLLOWS: dict[Kind, tuple[Kind, ...]] = {
    "equivocator": ("outlier", "label-skew", "sparse-graph", "silent-peer"),
    "outlier": ("label-skew", "sparse-graph"),
    "partition": ("split-graph", "sparse-graph"),
    "split-graph": ("sparse-graph",),
}


def diagnose(tally: Tally) -> tuple[Finding, ...]:
    """All findings, the gravest first; none for a run in which all is well."""
    seen = Observed(tally)
    found: list[Finding] = []
    for rule in RULES:
        implied = {kind for finding in found for kind in FOLLOWS.get(finding.kind, ())}
        found += [finding for finding in rule(seen) if finding.kind not in implied]
    return tuple(found)
