"""A scenario file: who learns what, on which data, by which rules, and what goes wrong."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..crypto.errors import ConfigError
from ..crypto.privacy_settings import PrivacySettings
from ..gossip.rules import Rules
from ..peer.config import Name
from ..peer.graphs import with_edges
from ..peer.learners.base import TrainingPlan
from ..peer.learners.spec import LearnerConfig
from ..peer.settings_files import apply_sets, check_settings, parse_toml, read_toml
from .brokers import BrokerKind
from .faults import Faults
from .partitions import PartitionRule

Arm = Literal["gossip", "local", "pooled", "fedavg", "all-reduce"]


class TaskConfig(BaseModel):
    """The data set that is shared out; ``dataset`` is ``package.module:function``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str = "tidings.scenarios.tasks:digits"
    dataset_args: dict[str, Any] = {}


class FedAvgConfig(BaseModel):
    """The arm ``fedavg``; ``participation`` is the share of the peers that train in each round."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    participation: float = Field(default=1.0, gt=0, le=1)


class Scenario(BaseModel):
    """What ``tidings run`` carries out.

    ``seed`` decides everything that is chance: data split, partition, initial model, batches,
    and, in the simulator, noise, delays and keys. ``arms`` runs the same scenario several ways
    and compares them: peers that gossip, and the baselines (arms.py).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    description: str = ""
    peers: int = Field(default=10, ge=1, le=1_000_000)
    seed: int = Field(default=1, ge=0, lt=2**63)
    engine: Literal["live", "sim", "array", "ray"] = "live"
    transport: Literal["libp2p", "mqtt", "mixed", "memory"] = "libp2p"
    broker: BrokerKind = "embedded"
    arms: tuple[Arm, ...] = ("gossip",)
    task: TaskConfig = TaskConfig()
    partition: PartitionRule = PartitionRule()
    learner: LearnerConfig
    training: TrainingPlan = TrainingPlan()
    privacy: PrivacySettings = PrivacySettings()
    rules: Rules = Rules()
    faults: Faults = Faults()
    fedavg: FedAvgConfig = FedAvgConfig()

    @model_validator(mode="after")
    def _consistent(self) -> Scenario:
        if self.rules.topology.nodes != self.peers:
            raise ValueError(
                f"rules.topology.nodes is {self.rules.topology.nodes}, peers is {self.peers}; "
                "leave topology.nodes out"
            )
        strangers = sorted(node for node in self.faults.nodes() if node >= self.peers)
        if strangers:
            raise ValueError(f"[faults] names node {strangers[0]}; there are 0..{self.peers - 1}")
        if not self.arms or len(set(self.arms)) != len(self.arms):
            raise ValueError("arms must name each way to run once, and at least one")
        return self

    def names(self) -> list[str]:
        """The peers' names, by node number."""
        width = len(str(self.peers - 1))
        return [f"peer-{index:0{width}d}" for index in range(self.peers)]


def bundled() -> dict[str, str]:
    """The scenario files that come with the package: name -> TOML text."""
    folder = resources.files(__package__) / "bundled"
    return {
        entry.name.removesuffix(".toml"): entry.read_text(encoding="utf-8")
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".toml")
    }


def load_scenario(
    name_or_path: str,
    sets: tuple[str, ...] = (),
    options: Mapping[str, str | int] | None = None,
) -> Scenario:
    """The bundled scenario of that name, or the one in that file, with what overrides it.

    ``sets`` are the ``key=value`` of ``--set``, ``options`` are top-level settings that have an
    option of their own, such as ``--seed``; these win. Raises ConfigError: no such scenario, or
    a setting that does not fit.
    """
    mapping, where = read_scenario(name_or_path)
    mapping = apply_sets(mapping, sets) | dict(options or {})
    overrides = [f"--set {one}" for one in sets]
    overrides += [f"--{key} {value}" for key, value in (options or {}).items()]
    if overrides:
        where = f"{where} with {' '.join(overrides)}"
    folder = Path() if name_or_path in bundled() else Path(name_or_path).parent
    return resolve_scenario(mapping, where=where, folder=folder)


def read_scenario(name_or_path: str, *, beside: Path = Path()) -> tuple[dict[str, Any], str]:
    """The settings of a bundled scenario or of a file as they stand, and where that is.

    A relative path starts from the folder ``beside``. Raises ConfigError: there is none.
    """
    texts = bundled()
    if name_or_path in texts:
        where = f"bundled scenario '{name_or_path}'"
        return parse_toml(texts[name_or_path], where=where), where
    if Path(name_or_path).suffix == ".toml" or "/" in name_or_path:
        return read_toml(beside / name_or_path), str(beside / name_or_path)
    near = difflib.get_close_matches(name_or_path, texts, n=1)
    raise ConfigError(
        f"there is no scenario '{name_or_path}'",
        fix=f"did you mean '{near[0]}'?" if near else f"bundled ones: {', '.join(texts)}",
    )


def resolve_scenario(mapping: Mapping[str, Any], *, where: str, folder: Path = Path()) -> Scenario:
    """The settings as a scenario, with what follows from them filled in.

    A file that they name is sought from ``folder``. Raises ConfigError.
    """
    filled = copy.deepcopy(dict(mapping))
    _fill_in(filled)
    scenario = check_settings(Scenario, filled, where=where)
    return scenario.model_copy(update={"rules": with_edges(scenario.rules, folder)})


def _fill_in(mapping: dict[str, Any]) -> None:
    """What follows from other settings, so that nobody has to write it twice."""
    peers = mapping.get("peers", 10)
    rules = _table(mapping, "rules")
    topology = _table(rules, "topology")
    if isinstance(peers, int) and peers > 0:  # anything else is told once, where it stands
        topology.setdefault("nodes", peers)
    if rules.get("averaging", "public-copies") != "public-copies":
        rules.setdefault("compression", "none")
    if rules.get("averaging") == "pairwise":
        rules.setdefault("pace", "asynchronous")
    topology.setdefault("kind", _graph_for(rules))
    # noise is paid for step by step, so under DP-SGD one large step a round is the best use of it
    private = _table(mapping, "privacy").get("mode", "record") == "record"
    _table(mapping, "training").setdefault("local_steps", 1 if private else 5)


def _graph_for(rules: Mapping[str, Any]) -> str:
    """The graph of a scenario that names none.

    All its peers are known, so each can send to one other in turn: decision 15.
    """
    averaging = str(rules.get("averaging", "public-copies"))
    if averaging in _GRAPHS:
        return _GRAPHS[averaging]
    if rules.get("weighting") == "samples":
        return "base"  # needs neighbours that hear each other
    if rules.get("pace") == "asynchronous" or rules.get("robust", "none") != "none":
        return "exponential"  # there are no turns; or one neighbour alone cannot be found out
    return "one-peer-exponential"


_GRAPHS = {"push-sum": "exponential", "relay": "binary-tree", "pairwise": "random-regular"}


def _table(mapping: dict[str, Any], name: str) -> dict[str, Any]:
    table = mapping.setdefault(name, {})
    # what is not a table is left for the check, which says so
    return table if isinstance(table, dict) else {}
