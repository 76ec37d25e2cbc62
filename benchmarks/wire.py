"""What the wire costs: a signed, sealed delta against the bare calls that it cannot do without.

    python benchmarks/wire.py [--json]

Ours: digest of the payload, signed header, sealed frame (gossip/wire.py: `encode_news`); then
`decode`, which checks length, layout, signature, membership and history and opens the seal, and
the digest of what came out. Bare: BLAKE3, Ed25519 sign, one-shot XChaCha20-Poly1305 seal; then
verify, open, BLAKE3, on the same bytes. Both run in turn in one process, so whatever else the
machine does hits both alike; times are medians. Peak memory counts what each half holds at once,
its input and its output among it, in payloads: as Python's allocator saw it, and (for the
largest) as the operating system did.

Exit code 1 when a requirement is missed at 1 MB or above: half the bare speed, 3 payloads.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

import nacl.bindings as sodium
import numpy as np
from blake3 import blake3
from rich.console import Console
from rich.table import Table

from tidings.crypto.identity import Identity
from tidings.crypto.membership import Certificate, GroupKey, JoinRequest, Roster
from tidings.gossip.door import Door
from tidings.gossip.feed import NO_HASH, Feed, payload_digest
from tidings.gossip.messages import EntryHeader, News, sign_entry
from tidings.gossip.wire import decode, encode_news

REPETITIONS = {10_000: 1000, 1_000_000: 100, 50_000_000: 9}
LEAST_SPEED = 0.5
MOST_MEMORY = 3.0
REQUIRED_FROM = 1_000_000  # below, 256 KiB of scratch memory of msgpack's outweigh the payload
NETWORK = bytes(16)
STATUS = Path("/proc/self/status")


class Ours:
    """A peer that publishes `payload`, and one that hears it."""

    def __init__(self, size: int) -> None:
        root, self.author = Identity.generate(), Identity.generate()
        self.key = GroupKey.generate(1, os.urandom)
        roster = Roster(NETWORK, root.verify_key)
        roster.admit(Certificate.issue(root, JoinRequest.make("a", self.author), NETWORK, 0))
        author = self.author.verify_key
        self.door = Door(
            network_id=NETWORK,
            roster=roster,
            group_keys={1: self.key},
            feeds={author: Feed(author, np.zeros(-(-size // 4), dtype=np.int32))},
            proofs={},
            max_frame_bytes=2**31 - 1,
            max_round=1,
        )

    def encode(self, payload: bytes) -> bytearray:
        header = EntryHeader(
            network_id=NETWORK,
            author=self.author.verify_key,
            sequence=1,
            round=1,
            samples=0,
            previous=NO_HASH,
            state=NO_HASH,
            payload_digest=payload_digest(payload),
        )
        news = News(entry=sign_entry(self.author, header), base=0, payload=payload)
        return encode_news(news, key=self.key, entropy=os.urandom)

    def decode(self, frame: bytes | bytearray) -> bytes | bytearray:
        news = decode(frame, self.door)
        assert isinstance(news, News)
        assert payload_digest(news.payload) == news.entry.header.payload_digest
        return news.payload


class Bare:
    """The same guarantees from libsodium and BLAKE3 alone."""

    def __init__(self, size: int) -> None:
        self.public, self.secret = sodium.crypto_sign_keypair()
        self.key, self.header = os.urandom(32), bytes(200)

    def encode(self, payload: bytes) -> tuple[bytes, bytes, bytes, bytes]:
        hashed = blake3(payload).digest()
        signed = sodium.crypto_sign(self.header + hashed, self.secret)
        nonce = os.urandom(24)
        sealed = sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(payload, signed, nonce, self.key)
        return signed, nonce, sealed, hashed

    def decode(self, parts: tuple[bytes, bytes, bytes, bytes]) -> bytes:
        signed, nonce, sealed, hashed = parts
        sodium.crypto_sign_open(signed, self.public)
        payload = sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, signed, nonce, self.key)
        assert blake3(payload).digest() == hashed
        return payload


@dataclass(frozen=True)
class Row:
    """The figures for one size of payload; times are medians, speeds are bare time / our time."""

    size_bytes: int
    bare_encode_ms: float
    our_encode_ms: float
    bare_decode_ms: float
    our_decode_ms: float
    encode_speed: float
    decode_speed: float
    speed: float
    encode_memory: float
    decode_memory: float
    process_memory: float | None

    @property
    def holds(self) -> bool:
        if self.size_bytes < REQUIRED_FROM:
            return True
        memory = max(self.encode_memory, self.decode_memory, self.process_memory or 0.0)
        return self.speed >= LEAST_SPEED and memory <= MOST_MEMORY


def timed(call: Callable[[], object]) -> tuple[float, object]:
    start = perf_counter()
    result = call()
    return perf_counter() - start, result


def times(size: int, repetitions: int) -> list[float]:
    """Median seconds: bare encode, our encode, bare decode, our decode."""
    payload = os.urandom(size)
    bare, ours = Bare(size), Ours(size)
    samples: list[list[float]] = [[], [], [], []]
    gc.disable()
    for repetition in range(repetitions + 2):
        both = [(bare, 0), (ours, 1)] if repetition % 2 else [(ours, 1), (bare, 0)]
        for side, place in both:
            encoding, sent = timed(lambda side=side: side.encode(payload))
            decoding, _ = timed(lambda side=side, sent=sent: side.decode(sent))
            if repetition >= 2:  # the first two warm up
                samples[place].append(encoding)
                samples[place + 2].append(decoding)
            del sent, _
    gc.enable()
    return [statistics.median(each) for each in samples]


def traced_peak(make: Callable[[], object], call: Callable[[object], object], size: int) -> float:
    """What `call` holds at once, with the input that `make` makes, in payloads."""
    tracemalloc.start()
    given = make()
    tracemalloc.reset_peak()
    result = call(given)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    del given, result
    return peak / size


def process_peak(size: int) -> float | None:
    """What a process of its own grows by when it encodes and then decodes, in payloads."""
    if not STATUS.exists():  # only Linux says
        return None
    printed = subprocess.run(
        [sys.executable, __file__, "--peak-of", str(size)], check=True, capture_output=True
    ).stdout
    return float(printed)


def print_process_peak(size: int) -> None:
    ours = Ours(size)
    ours.decode(ours.encode(b"warm"))
    before = largest_resident_bytes()
    payload = os.urandom(size)
    frame = ours.encode(payload)
    del payload  # the sender keeps it, the receiver never had it
    ours.decode(frame)
    print((largest_resident_bytes() - before) / size)


def largest_resident_bytes() -> int:
    # not ru_maxrss: Linux hands that of the process that started this one down to it
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024


def measure(size: int) -> Row:
    bare_encode, our_encode, bare_decode, our_decode = times(size, REPETITIONS[size])
    ours = Ours(size)
    return Row(
        size_bytes=size,
        bare_encode_ms=bare_encode * 1e3,
        our_encode_ms=our_encode * 1e3,
        bare_decode_ms=bare_decode * 1e3,
        our_decode_ms=our_decode * 1e3,
        encode_speed=bare_encode / our_encode,
        decode_speed=bare_decode / our_decode,
        speed=(bare_encode + bare_decode) / (our_encode + our_decode),
        encode_memory=traced_peak(lambda: os.urandom(size), ours.encode, size),
        decode_memory=traced_peak(lambda: ours.encode(os.urandom(size)), ours.decode, size),
        process_memory=process_peak(size) if size >= 10_000_000 else None,
    )


def show(rows: list[Row]) -> None:
    table = Table(title="encode + decode of a signed, sealed delta; speed 1.00 = the bare calls")
    for column in ("payload", "bare ms", "ours ms", "encode", "decode", "both", "peak memory"):
        table.add_column(column, justify="right")
    for row in rows:
        peaks = f"{row.encode_memory:.2f} / {row.decode_memory:.2f}"
        if row.process_memory is not None:
            peaks += f", process {row.process_memory:.2f}"
        table.add_row(
            f"{row.size_bytes / 1e6:g} MB",
            f"{row.bare_encode_ms + row.bare_decode_ms:.2f}",
            f"{row.our_encode_ms + row.our_decode_ms:.2f}",
            f"{row.encode_speed:.2f}",
            f"{row.decode_speed:.2f}",
            f"[{'green' if row.holds else 'red'}]{row.speed:.2f}",
            peaks,
        )
    Console().print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    parser.add_argument("--peak-of", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak_of:
        print_process_peak(arguments.peak_of)
        return 0
    rows = [measure(size) for size in REPETITIONS]
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows]))
    else:
        show(rows)
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
