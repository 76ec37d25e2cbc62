"""From a peer's folder to a running node."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio

from ..crypto.errors import ConfigError
from ..crypto.ledger import Ledger
from ..gossip.rules import Rules
from ..gossip.state import State
from .assembly import check_model, make_state, make_trainer
from .config import PeerConfig
from .event_log import EventLog
from .folder import PeerFolder
from .learners.spec import build_learner
from .node import Node
from .store import Store
from .transports.base import Transport


@contextmanager
def opened(
    folder: PeerFolder,
    *,
    transport: Callable[[State], Transport] | None = None,
    finished: Callable[[], None] = lambda: None,
) -> Iterator[Node]:
    """The node of a folder, which stays locked for as long as it is open.

    ``transport`` makes another than the configuration names (tests, and peers that share a
    process). Raises any TidingsError that says what is wrong with the folder.
    """
    with folder.running():
        config, admission, identity = folder.config(), folder.admission(), folder.identity()
        rules = Rules.model_validate(admission.network.rules)
        learner = build_learner(config.learner, folder=folder.path)
        genesis = check_model(learner, admission.network, rules)
        store = Store(folder.database_file, identity.verify_key)
        ledger = Ledger(folder.database_file)
        state = make_state(
            identity=identity,
            certificate=admission.certificate,
            bulletin=admission.bulletin,
            root_key=admission.network.root_key,
            rules=rules,
            genesis=genesis,
            plan=config.training,
            samples=learner.samples,
            entropy=os.urandom,
            boot=store.next_boot(),
        )
        stored = store.load()
        if stored is not None:
            state.restore(*stored)
        trainer = make_trainer(
            learner,
            privacy=config.privacy,
            plan=config.training,
            rules=rules,
            ledger=ledger,
            entropy=os.urandom,
        )
        link = transport(state) if transport else _transport_of(config, state)
        link.seek(config.addresses())
        try:
            yield Node(
                name=config.name,
                state=state,
                trainer=trainer,
                store=store,
                log=EventLog(folder.events_file),
                transport=link,
                finished=finished,
            )
        finally:
            ledger.close()


def _transport_of(config: PeerConfig, state: State) -> Transport:
    if config.transport != "libp2p":
        raise ConfigError(
            f"a peer of its own cannot use transport '{config.transport}'",
            where="transport",
            fix='use transport = "libp2p"',
        )
    try:
        from .transports.libp2p_transport import Libp2pTransport
    except ImportError as error:
        raise ConfigError(
            "transport 'libp2p' needs a package that is not installed",
            where="transport",
            fix="pip install 'tidings[libp2p]'",
        ) from error
    return Libp2pTransport(state.me.identity.seed, config.listen, state.may_link)


def run_peer(path: Path) -> None:
    """Run the peer in a folder until SIGINT or SIGTERM; it carries on where it was stopped."""
    folder = PeerFolder.open(path)
    with opened(folder) as node:
        backend = node.transport.backend
        anyio.run(_until_stopped, node, backend="asyncio" if backend == "any" else backend)


async def _until_stopped(node: Node) -> None:
    try:
        async with anyio.create_task_group() as tasks:
            await tasks.start(node.run)
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for _ in signals:
                    tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise root_cause(group) from None


def root_cause(error: BaseException) -> BaseException:
    """The one error behind nested groups: what a person should be told."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
