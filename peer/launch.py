"""From a peer's folder to a running node."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from ..crypto.ledger import Ledger
from ..gossip.events import Event, TransportWarning
from ..gossip.rules import Rules
from ..gossip.state import State
from .admission_watch import watch_admission
from .assembly import check_model, make_state, make_trainer
from .clock import wall_time
from .costs import Remembered
from .event_log import EventLog
from .folder import PeerFolder
from .learners.spec import build_learner
from .metrics import Metrics
from .metrics_server import serve
from .node import Node, root_cause
from .status import status_of
from .store import Store
from .transports.base import Transport
from .transports.chosen import transport_of

__all__ = ["opened", "root_cause", "run_peer"]

Task = Callable[[], Coroutine[Any, Any, None]]
# A learner's thread may hold the interpreter this long while a frame waits; Python's own 5 ms
# are longer than news take on a local line.
SWITCH_S = 0.0005
STOP_S = 3.0  # how long a learner that is at work when the peer is stopped is waited for


@contextmanager
def opened(
    folder: PeerFolder,
    *,
    transport: Callable[[State], Transport] | None = None,
    wrap: Callable[[State, Transport], Transport] = lambda state, transport: transport,
    on_asyncio: bool = False,
    watch: Callable[[Event], None] = lambda event: None,
) -> Iterator[Node]:
    """The node of a folder, which stays locked for as long as it is open.

    ``transport`` makes another than the configuration names (tests, and peers that share a
    process); ``wrap`` puts something around either; with ``on_asyncio`` one that needs trio gets a
    thread for it; ``watch`` sees each event. Raises any TidingsError that says what is wrong with
    the folder.
    """
    sys.setswitchinterval(SWITCH_S)
    with folder.running():
        folder.must_be_here()
        config, admission, identity = folder.config(), folder.admission(), folder.identity()
        rules = Rules.model_validate(admission.network.rules)
        learner = build_learner(config.learner, folder=folder.path)
        genesis = check_model(learner, admission.network, rules)
        with (
            closing(Ledger(folder.database_file)) as ledger,
            closing(Store(folder.database_file, identity.verify_key)) as store,
            closing(EventLog(folder.events_file, config.log)) as log,
        ):
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
                # a folder put back from a backup must not number its messages as before
                boot=store.next_boot(at_least=int(wall_time())),
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
                composition=Remembered(folder.costs_file),
            )

            def warn(what: str) -> None:
                event = TransportWarning(what=what)
                log.write(event, time=wall_time(), peer=config.name)
                watch(event)

            def make_transport() -> Transport:
                if transport is not None:
                    return wrap(state, transport(state))
                made = transport_of(config, state, folder.path, warn)
                if on_asyncio and made.backend == "trio":
                    from .transports.trio_thread import TrioThread

                    made = TrioThread(made)
                return wrap(state, made)

            node = Node(
                name=config.name,
                state=state,
                trainer=trainer,
                store=store,
                log=log,
                transport=make_transport,
                peers=config.addresses(),
                announce=config.announce,
                sleep=config.sleep,
                watch=watch,
            )
            try:
                yield node
            finally:
                node.at_rest.wait(STOP_S)


def run_peer(path: Path, watch: Callable[[Event], None] = lambda event: None) -> None:
    """Run the peer in a folder until SIGINT or SIGTERM; it carries on where it was stopped.

    ``watch`` sees each event after it was noted in the log.
    """
    folder = PeerFolder.open(path)
    place = folder.config().metrics.place()
    metrics = Metrics(status_of(folder)) if place is not None else None

    def see(event: Event) -> None:
        watch(event)
        if metrics is not None:
            metrics.see(event)

    with opened(folder, watch=see) as node:
        tasks: list[Task] = [node.run, partial(watch_admission, folder, node)]
        if metrics is not None and place is not None:
            tasks.append(partial(serve, metrics, place))
        backend = node.transport.backend
        anyio.run(_until_stopped, tasks, backend="asyncio" if backend == "any" else backend)
    if not node.at_rest.is_set():
        # A learner cannot be interrupted. All that is stored survives a kill, so this is one.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


async def _until_stopped(tasks: Sequence[Task]) -> None:
    try:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with anyio.create_task_group() as group:
                for task in tasks:
                    group.start_soon(task)
                async for _ in signals:
                    group.cancel_scope.cancel()
    except BaseExceptionGroup as errors:
        raise root_cause(errors) from None
