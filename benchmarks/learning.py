"""How well the gossip rules, graphs and compressions learn: rounds, messages and bytes to accuracy.

    python benchmarks/learning.py                                # every table, as in README.md
    python benchmarks/learning.py --rows default bytes           # the rows that hold these words
    python benchmarks/learning.py --rows compression --rates 0.2 0.5 1.0 --seeds 1 2 3

Digits, 16 peers, a multilayer perceptron 64-32-10, batches of 32, no privacy, on the array engine;
5 local steps and 100 rounds unless a row says otherwise. Figures are means over seeds and peers;
bytes are those of whole frames, with headers, signatures and seals. Of several learning rates each
row shows the one that ends best. Exit code 1 when a requirement is missed or a run diverges.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tidings.scenarios.curves import Curve, learning_curve
from tidings.scenarios.scenario import load_scenario, resolve_scenario

GOAL, EARLY, CHANCE = 0.9, 20, 0.12

PLAIN: dict[str, Any] = {
    "name": "learning",
    "peers": 16,
    "partition": {"kind": "dirichlet"},
    "learner": {"module": "tidings.scenarios.models:mlp"},
    "privacy": {"mode": "none"},
    "rules": {"rounds": 100},
}
"""A scenario that says nothing of optimiser, graph, learning rate or compression."""


@dataclass(frozen=True)
class Row:
    """A way to learn: what it is called, and the settings that make it."""

    table: str
    name: str
    sets: dict[str, Any] = field(default_factory=dict)
    arm: str = "gossip"
    alphas: tuple[float, ...] = (0.1, 0.5)
    rates: tuple[float, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of a row at one learning rate: means over the seeds, and the spread in the end.

    ``rounds_to_goal`` and ``messages_to_goal`` are infinite where a seed never came so far;
    ``worst_to_goal`` is the most messages that a seed took.
    """

    table: str
    name: str
    alpha: float
    rate: float
    early: float
    late: float
    spread: float
    rounds_to_goal: float
    messages_to_goal: float
    worst_to_goal: float
    messages: float
    wire_bytes: float
    diverged: int


def rows_of_rules() -> list[Row]:
    """Optimisers on a ring, and the baselines."""
    ring = {"topology.kind": "ring", "compression": "none"}
    sgd = {"optimiser": "sgd"}
    return [
        Row("rules", "local only", {**sgd, "compression": "none"}, "local"),
        Row("rules", "D-PSGD, ring", {**ring, **sgd}),
        Row("rules", "with local momentum", {**ring, **sgd, "training.momentum": 0.9}),
        Row("rules", "QG-DSGDm, ring", ring),
        Row("rules", "K-GT, ring", {**ring, "optimiser": "k-gt"}),
        Row("rules", "FedAvg", arm="fedavg"),
        Row("rules", "pooled", {**sgd, "compression": "none"}, "pooled"),
    ]


def rows_of_graphs() -> list[Row]:
    """Quasi-global momentum on graphs."""
    graphs: dict[str, dict[str, Any]] = {
        "ring": {"kind": "ring"},
        "torus": {"kind": "torus"},
        "exponential": {"kind": "exponential"},
        "one-peer exponential": {"kind": "one-peer-exponential"},
        "base-2": {"kind": "base", "degree": 1},
        "random matching": {"kind": "random-matching"},
        "complete": {"kind": "complete"},
    }
    return [
        Row("graphs", name, {"topology": rule, "compression": "none"}, alphas=(0.1,))
        for name, rule in graphs.items()
    ]


def rows_of_compression() -> list[Row]:
    """What is kept of accuracy when less is sent."""
    kinds: dict[str, dict[str, Any]] = {
        "uncompressed": {"compression": "none"},
        "int4, restart": {"compression": "int4"},
        "top 25 % int8, feedback": _top(0.25, "feedback"),
        "top 25 % int8, restart": _top(0.25, "restart"),
        "top 5 % int8, feedback": _top(0.05, "feedback"),
        "top 5 % int8, restart": _top(0.05, "restart"),
        "top 2 % int8, feedback": _top(0.02, "feedback"),
        "top 2 % int8, restart": _top(0.02, "restart"),
    }
    exponential = {"topology.kind": "exponential"}
    return [Row("compression", name, {**exponential, **sets}) for name, sets in kinds.items()]


def _top(share: float, mixing: str) -> dict[str, Any]:
    return {"compression": "top-k-int8", "keep": share, "mixing": mixing}


def rows_of_stability() -> list[Row]:
    """Every rule with every kind of compression and both forms of mixing: none may diverge."""
    compressions: dict[str, dict[str, Any]] = {
        "int4": {"compression": "int4"},
        "sign": {"compression": "sign"},
        "top 2 %": {"compression": "top-k-int8", "keep": 0.02},
        "random 2 %": {"compression": "random-k-int8", "keep": 0.02},
    }
    return [
        Row(
            "stability",
            f"{optimiser}, {name}, {mixing}",
            {"optimiser": optimiser, "mixing": mixing, **sets},
            alphas=(0.1,),
        )
        for optimiser in ("sgd", "qg-dsgdm", "k-gt", "beer", "outer-momentum")
        for name, sets in compressions.items()
        for mixing in ("restart", "feedback")
    ]


def rows_of_bytes() -> list[Row]:
    """Uncompressed D-PSGD against the bundled scenario `frugal`, which computes as much."""
    plain = {"optimiser": "sgd", "topology.kind": "ring", "compression": "none"}
    images = {
        "task.dataset": "tidings.scenarios.tasks:digits28",
        "learner.module": "tidings.scenarios.models:mlp28",
    }
    frugal = {key: FRUGAL.get(key) for key in ("training", "rules")}
    return [
        Row("bytes", "digits: D-PSGD, ring, uncompressed", plain, alphas=(0.5,)),
        Row("bytes", "digits: frugal", frugal, alphas=(0.5,)),
        Row("bytes", "digits28: D-PSGD, ring, uncompressed", {**images, **plain}, alphas=(0.5,)),
        Row("bytes", "digits28: frugal", {**images, **frugal}, alphas=(0.5,)),
    ]
