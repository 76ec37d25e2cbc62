"""What a libp2p link costs: goodput against TLS, and how long news take to be mixed.

    python benchmarks/transports.py [--json]

Goodput: frames of 1 and 50 MB from one process to another on loopback, each answered by one byte
once it is there whole. Ours is a `Libp2pTransport` (TCP, Noise, yamux, frames); the other is
asyncio's streams over TLS 1.3, with the same four bytes of length before the same bytes. Both
links are open all the time and take turns, so whatever else the machine does hits both alike;
times are medians.

Latency: two whole peers, each `tidings peer run` but for its clock, in two processes, joined by
libp2p. Counted is the time from the later peer's `published` to the earlier one's `mixed`, which
has waited for it: send, checks, arithmetic and all. Once with a model of 100,000 parameters in
int8, whose news take 100 kB before entropy coding; once with news of 100 kB on the wire, of 68,000
parameters that are not compressed. It is given in round trips of 100 kB there and back over our
link, and for comparison over libp2p as it comes (one stream over Noise and yamux,
`_bare_libp2p.py`). Medians.

Exit code 1 when goodput is below half of TLS, or a latency above 3 round trips of our link.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

import _bare_libp2p
import anyio
import trio
from nacl.signing import SigningKey
from rich.console import Console
from rich.table import Table

from tidings import one_thread  # noqa: F401 - before anything that loads NumPy, as in `tidings`
from tidings.gossip.events import Event, Mixed, Published
from tidings.peer.folder import PeerFolder
from tidings.peer.launch import opened
from tidings.peer.transports.base import Delivery, Frame, LinkUp
from tidings.peer.transports.libp2p.transport import Libp2pTransport
from tidings.peer.transports.limits import Limits
from tidings.peer.transports.mqtt.certificates import make_certificates
from tidings.scenarios.engines.town import prepare
from tidings.scenarios.scenario import load_scenario

REPETITIONS = {1_000_000: 60, 50_000_000: 7}
NEWS_BYTES = 100_000
NEWS_REPETITIONS = 200
ROUNDS = 40
LEARNER = (
    'learner={{kind="torch", module="tidings.scenarios.models:mlp",'
    " module_args={{hidden={hidden}}},"
    ' loss="torch.nn:CrossEntropyLoss", dataset="tidings.scenarios.tasks:digits"}}'
)
NEWS = {"int8": 1333, "none": 900}  # compression, and how many hidden units; 75 parameters each
LEAST_GOODPUT = 0.5
MOST_ROUND_TRIPS = 3.0
# Of two peers the one with the smaller key dials; it is the one that sends here.
DIALS, LISTENS = sorted(
    (bytes([n]) * 32 for n in (1, 2)), key=lambda seed: bytes(SigningKey(seed).verify_key)
)
LOOPBACK = "/ip4/127.0.0.1/tcp/0"
ECHO_UP_TO = NEWS_BYTES  # longer frames are answered by one byte


@dataclass(frozen=True, slots=True, kw_only=True)
class Goodput:
    """MB/s for one size of frame."""

    size_bytes: int
    tls_mb_s: float
    libp2p_mb_s: float

    @property
    def ratio(self) -> float:
        return self.libp2p_mb_s / self.tls_mb_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Milliseconds for news of this size (the median of a run's)."""

    compression: str
    parameters: int
    size_bytes: int
    libp2p_ms: float  # a round trip of 100 kB over libp2p as it comes
    link_ms: float  # over our link
    published_to_mixed_ms: float

    @property
    def round_trips(self) -> float:
        return self.published_to_mixed_ms / self.link_ms

    @property
    def of_libp2p(self) -> float:
        return self.published_to_mixed_ms / self.libp2p_ms


# ---- the other process


async def answer_libp2p() -> None:
    transport = Libp2pTransport(LISTENS, LOOPBACK, lambda key: True)
    transport.seek({bytes(SigningKey(DIALS).verify_key): []})

    async def deliver(delivery: Delivery) -> None:
        if isinstance(delivery, Frame):
            data = delivery.data
            await transport.send(delivery.peer, data if len(data) <= ECHO_UP_TO else b"!")

    async with trio.open_nursery() as nursery:
        (address,) = await nursery.start(transport.run, deliver)
        print(address, flush=True)


async def answer_tls(folder: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            size = int.from_bytes(await reader.readexactly(4), "big")
            await reader.readexactly(size)
            writer.write(b"!")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def run_peer(folder: Path) -> None:
    """Run a peer until it has finished, then print when it published and mixed."""
    finished = threading.Event()
    seen: list[tuple[str, int, float, int]] = []

    def look(event: Event) -> None:
        if isinstance(event, Published | Mixed):
            size = getattr(event, "size_bytes", 0)
            seen.append((event.kind, event.round, perf_counter(), size))  # one clock for the system
        if event.kind == "peer-finished":
            finished.set()

    async def until_finished() -> None:
        with opened(PeerFolder.open(folder), watch=look) as node:
            async with anyio.create_task_group() as tasks:
                await tasks.start(node.run)
                while not finished.is_set():
                    await anyio.sleep(0.1)
                await anyio.sleep(1)  # the other may still need the last news
                tasks.cancel_scope.cancel()

    anyio.run(until_finished, backend="trio")
    for each in seen:
        print(*each)


@contextmanager
def other_process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


# ---- this process


class Tls:
    """A TLS connection on an event loop of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        opening = asyncio.open_connection("127.0.0.1", port, ssl=context)
        self._reader, self._writer = asyncio.run_coroutine_threadsafe(opening, self._loop).result()

    def send(self, data: bytes) -> float:
        """Seconds until the other side has it all and has said so."""
        return asyncio.run_coroutine_threadsafe(self._send(data), self._loop).result()

    async def _send(self, data: bytes) -> float:
        begun = perf_counter()
        self._writer.write(len(data).to_bytes(4, "big"))
        self._writer.write(data)
        await self._writer.drain()
        await self._reader.readexactly(1)
        return perf_counter() - begun


class Libp2p:
    """A link over libp2p; used inside trio."""

    def __init__(self) -> None:
        self.transport = Libp2pTransport(DIALS, LOOPBACK, lambda key: True, Limits())
        self._peer = bytes(SigningKey(LISTENS).verify_key)
        self._answers, self._answered = trio.open_memory_channel[Delivery](8)

    async def run(self, address: str, task_status: trio.TaskStatus[None]) -> None:
        self.transport.seek({self._peer: [address]})
        async with trio.open_nursery() as nursery:
            await nursery.start(self.transport.run, self._answers.send)
            assert isinstance(await self._answered.receive(), LinkUp)
            task_status.started()

    async def send(self, data: bytes) -> float:
        """Seconds until the other side has it all and has said so."""
        begun = perf_counter()
        await self.transport.send(self._peer, data)
        assert isinstance(await self._answered.receive(), Frame)
        return perf_counter() - begun


async def compare(tls: Tls, address: str) -> tuple[list[Goodput], float]:
    """Goodput for each size, and the seconds of a round trip with news."""
    ours = Libp2p()
    async with trio.open_nursery() as nursery:
        await nursery.start(ours.run, address)
        rows = []
        for size, repetitions in REPETITIONS.items():
            data = os.urandom(size)
            times: tuple[list[float], list[float]] = [], []
            for _ in range(repetitions):
                times[0].append(await trio.to_thread.run_sync(tls.send, data))
                times[1].append(await ours.send(data))
            speeds = [size / 1e6 / median(each[1:]) for each in times]  # the first ones warm up
            rows.append(Goodput(size_bytes=size, tls_mb_s=speeds[0], libp2p_mb_s=speeds[1]))
        news = os.urandom(NEWS_BYTES)
        round_trip = median([await ours.send(news) for _ in range(NEWS_REPETITIONS)])
        nursery.cancel_scope.cancel()
    return rows, round_trip


def measure_transports(folder: Path) -> tuple[list[Goodput], float]:
    certificates = make_certificates(["127.0.0.1"], now=datetime.now(UTC))
    (folder / "ca.pem").write_bytes(certificates.ca)
    (folder / "cert.pem").write_bytes(certificates.broker)
    (folder / "key.pem").write_bytes(certificates.broker_key)
    with other_process("--answer-tls", str(folder)) as tls, other_process("--answer-libp2p") as p2p:
        link = Tls(folder, int(first_line(tls)))
        address = first_line(p2p)
        rows, round_trip = trio.run(compare, link, address)
    return rows, round_trip


def measure_libp2p() -> float:
    """Seconds of a round trip with news over libp2p as it comes."""
    with other_process("--answer-bare") as process:
        ask = partial(_bare_libp2p.round_trip, first_line(process), NEWS_BYTES, NEWS_REPETITIONS)
        return trio.run(ask)


def measure_news(folder: Path, compression: str) -> tuple[float, int, int]:
    """Seconds from `published` to `mixed` of the peer that has waited for it, the median of all
    rounds; the model's parameters; the median of the news' bytes.
    """
    scenario = load_scenario(
        "quickstart",
        (
            "peers=2",
            f"rules.rounds={ROUNDS}",
            f"rules.compression={compression}",
            'rules.topology={kind="ring"}',
            "privacy.mode=none",
            LEARNER.format(hidden=NEWS[compression]),
        ),
    )
    prepared = prepare(scenario, folder)
    folders = [str(each.path) for each in prepared.folders]
    with other_process("--peer", folders[0]) as one, other_process("--peer", folders[1]) as two:
        outputs = [read_all(process) for process in (one, two)]
        lines = [[line.split() for line in output().splitlines()] for output in outputs]
    at = [{(kind, int(number)): float(when) for kind, number, when, _ in each} for each in lines]
    waits = []
    for number in range(3, ROUNDS + 1):  # the first rounds warm up
        published = [each["published", number] for each in at]
        waited = published.index(min(published))
        waits.append(at[waited]["mixed", number] - max(published))
    sizes = [int(size) for each in lines for kind, _, _, size in each if kind == "published"]
    return median(waits), 75 * NEWS[compression] + 10, round(median(sizes))


def read_all(process: subprocess.Popen[str]) -> Callable[[], str]:
    """Read what a process prints until it ends, beside others; the call waits for the end."""
    printed: list[str] = []
    thread = threading.Thread(target=lambda: printed.append(process.communicate()[0]))
    thread.start()

    def wait() -> str:
        thread.join()
        return printed[0]

    return wait


def show(rows: list[Goodput], latencies: list[Latency]) -> None:
    console = Console(width=max(100, Console().width))
    table = Table(title="goodput on loopback")
    for column in ("frame", "TLS of asyncio", "libp2p", "ratio"):
        table.add_column(column, justify="right")
    for row in rows:
        colour = "green" if row.ratio >= LEAST_GOODPUT else "red"
        table.add_row(
            f"{row.size_bytes / 1e6:g} MB",
            f"{row.tls_mb_s:.0f} MB/s",
            f"{row.libp2p_mb_s:.0f} MB/s",
            f"[{colour}]{row.ratio:.2f}",
        )
    console.print(table)
    table = Table(title="from published to mixed, in round trips of 100 kB there and back")
    for column in ("parameters", "compression", "news", "time", "of our link", "of bare libp2p"):
        table.add_column(column, justify="right")
    for each in latencies:
        colour = "green" if each.round_trips <= MOST_ROUND_TRIPS else "red"
        table.add_row(
            f"{each.parameters:,}",
            each.compression,
            f"{each.size_bytes / 1e3:.0f} kB",
            f"{each.published_to_mixed_ms:.2f} ms",
            f"[{colour}]{each.round_trips:.2f}[/] of {each.link_ms:.2f} ms",
            f"{each.of_libp2p:.2f} of {each.libp2p_ms:.2f} ms",
        )
    console.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--answer-libp2p", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--answer-bare", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--answer-tls", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--peer", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.answer_libp2p:
        trio.run(answer_libp2p)
    if arguments.answer_bare:
        trio.run(_bare_libp2p.answer, NEWS_BYTES)
    if arguments.answer_tls:
        asyncio.run(answer_tls(arguments.answer_tls))
    if arguments.peer:
        run_peer(arguments.peer)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        rows, round_trip = measure_transports(Path(folder))
        libp2p_s = measure_libp2p()
        latencies = []
        for compression in NEWS:
            took, parameters, size = measure_news(Path(folder) / compression, compression)
            latency = Latency(
                compression=compression,
                parameters=parameters,
                size_bytes=size,
                libp2p_ms=libp2p_s * 1e3,
                link_ms=round_trip * 1e3,
                published_to_mixed_ms=took * 1e3,
            )
            latencies.append(latency)
    holds = all(each.round_trips <= MOST_ROUND_TRIPS for each in latencies)
    holds = holds and all(row.ratio >= LEAST_GOODPUT for row in rows)
    if arguments.json:
        goodput = [{**asdict(row), "ratio": row.ratio} for row in rows]
        timed = [
            {**asdict(each), "round_trips": each.round_trips, "of_libp2p": each.of_libp2p}
            for each in latencies
        ]
        print(json.dumps({"goodput": goodput, "latency": timed}))
    else:
        show(rows, latencies)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
