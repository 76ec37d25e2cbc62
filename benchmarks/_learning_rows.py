"""The rows of benchmarks/learning.py: what is run, and what it should come to at least."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Sets = dict[str, Any]

PLAIN: Sets = {
    "name": "learning",
    "peers": 16,
    "learner.module": "tidings.scenarios.models:mlp",
    "privacy.mode": "none",
    "rules.rounds": 100,
}
"""A scenario that says nothing of optimiser, graph, learning rate or compression."""

AS_OTHERS: Sets = {"task.dataset": "_standardised:digits", "learner.module_args.hidden": 64}
"""The setting that others' figures are from, as far as it could be found out: see README.md."""

UNCOMPRESSED: Sets = {"rules.compression": "none"}
SGD: Sets = {"rules.optimiser": "sgd", **UNCOMPRESSED}


@dataclass(frozen=True, kw_only=True)
class Row:
    """A way to learn: the settings that make it from ``PLAIN``, or from a bundled scenario.

    ``expected`` are, for each alpha, the accuracies after 20 and 100 rounds and the rounds to 90 %
    that others have reached with it. Only the default is held to the learning rates that a scenario
    file gets when it names none.
    """

    table: str
    name: str
    sets: Sets = field(default_factory=dict)
    scenario: str | None = None
    arm: str = "gossip"
    alphas: tuple[float, ...] = (0.1, 0.5)
    rates: tuple[float, ...] = (0.2, 0.4)
    expected: tuple[tuple[float, float, float], ...] = ()


NEVER = float("inf")


def rows_of_default() -> list[Row]:
    """What a file gets that chooses nothing."""
    return [Row(table="default", name="nothing chosen", rates=())]


def rows_of_rules() -> list[Row]:
    """Optimisers on a ring, and the baselines."""
    ring: Sets = {"rules.topology.kind": "ring", **UNCOMPRESSED, **AS_OTHERS}
    central: Sets = SGD | AS_OTHERS
    return [
        Row(
            table="rules",
            name="local only",
            sets=central,
            arm="local",
            expected=((0.347, 0.363, NEVER), (0.646, 0.669, NEVER)),
        ),
        Row(
            table="rules",
            name="D-PSGD, ring",
            sets=ring | SGD,
            expected=((0.698, 0.903, 90), (0.911, 0.961, 20)),
        ),
        Row(
            table="rules",
            name="... with local momentum",
            sets=ring | SGD | {"training.momentum": 0.9},
            expected=((0.761, 0.918, 75), (0.935, 0.961, 15)),
        ),
        Row(
            table="rules",
            name="QG-DSGDm, ring",
            sets=ring,
            expected=((0.820, 0.952, 35), (0.935, 0.967, 15)),
        ),
        Row(
            table="rules",
            name="K-GT, ring",
            sets=ring | {"rules.optimiser": "k-gt"},
            expected=((0.823, 0.958, 40), (0.903, 0.976, 20)),
        ),
        Row(
            table="rules",
            name="FedAvg",
            sets=central,
            arm="fedavg",
            expected=((0.913, 0.963, 20), (0.954, 0.981, 15)),
        ),
        Row(
            table="rules",
            name="pooled",
            sets=central,
            arm="pooled",
            expected=((0.934, 0.976, NEVER), (0.934, 0.976, NEVER)),
        ),
    ]


def rows_of_graphs() -> list[Row]:
    """Quasi-global momentum on graphs; of the expected figures only the rounds are known."""
    graphs: dict[str, tuple[Sets, float]] = {
        "ring": ({"kind": "ring"}, 40),
        "torus": ({"kind": "torus"}, 25),
        "exponential": ({"kind": "exponential"}, 20),
        "one-peer exponential": ({"kind": "one-peer-exponential"}, 30),
        "base-2": ({"kind": "base", "degree": 1}, 30),
        "random matching": ({"kind": "random-matching"}, 35),
        "complete": ({"kind": "complete"}, 20),
    }
    return [
        Row(
            table="graphs",
            name=name,
            sets={"rules.topology": rule, **UNCOMPRESSED, **AS_OTHERS},
            alphas=(0.1,),
            expected=((0.0, 0.0, rounds),),
        )
        for name, (rule, rounds) in graphs.items()
    ]


def rows_of_compression() -> list[Row]:
    """What is kept of accuracy when less is sent, on the exponential graph."""
    rows: list[tuple[str, Sets, tuple[tuple[float, float, float], ...]]] = [
        ("uncompressed", UNCOMPRESSED, ((0.904, 0.959, 20), (0.950, 0.969, 10))),
        (
            "int4, restart",
            {"rules.compression": "int4"},
            ((0.896, 0.958, 25), (0.913, 0.969, 20)),
        ),
        ("top 25 % int8, feedback", _top(0.25, True), ((0.905, 0.953, 20), (0.947, 0.967, 10))),
        ("top 25 % int8, restart", _top(0.25, False), ((0.895, 0.958, 25), (0.936, 0.969, 15))),
        ("top 5 % int8, feedback", _top(0.05, True), ((0.760, 0.926, 50), (0.890, 0.960, 25))),
        ("top 5 % int8, restart", _top(0.05, False), ((0.822, 0.940, 40), (0.927, 0.961, 15))),
        ("top 2 % int8, feedback", _top(0.02, True), ((0.572, 0.880, NEVER), (0.853, 0.946, 30))),
        ("top 2 % int8, restart", _top(0.02, False), ((0.605, 0.914, 85), (0.890, 0.952, 25))),
        ("rank 4, feedback", _rank(4, True), ()),
        ("rank 4, restart", _rank(4, False), ()),
        ("rank 2, feedback", _rank(2, True), ()),
        ("rank 2, restart", _rank(2, False), ()),
    ]
    graph: Sets = {"rules.topology.kind": "exponential", **AS_OTHERS}
    return [
        Row(table="compression", name=name, sets=graph | sets, expected=expected)
        for name, sets, expected in rows
    ]


def _top(share: float, feedback: bool) -> Sets:
    form = "feedback" if feedback else "restart"
    return {"rules.compression": "top-k-int8", "rules.keep": share, "rules.mixing": form}


def _rank(rank: int, feedback: bool) -> Sets:
    form = "feedback" if feedback else "restart"
    return {"rules.compression": "low-rank", "rules.rank": rank, "rules.mixing": form}


def rows_of_stability() -> list[Row]:
    """Every rule with the strong compressions and both forms of mixing: none may diverge."""
    compressions: dict[str, Sets] = {
        "int4": {"rules.compression": "int4"},
        "sign": {"rules.compression": "sign"},
        "top 2 %": {"rules.compression": "top-k-int8", "rules.keep": 0.02},
        "random 2 %": {"rules.compression": "random-k-int8", "rules.keep": 0.02},
        "rank 4": {"rules.compression": "low-rank"},
    }
    return [
        Row(
            table="stability",
            name=f"{optimiser}, {name}, {mixing}",
            sets={"rules.optimiser": optimiser, "rules.mixing": mixing, **sets},
            alphas=(0.1,),
            rates=(),
        )
        for optimiser in ("sgd", "qg-dsgdm", "k-gt", "beer", "outer-momentum")
        for name, sets in compressions.items()
        for mixing in ("restart", "feedback")
    ]


def rows_of_bytes() -> list[Row]:
    """Uncompressed D-PSGD against the bundled scenario `frugal`."""
    ring: Sets = {"rules.topology.kind": "ring", **SGD}
    tasks: dict[str, Sets] = {
        "digits": {},
        "digits28": {
            "task.dataset": "tidings.scenarios.tasks:digits28",
            "learner.module": "tidings.scenarios.models:mlp28",
        },
    }
    # a model of twenty times the parameters, on harder data
    longer: dict[str, Sets] = {
        "digits": {},
        "digits28": {"training.learning_rate": 0.5, "rules.rounds": 22},
    }
    rows = []
    for task, sets in tasks.items():
        rows += [
            Row(
                table="bytes",
                name=f"{task}: D-PSGD, ring",
                sets=ring | sets,
                alphas=(0.5,),
                rates=(0.2, 0.5, 1.0),
            ),
            Row(
                table="bytes",
                name=f"{task}: frugal",
                sets=sets | longer[task],
                scenario="frugal",
                alphas=(0.5,),
                rates=(),
            ),
        ]
    return rows


ROWS: list[Row] = [
    *rows_of_default(),
    *rows_of_rules(),
    *rows_of_graphs(),
    *rows_of_compression(),
    *rows_of_stability(),
    *rows_of_bytes(),
]
