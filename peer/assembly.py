"""Putting a peer's parts together: the same way for a folder on a board and a simulated node."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..crypto.accounting import HERE, Composition
from ..crypto.errors import ConfigError
from ..crypto.identity import Identity
from ..crypto.ledger import Ledger
from ..crypto.membership import Bulletin, Certificate
from ..crypto.network import NetworkFile
from ..crypto.privacy import PrivacyGate
from ..crypto.privacy_settings import PrivacySettings
from ..gossip.algorithms.chosen import algorithm_of
from ..gossip.factors import MOST_MATRICES
from ..gossip.grid import GridVector, from_grid, state_hash, to_grid
from ..gossip.publishing import largest_parameter
from ..gossip.rules import Rules
from ..gossip.state import Myself, State
from .learners.base import Learner, Model, TrainingPlan
from .training import Trainer

Entropy = Callable[[int], bytes]


def genesis_of(model: Model, seed: int, rules: Rules) -> GridVector:
    """The network's initial model on the grid, int32 (P,): where every feed starts."""
    return to_grid(model.initial(seed), rules.grid_bits)


def describe_model(model: Model, seed: int, rules: Rules) -> dict[str, int | str]:
    """What a network file says about the model that its members train."""
    return {
        "parameters": model.parameters,
        "fingerprint": model.fingerprint(),
        "seed": seed,
        "genesis": state_hash(genesis_of(model, seed, rules)).hex(),
    }


def with_shapes(rules: Rules, model: Model) -> Rules:
    """The rules with the shapes of the model's parameters, where its deltas are to be factored.

    Raises ConfigError when none of them is a matrix that factors of that rank are shorter than,
    or too many are for one message.
    """
    if rules.compression != "low-rank":
        return rules
    filled = rules.model_copy(update={"shapes": model.shapes})
    if all(matrix.columns == 1 for matrix in filled.layout):
        raise ConfigError(
            f"the model has no matrix that factors of rank {rules.rank} make half as long",
            where="rules.compression",
            fix="lower rules.rank, or use compression 'int4'",
        )
    matrices = len(filled.layout) * algorithm_of(rules).vectors
    if matrices > MOST_MATRICES:
        raise ConfigError(
            f"the model makes {matrices} matrices a message; the most are {MOST_MATRICES}",
            where="rules.compression",
            fix="use compression 'int4'",
        )
    return filled


def check_model(model: Model, network: NetworkFile, rules: Rules) -> GridVector:
    """The network's initial model, made by this peer's own `model`.

    Raises ConfigError when the peer's model is not the one that the network trains, or is too
    large for its frames.
    """
    if model.fingerprint() != network.model["fingerprint"]:
        raise ConfigError(
            f"the learner's model has {model.parameters} parameters of its own shapes; network "
            f"'{network.name}' trains another, of {network.model['parameters']} parameters",
            where="learner",
            fix="use the module and arguments that the network was created with",
        )
    numbers = model.parameters * algorithm_of(rules).vectors
    longest = numbers * 4 * 1001 // 1000 + 4096  # a snapshot that compresses not at all
    if longest > rules.max_frame_bytes:
        raise ConfigError(
            f"a model of {model.parameters} parameters may take frames of {longest} bytes; the "
            f"network's limit is {rules.max_frame_bytes}",
            where="rules.max_frame_bytes",
            fix="create the network with a higher limit",
        )
    genesis = genesis_of(model, int(network.model["seed"]), rules)
    if state_hash(genesis).hex() != network.model["genesis"]:
        raise ConfigError(
            "this machine makes another initial model from the network's seed",
            where="learner",
            fix="use the same version of the learner's library as the network's creator",
        )
    return genesis


def make_trainer(
    learner: Learner,
    *,
    privacy: PrivacySettings,
    plan: TrainingPlan,
    rules: Rules,
    ledger: Ledger,
    entropy: Entropy,
    composition: Composition = HERE,
) -> Trainer:
    """The learner behind its privacy gate.

    Raises ConfigError when the learner cannot train with this kind of privacy, or the budget
    cannot be met.
    """
    learner.prepare(per_example=privacy.mode == "record")
    gate = PrivacyGate(
        privacy,
        ledger,
        samples=learner.samples,
        planned_steps=rules.rounds * plan.local_steps,
        planned_releases=rules.rounds,
        entropy=entropy,
        composition=composition,
    )
    largest = largest_parameter(rules.grid_bits)
    return Trainer(learner=learner, gate=gate, plan=plan, largest=largest)


def make_state(
    *,
    identity: Identity,
    certificate: Certificate,
    bulletin: Bulletin,
    root_key: bytes,
    rules: Rules,
    genesis: GridVector,
    plan: TrainingPlan,
    samples: int,
    entropy: Entropy,
    boot: int,
    certificates: Iterable[Certificate] = (),
) -> State:
    """The protocol core's state of a peer that starts for the first time."""
    me = Myself(
        identity=identity,
        certificate=certificate,
        rules=rules,
        genesis=genesis,
        step_size=plan.learning_rate * plan.local_steps,
        samples=samples,
        entropy=entropy,
        boot=boot,
    )
    initial = from_grid(genesis, rules.grid_bits)
    state = State(
        me, initial=initial, certificates=certificates, bulletin=bulletin, root_key=root_key
    )
    if state.newest_key() is None:
        raise ConfigError(
            "the network's bulletin holds no group key for this peer",
            where="admission",
            fix="ask the network's owner to admit this peer (again)",
        )
    return state
