"""Health and metrics: true to the events, in a format that Prometheus takes, and hard to abuse."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.peer.owner import Owner
from tidings.crypto.errors import TransportError
from tidings.gossip import events as ev
from tidings.peer.cli.narration import sentence
from tidings.peer.metrics import Metrics
from tidings.peer.metrics_server import MAX_CONNECTIONS, MAX_REQUEST_BYTES, serve
from tidings.peer.status import Membership, Privacy, Status
from tidings.peer.upkeep import MetricsConfig

PRIVACY = Privacy(
    unit="record", budget=8.0, spent=2.5, left=5.5, delta=1e-5, relation="", trust_model="",
    accountant="", releases=4, is_copy=False,
)  # fmt: skip
STATUS = Status(
    name="ada", id="abcdefgh", peer_id="12D3", progress=None, privacy=PRIVACY,
    membership=Membership(name="tiny", id="00", index=0, nodes=2, rounds=60),
)  # fmt: skip
RELEASED = ev.Released(
    round=1, unit="record", epsilon=3.0, delta=1e-5, relation="", trust_model="", accountant="",
    mechanism="poisson-gaussian", noise_multiplier=1.0, sampling_rate=0.25, steps=5,
)  # fmt: skip


def values(text: str) -> dict[str, float]:
    """Samples by name and labels, read as Prometheus does: each family is declared once, first."""
    declared: dict[str, str] = {}
    found: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in declared
            declared[name] = kind
        elif not line.startswith("#"):
            sample, value = line.rsplit(" ", 1)
            assert sample.split("{")[0] in declared
            assert sample not in found
            found[sample] = float(value)
    return found


def after(*events: ev.Event, status: Status = STATUS) -> Metrics:
    metrics = Metrics(status)
    for event in events:
        metrics.see(event)
    return metrics


def link(name: str) -> ev.LinkUp:
    return ev.LinkUp(neighbour=name)


def test_a_restart_does_not_forget_what_was_spent() -> None:
    found = values(after().text())
    assert found["tidings_epsilon_spent"] == 2.5
    assert found["tidings_epsilon_left"] == 5.5
    assert found["tidings_releases_total"] == 4
    assert found["tidings_rounds"] == 60


def test_each_figure_follows_its_events() -> None:
    refused = ev.Refused(sender="x", reason="BadSignature", detail="", size_bytes=9)
    found = values(
        after(
            link("b"), link("c"), ev.LinkDown(neighbour="b", why=""), RELEASED,
            replace(RELEASED, mechanism="post-processing", round=2),
            refused, refused, replace(refused, reason="Replayed"),
            ev.Sent(to="c", message="news", size_bytes=100),
            ev.Sent(to="c", message="news", size_bytes=20),
            ev.Received(sender="c", message="pull", size_bytes=7),
            ev.Mixed(round=3, neighbours={}, missing=("b",), gamma=1.0),
            ev.Evaluated(round=3, accuracy=0.75, loss=0.5, samples=9),
        ).text()
    )  # fmt: skip
    assert found["tidings_links"] == 1
    assert found["tidings_links_lost_total"] == 1
    assert found["tidings_epsilon_spent"] == 3.0
    assert found["tidings_epsilon_left"] == 5.0
    assert found["tidings_releases_total"] == 5
    assert found['tidings_refused_frames_total{reason="BadSignature"}'] == 2
    assert found['tidings_refused_frames_total{reason="Replayed"}'] == 1
    assert found['tidings_sent_bytes_total{message="news"}'] == 120
    assert found['tidings_sent_frames_total{message="news"}'] == 2
    assert found['tidings_received_bytes_total{message="pull"}'] == 7
    assert (found["tidings_round"], found["tidings_missing"]) == (4, 1)
    assert (found["tidings_accuracy"], found["tidings_loss"]) == (0.75, 0.5)


def test_without_privacy_no_epsilon_is_made_up() -> None:
    none = replace(PRIVACY, budget=None, spent=None, left=None, delta=None)
    text = after(status=replace(STATUS, privacy=none)).text()
    assert "epsilon" not in text
    assert "accuracy" not in text  # before the first evaluation there is none


@settings(derandomize=True, deadline=None, max_examples=60)
@given(name=st.text(max_size=12), reason=st.text(min_size=1, max_size=12))
def test_no_name_breaks_the_format(name: str, reason: str) -> None:
    refused = ev.Refused(sender="x", reason=reason, detail="", size_bytes=1)
    text = after(refused, status=replace(STATUS, name=name)).text()
    for line in text.split("\n")[:-1]:
        assert line.startswith("#") or float(line.rsplit(" ", 1)[1]) >= 0
    assert text.count("# TYPE tidings_info") == 1


@pytest.mark.parametrize(
    ("events", "state", "is_well"),
    [
        ([], "alone", True),
        ([link("b")], "ok", True),
        ([ev.PeerFinished(round=60, state="")], "finished", True),
        ([link("b"), ev.RolledBack(own_sequence=1, seen_sequence=2)], "rolled-back", False),
    ],
)
def test_health(events: list[ev.Event], state: str, is_well: bool) -> None:
    well, told = after(*events).health()
    assert (well, told["state"]) == (is_well, state)


def test_a_spent_budget_is_no_illness() -> None:
    spent = ev.BudgetSpent(round=3, epsilon=8.0, delta=1e-5, why="")
    well, told = after(link("b"), spent).health()
    assert (well, told["trains"]) == (True, False)
    assert sentence(spent) is not None  # a person is told all the same


@pytest.mark.parametrize(
    ("settings_", "words"),
    [
        ({"listen": "0.0.0.0:9464"}, "reached from other machines"),
        ({"listen": "localhost:9464"}, "no IP address"),
        ({"listen": "9464"}, "not of the form"),
        ({"listen": "127.0.0.1:99999"}, "not of the form"),
    ],
)
def test_a_place_that_cannot_be_meant(settings_: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        MetricsConfig.model_validate(settings_)


def test_other_machines_are_let_in_only_when_said_so() -> None:
    assert MetricsConfig().place() is None
    assert MetricsConfig(listen="[::1]:9464").place() == ("::1", 9464)
    opened = MetricsConfig(listen="0.0.0.0:9464", beyond_this_machine=True)
    assert opened.place() == ("0.0.0.0", 9464)


# --- over HTTP ---------------------------------------------------------------------------------


def ask(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def served(backend: str, use: Callable[[int], None], metrics: Metrics | None = None) -> None:
    """Serve while ``use`` runs in a thread; the port is its argument."""

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            port = await tasks.start(partial(serve, metrics or after(), ("127.0.0.1", 0)))
            await anyio.to_thread.run_sync(use, port)
            tasks.cancel_scope.cancel()

    anyio.run(main, backend=backend)


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_what_is_asked_is_answered(backend: str) -> None:
    def use(port: int) -> None:
        status, body = ask(port, "/metrics")
        assert (status, values(body)["tidings_rounds"]) == (200, 60)
        status, body = ask(port, "/health?verbose=1")
        assert (status, json.loads(body)["name"]) == (200, "ada")
        assert ask(port, "/metrics", "HEAD") == (200, "")
        assert ask(port, "/")[0] == 404
        assert ask(port, "/metrics", "POST")[0] == 405

    served(backend, use)


def test_a_peer_that_needs_a_person_answers_503() -> None:
    metrics = after(ev.RolledBack(own_sequence=1, seen_sequence=2))

    def use(port: int) -> None:
        assert ask(port, "/health")[0] == 503
        assert ask(port, "/metrics")[0] == 200

    served("asyncio", use, metrics)


def test_garbage_and_silence_hold_up_nobody() -> None:
    def use(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as silent:
            for sent in (b"\x00\xff\r\n\r\n", b"GET /metrics\r\n\r\n"):
                with socket.create_connection(("127.0.0.1", port)) as garbage:
                    garbage.sendall(sent)
                    assert b"400" in garbage.recv(100)
            with socket.create_connection(("127.0.0.1", port)) as endless:
                endless.sendall(b"x" * (MAX_REQUEST_BYTES + 1))
                assert endless.recv(100) == b""
            assert ask(port, "/metrics")[0] == 200
            silent.close()

    served("trio", use)


def test_more_connections_than_allowed_are_closed_at_once() -> None:
    def use(port: int) -> None:
        held = [socket.create_connection(("127.0.0.1", port)) for _ in range(MAX_CONNECTIONS)]
        time.sleep(0.2)
        with socket.create_connection(("127.0.0.1", port)) as one_more:
            one_more.settimeout(2)
            assert one_more.recv(1) == b""
        for each in held:
            each.close()
        time.sleep(0.2)
        assert ask(port, "/health")[0] == 200

    served("asyncio", use)


def test_a_port_in_use_is_told() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        place = other.getsockname()[:2]
        with pytest.raises(TransportError, match="the port is in use"):
            anyio.run(partial(serve, after(), place))


def test_a_running_peer_serves_them_and_ends_cleanly(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    owner = Owner(tmp_path, capfd)
    (ada, _) = owner.join(owner.create(), "ada", "bob")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings_file = ada / "peer.toml"
    settings_file.write_text(
        settings_file.read_text().replace("[metrics]", f'[metrics]\nlisten = "127.0.0.1:{port}"')
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "tidings", "peer", "run", str(ada)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert b"in round 1" in process.stdout.readline()
        found = values(ask(port, "/metrics")[1])
        assert found["tidings_round"] == 1
        assert found["process_resident_memory_bytes"] > 2e7
        assert json.loads(ask(port, "/health")[1])["state"] == "alone"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=5) == 0
    finally:
        process.kill()
        process.communicate()
