"""Whether a peer's folder and its machine are fit to run it: `tidings peer doctor`.

Nothing is changed but a small file that is written, synced and removed, and nothing is sent but
connects to the addresses in the configuration, and two messages to the broker that nobody acts
upon. What concerns the machine alone is in doctor_machine.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import anyio

from ..crypto.errors import MovedAway, StorageError, TidingsError
from ..crypto.ledger import Ledger
from ..gossip.rules import Rules
from ..gossip.topology import Topology
from . import doctor_machine as machine
from .assembly import check_model
from .broker import BrokerConfig
from .config import PeerConfig
from .doctor_check import Check, ok, problem, warning
from .folder import PeerFolder
from .learners.spec import build_learner, build_model
from .settings_files import check_settings
from .status import status_of

T = TypeVar("T")
NETWORK_WAIT_S = 3.0  # for one address to answer


def examine(folder: PeerFolder, *, wait_s: float = NETWORK_WAIT_S) -> list[Check]:
    """All checks of one peer, in the order in which they are mended best.

    No check raises for what it finds: that is what the checks tell.
    """
    found = [_settings(folder)]
    config = _try(folder.config)
    parameters, neighbours = _size(folder, config)
    found += machine.software(config)
    found.append(machine.clock(folder.path))
    found += machine.disk(folder.path, need_bytes=machine.disk_need(parameters, neighbours))
    found.append(machine.memory(machine.memory_need(parameters, neighbours, config)))
    found.append(_key(folder))
    found.append(_membership(folder))
    found.append(_ledger(folder))
    if config is not None:
        found.append(_learner(folder, config))
        found.append(_budget(folder))
    if config is not None and config.transport in ("libp2p", "gateway"):
        places = [place for known in config.addresses().values() for place in known]
        found.append(machine.listen(config.listen, runs=folder.is_running()))
        found += machine.reach(places, wait_s=wait_s)
    if config is not None and config.broker is not None:
        found.append(_broker(folder, config.broker, wait_s))
    return found


def _try(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except TidingsError:
        return None


def _settings(folder: PeerFolder) -> Check:
    try:
        config = folder.config()
    except TidingsError as error:
        return _said("settings", error)
    return ok("settings", f"'{config.name}' over {config.transport}")


def _said(name: str, error: TidingsError) -> Check:
    where = f"{error.where}: " if error.where else ""
    return problem(name, f"{where}{error.what}", error.fix)


def _size(folder: PeerFolder, config: PeerConfig | None) -> tuple[int, int]:
    """The model's parameters and the number of feeds that this peer follows; 0 if unknown."""
    admission = _try(folder.admission)
    if admission is None:
        model = _try(lambda: build_model(config.learner)) if config is not None else None
        return (model.parameters if model is not None else 0), 0
    rules = _try(lambda: check_settings(Rules, admission.network.rules, where=""))
    if rules is None:
        return int(admission.network.model["parameters"]), 0
    neighbours = Topology(rules.topology).all_neighbours(admission.certificate.index)
    return int(admission.network.model["parameters"]), len(neighbours)


def _key(folder: PeerFolder) -> Check:
    try:
        folder.identity()
    except TidingsError as error:
        return _said("key", error)
    database = folder.database_file
    if machine.open_to_others(database):
        return problem(
            "key",
            f"{database} holds the private model, and others can read it",
            f"chmod 600 {database}",
        )
    return ok("key", "readable by its owner alone")


def _membership(folder: PeerFolder) -> Check:
    """Admission and bulletin: a member, not revoked, and able to open the group key."""
    try:
        admission = folder.admission()
        identity = folder.identity()
        check_settings(Rules, admission.network.rules, where=str(folder.admission_file))
        if identity.verify_key in admission.bulletin.revoked:
            return problem(
                "admission",
                f"the network's owner has revoked this peer (bulletin {admission.bulletin.serial})",
                "ask the owner; a new peer needs a new key: tidings peer init",
            )
        if admission.bulletin.group_key(identity) is None:
            return problem(
                "admission",
                "the bulletin holds no group key for this peer",
                "ask the network's owner to admit this peer again",
            )
    except TidingsError as error:
        return _said("admission", error)
    return ok(
        "admission",
        f"member {admission.certificate.index} of '{admission.network.name}', "
        f"bulletin {admission.bulletin.serial}",
    )


def _ledger(folder: PeerFolder) -> Check:
    if not folder.database_file.exists():
        return ok("ledger", "none yet: this peer has not run")
    try:
        ledger = Ledger(folder.database_file)  # opening verifies the whole chain
    except StorageError as error:
        return _said("ledger", error)
    try:
        ledger.must_be_here()
        rows, is_copy = len(ledger.entries()), ledger.is_copy()
    except MovedAway as error:
        return _said("ledger", error)
    finally:
        ledger.close()
    if is_copy:
        return problem(
            "ledger",
            "this folder is a copy: the original may still spend the same budget, so this one "
            "never trains",
            "run the original, or make a new peer: tidings peer init",
        )
    return ok("ledger", f"{rows} releases, the chain is whole, and it is where it was made")


def _learner(folder: PeerFolder, config: PeerConfig) -> Check:
    """The data can be read, and the model is the network's."""
    try:
        learner = build_learner(config.learner, folder=folder.path)
        learner.prepare(per_example=config.privacy.mode == "record")
        admission = _try(folder.admission)
        if admission is not None:
            rules = check_settings(Rules, admission.network.rules, where=str(folder.admission_file))
            check_model(learner, admission.network, rules)
    except TidingsError as error:
        return _said("learner", error)
    return ok("learner", f"{learner.parameters:,} parameters, {learner.samples:,} training records")


def _budget(folder: PeerFolder) -> Check:
    try:
        privacy = status_of(folder).privacy
    except TidingsError as error:
        return warning("budget", f"not known: {error.what}", "mend what is said above first")
    if privacy.spent is None or privacy.left is None or privacy.budget is None:
        return ok("budget", "releases are made without privacy, as peer.toml says")
    words = f"epsilon {privacy.spent:.3g} of {privacy.budget:g} spent"
    if privacy.left < 0.02 * privacy.budget:
        return warning(
            "budget",
            f"{words}: this peer trains no more, or hardly; it goes on mixing",
            "nothing, or raise privacy.epsilon in peer.toml if its data may bear that",
        )
    return ok("budget", words)


def _broker(folder: PeerFolder, config: BrokerConfig, wait_s: float) -> Check:
    """The broker's files can be read, it takes this peer's name and password, and delivers."""
    try:
        settings = config.settings(folder.path)
        settings.tls_context()
    except TidingsError as error:
        return _said("broker", error)
    except ImportError:
        return problem("broker", "aiomqtt is not installed", "pip install 'tidings[mqtt]'")
    found = machine.answers("broker", settings.host, settings.port, wait_s=wait_s)
    if found.outcome != "ok":
        fix = "is the broker running, and does a firewall let the port through?"
        return warning("broker", found.found, fix)
    admission = _try(folder.admission)
    if admission is None:
        untried = "name and password are tried once this peer is admitted"
        return ok("broker", f"{found.found}; {untried}")
    from .transports.mqtt.probe import probe

    certificate = admission.certificate
    try:
        anyio.run(
            partial(probe, settings, certificate.network_id, certificate.verify_key, wait_s),
            backend="asyncio",
        )
    except TidingsError as error:
        return _said("broker", error)
    return ok("broker", f"{found.found}, knows this peer's name and password, and delivers")


def worst(checks: list[Check]) -> str:
    """``problem``, ``warning`` or ``ok``: the worst of all."""
    outcomes = {each.outcome for each in checks}
    return next((each for each in ("problem", "warning") if each in outcomes), "ok")
