"""The ways to run a scenario that are compared: by gossip, and the baselines."""

from __future__ import annotations

from typing import Any, get_args

from ..crypto.errors import ConfigError
from .scenario import Arm, Scenario

CENTRAL = ("fedavg", "all-reduce")  # all models in one place; the array engine has them


def arm_of(scenario: Scenario, arm: str) -> Scenario:
    """The scenario run one way.

    ``gossip``: peers with their neighbours. ``local``: each alone. ``pooled``: one learner with all
    the data. ``fedavg``: a coordinator averages the models of a share of the peers, weighted by
    their records, after plain local SGD (McMahan et al. 2017). ``all-reduce``: every round ends
    with the mean of all models. Raises ConfigError for any other.
    """
    if arm == "gossip":
        return scenario.model_copy(update={"arms": ("gossip",)})
    if arm not in get_args(Arm):
        raise ConfigError(f"there is no arm '{arm}'", fix=f"arms are {', '.join(get_args(Arm))}")
    peers = 1 if arm == "pooled" else scenario.peers
    topology = scenario.rules.topology.model_copy(
        update={"kind": "none", "edges": (), "nodes": peers}
    )
    rules: dict[str, Any] = {"topology": topology, "averaging": "public-copies"}
    if arm in CENTRAL:
        rules |= {"compression": "none", "mixing": "restart"}
    if arm == "fedavg":
        rules |= {"optimiser": "sgd", "weighting": "samples"}
    # as many records in a step as all peers together use
    training = scenario.training.model_copy(
        update={"batch_size": scenario.training.batch_size * (scenario.peers // peers)}
    )
    # who speaks to no neighbour cannot be cut off or lied to, and a baseline is one where all goes
    # well; faults also name nodes of the whole network
    faults = scenario.faults.model_copy(
        update=dict.fromkeys(("cuts", "crashes", "links", "slow", "clocks", "liars"), ())
    )
    return scenario.model_copy(
        update={
            "arms": (arm,),
            "peers": peers,
            "rules": scenario.rules.model_copy(update=rules),
            "training": training,
            "faults": faults,
        }
    )
