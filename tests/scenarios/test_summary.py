"""The summary says what the events say, no more and no less."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scenarios.log_factory import (
    Line,
    evaluated,
    honest_run,
    id_of,
    mixed,
    name_of,
    released,
    run_started,
    sent,
    sketched,
    started,
    state_of,
    write_log,
)
from tidings.crypto.identity import Identity, short_id
from tidings.gossip.events import (
    BudgetSpent,
    Equivocated,
    LinkDown,
    LinkUp,
    MembersChanged,
    Published,
    Received,
    Refused,
    RolledBack,
    Skipped,
)
from tidings.gossip.messages import EntryHeader, sign_entry
from tidings.gossip.proof import make_proof
from tidings.scenarios.run_log import RunFinished
from tidings.scenarios.summary import RunSummary, summarise

NAMES = st.integers(0, 4)


def summary(folder: Path, lines: list[Line]) -> RunSummary:
    """The summary of a run with these lines in one log."""
    write_log(folder / "events.jsonl", lines)
    return summarise(folder)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    frames=st.lists(st.tuples(NAMES, NAMES, st.integers(0, 2**40)), max_size=30),
    named=st.sets(NAMES),
)
def test_bytes_sent_are_the_sum_over_edges_and_over_peers(
    tmp_path_factory: pytest.TempPathFactory,
    frames: list[tuple[int, int, int]],
    named: set[int],
):
    lines: list[Line] = [(0, name_of(peer), started(peer)) for peer in named]
    lines += [(1, name_of(a), sent(to=id_of(b), size_bytes=n)) for a, b, n in frames]
    run = summary(tmp_path_factory.mktemp("run"), lines)
    assert run.bytes_sent == sum(n for _, _, n in frames)
    assert run.bytes_sent == sum(edge.bytes for edge in run.edges)
    assert run.bytes_sent == sum(peer.bytes_sent for peer in run.by_peer)
    assert run.messages_sent == sum(edge.messages for edge in run.edges) == len(frames)
    for edge in run.edges:
        of_edge = [
            n
            for a, b, n in frames
            if edge.sender == name_of(a)
            and edge.receiver == (name_of(b) if b in named else id_of(b))
        ]
        assert (edge.bytes, edge.messages) == (sum(of_edge), len(of_edge))


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    spent=st.lists(
        st.tuples(NAMES, st.integers(1, 9), st.none() | st.floats(0, 1e6)), min_size=1, max_size=20
    )
)
def test_epsilon_max_is_the_largest_of_any_peer(
    tmp_path_factory: pytest.TempPathFactory, spent: list[tuple[int, int, float | None]]
):
    lines: list[Line] = [
        (t, name_of(peer), released(round=t, epsilon=epsilon)) for peer, t, epsilon in spent
    ]
    run = summary(tmp_path_factory.mktemp("run"), lines)
    known = [epsilon for _, _, epsilon in spent if epsilon is not None]
    assert run.epsilon_max == max(known, default=None)
    over_time = [row.epsilon_max for row in run.by_round if row.epsilon_max is not None]
    assert over_time == sorted(over_time)
    assert max(over_time, default=None) == run.epsilon_max


@settings(derandomize=True, deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32), peers=st.integers(1, 6))
def test_consensus_distance_is_that_of_the_sketches(
    tmp_path_factory: pytest.TempPathFactory, seed: int, peers: int
):
    sketches = np.random.default_rng(seed).normal(size=(2, peers, 64))
    lines: list[Line] = [
        (t, name_of(i), sketched(t, sketches[t - 1, i])) for t in (1, 2) for i in range(peers)
    ]
    run = summary(tmp_path_factory.mktemp("run"), lines)
    expected = [
        math.sqrt(np.mean(np.sum((rows - rows.mean(axis=0)) ** 2, axis=1))) for rows in sketches
    ]
    found = [row.consensus_distance for row in run.by_round]
    assert found == pytest.approx(expected, abs=1e-12)
    assert run.consensus_distance == pytest.approx(expected[-1], abs=1e-12)


def test_json_has_the_promised_keys_and_is_finite(tmp_path: Path):
    run = summary(tmp_path, honest_run(peers=6, rounds=5, seed=11))
    value = json.loads(json.dumps(run.as_json(), allow_nan=False))
    assert {
        "peers": 6,
        "rounds": 5,
        "seed": 11,
        "delta": 1e-5,
        "privacy_unit": "record",
        "neighbouring_relation": "add-or-remove-one record",
        "trust_model": "local: nobody but the peer itself is trusted",
        "accountant": "PLD",
        "refused": {},
        "outcome": "finished",
        "engine": "sim",
        "copies_agree": True,
        "corrupt_lines": 0,
    }.items() <= value.items()
    assert value["epsilon_max"] == pytest.approx(2.5 * 5**0.5)
    assert value["edges"][0].keys() == {"from", "to", "bytes", "messages"}
    assert value["bytes_sent"] == sum(edge["bytes"] for edge in value["edges"])
    assert [row["round"] for row in value["accuracy_by_round"]] == [1, 2, 3, 4, 5]
    assert value["accuracy_by_round"][-1]["mean"] == pytest.approx(value["accuracy_mean"])
    assert value["accuracy_by_round"][-1]["min"] == value["accuracy_min"]
    assert value["consensus_by_round"][-1]["distance"] == value["consensus_distance"]
    assert [peer["name"] for peer in value["by_peer"]] == [name_of(i) for i in range(6)]


def test_accuracy_is_that_of_each_peers_last_model(tmp_path: Path):
    lines: list[Line] = [
        (1, "a", evaluated(1, 0.2)),
        (2, "a", evaluated(2, 0.9)),
        (1, "b", evaluated(1, 0.5)),  # b stopped after round 1
    ]
    run = summary(tmp_path, lines)
    assert run.accuracy_mean == pytest.approx(0.7)
    assert run.accuracy_min == 0.5
    assert [row.accuracy_mean for row in run.by_round] == [pytest.approx(0.35), 0.9]
    assert [row.accuracy_peers for row in run.by_round] == [2, 1]


def test_a_round_that_is_done_again_after_a_crash_counts_once(tmp_path: Path):
    far, near = [3.0] * 64, [0.0] * 64
    lines: list[Line] = [
        (1, "a", sketched(1, far)),
        (1, "b", sketched(1, near)),
        (2, "a", started(0)),
        (3, "a", sketched(1, near)),
    ]
    assert summary(tmp_path, lines).by_round[0].consensus_distance == 0.0


def test_a_diverged_model_gives_null_and_no_warning(tmp_path: Path):
    lines: list[Line] = [
        (1, "a", sketched(1, [float("inf")] * 64)),
        (1, "b", sketched(1, [0.0] * 64)),
        (2, "a", evaluated(1, float("nan"))),
        (2, "b", released(epsilon=float("inf"))),
    ]
    run = summary(tmp_path, lines)
    value = run.as_json()
    assert value["consensus_distance"] is None
    assert value["accuracy_mean"] is None
    assert run.epsilon_max == math.inf
    assert value["epsilon_max"] is None


def test_ids_become_names_wherever_they_stand(tmp_path: Path):
    lines: list[Line] = [
        (0, "anna", started(0)),
        (0, "bert", started(1)),
        (1, "anna", sent(to=id_of(1))),
        (1, "anna", LinkUp(neighbour=id_of(1))),
        (2, "anna", LinkDown(neighbour=id_of(1), why="no heartbeat")),
        (3, "anna", LinkUp(neighbour=id_of(1))),
        (4, "bert", Refused(sender=id_of(0), reason="replayed", detail="twice", size_bytes=9)),
        (5, "bert", Refused(sender="zzz", reason="malformed", detail="odd", size_bytes=9)),
        (6, "bert", Refused(sender=id_of(0), reason="replayed", detail="thrice", size_bytes=9)),
        (7, "anna", MembersChanged(serial=1, revoked=(id_of(1),), key_epoch=2)),
    ]
    run = summary(tmp_path, lines)
    assert [(edge.sender, edge.receiver) for edge in run.edges] == [("anna", "bert")]
    [link] = run.links
    assert (link.neighbour, link.up, link.down, link.last_why) == ("bert", 2, 1, "no heartbeat")
    assert (run.as_json()["links_up"], run.as_json()["links_down"]) == (2, 1)
    assert run.refused == {"replayed": 2, "malformed": 1}
    assert [(r.peer, r.sender, r.count, r.detail) for r in run.refusals] == [
        ("bert", "anna", 2, "thrice"),
        ("bert", "zzz", 1, "odd"),
    ]
    assert run.revoked == ("bert",)


def test_a_copied_folder_does_not_rename_the_original(tmp_path: Path):
    lines: list[Line] = [
        (0, "anna", started(0)),
        (1, "copy", started(0)),
        (2, "bert", sent(to=id_of(0))),
        (3, "copy", RolledBack(own_sequence=2, seen_sequence=5)),
    ]
    run = summary(tmp_path, lines)
    assert [edge.receiver for edge in run.edges] == ["anna"]
    assert [(r.peer, r.own_sequence, r.seen_sequence) for r in run.rolled_back] == [("copy", 2, 5)]


def test_what_happened_to_a_peer_stands_in_its_row(tmp_path: Path):
    lines: list[Line] = [
        (0, "a", started(0)),
        (1, "a", mixed(1, missing=(id_of(1), id_of(2)))),
        (2, "a", started(0)),
        (3, "a", Skipped(from_round=2, to_round=6)),
        (4, "a", released(round=6, epsilon=7.9)),
        (5, "a", BudgetSpent(round=7, epsilon=7.9, delta=1e-5, why="budget")),
        (6, "a", released(round=7, epsilon=7.9, mechanism="post-processing", noise_multiplier=0)),
        (7, "", RunFinished(outcome="interrupted")),
    ]
    run = summary(tmp_path, lines)
    [peer] = run.by_peer
    assert (peer.starts, peer.missing, peer.skipped, peer.budget_spent_round) == (2, 2, 4, 7)
    assert (peer.releases, peer.mechanism, peer.noise_multiplier) == (2, "poisson-gaussian", 1.84)
    assert (run.outcome, run.duration_s, run.peers) == ("interrupted", 7.0, 1)


def news(follower: int, author: int, sequence: int, state: str) -> Line:
    """A follower comes to a state of an author's feed."""
    event = Received(
        sender=id_of(author),
        message="news",
        size_bytes=1,
        author=id_of(author),
        sequence=sequence,
        road="delta",
        state=state,
    )
    return (sequence + 0.5, name_of(follower), event)


def published(author: int, sequence: int, state: str) -> Line:
    """An author appends an entry."""
    event = Published(round=sequence, sequence=sequence, state=state, size_bytes=1, captured=1.0)
    return (float(sequence), name_of(author), event)


def test_copies_are_compared_with_what_the_author_published(tmp_path: Path):
    known: list[Line] = [(0, name_of(i), started(i)) for i in range(3)]
    feed = [published(0, n, state_of(0, n)) for n in (1, 2, 3)]
    good = [news(1, 0, 2, state_of(0, 2)), news(1, 0, 3, state_of(0, 3))]
    late = [news(2, 0, 2, state_of(0, 2))]
    run = summary(tmp_path, known + feed + good + late)
    assert (run.copies_agree, run.copies.compared, run.copies.behind) == (True, 2, 1)

    wrong = [news(2, 0, 3, state_of(9, 9))]
    run = summary(tmp_path, known + feed + good + late + wrong)
    assert run.copies_agree is False
    assert run.copies.followers_agree is False
    [difference] = run.copies.differences
    assert (difference.author, difference.follower) == (name_of(0), name_of(2))
    assert (difference.sequence, difference.held) == (3, state_of(9, 9))

    lied = [news(i, 0, 3, state_of(9, 9)) for i in (1, 2)]  # one copy, but not the author's
    run = summary(tmp_path, known + feed + lied)
    assert (run.copies_agree, run.copies.followers_agree) == (False, True)

    mended = [news(2, 0, 4, state_of(0, 4)), published(0, 4, state_of(0, 4))]
    assert summary(tmp_path, known + feed + wrong + mended).copies_agree is True
    assert summary(tmp_path, known + good).copies_agree is None  # the author's log is missing


def test_a_sequence_number_used_twice_is_noticed(tmp_path: Path):
    lines = [published(0, 1, "aa"), published(0, 1, "aa"), published(0, 2, "aa")]
    assert summary(tmp_path, lines).copies.reused == ()
    lines.append(published(0, 2, "bb"))
    assert summary(tmp_path, lines).copies.reused == ((name_of(0), 2),)


def proof_of(seed: int, network_id: bytes) -> tuple[str, str]:
    """An author's short id and the proof (hex) that it signed two entries with one number."""
    identity = Identity.from_seed(bytes([seed]) * 32)
    one, other = (
        sign_entry(
            identity,
            EntryHeader(
                network_id=network_id,
                author=identity.verify_key,
                sequence=4,
                round=4,
                samples=0,
                previous=bytes(32),
                state=bytes([mark]) * 32,
                payload_digest=bytes(32),
            ),
        )
        for mark in (1, 2)
    )
    return short_id(identity.verify_key), make_proof(one, other).hex()


def test_proofs_are_verified_again_and_reported_once(tmp_path: Path):
    network_id = bytes(range(16))
    author, proof = proof_of(1, network_id)
    stranger, _ = proof_of(2, network_id)
    _, elsewhere = proof_of(1, bytes(16))

    def verdicts(*, network: str) -> list[tuple[str, bool | None]]:
        lines: list[Line] = [
            (0, "a", started(0, network=network)),
            (1, "a", Equivocated(author=author, sequence=4, proof=proof)),
            (1, "b", Equivocated(author=author, sequence=4, proof=proof)),
            (2, "b", Equivocated(author=stranger, sequence=4, proof=proof)),
            (3, "b", Equivocated(author=author, sequence=4, proof=elsewhere)),
            (4, "b", Equivocated(author=author, sequence=5, proof="no hex")),
        ]
        run = summary(tmp_path, lines)
        assert run.proofs[0].reported_by == ("a", "b")
        return [(row.author, row.verified) for row in run.proofs]

    assert verdicts(network=network_id.hex()) == [
        (author, True),
        (stranger, False),
        (author, False),
        (author, False),
    ]
    assert {verdict for _, verdict in verdicts(network="not hex")} == {False}
    unknown = summary(tmp_path, [(1, "a", Equivocated(author=author, sequence=4, proof=proof))])
    assert unknown.proofs[0].verified is None


def test_an_equivocator_has_no_copy_to_agree_on(tmp_path: Path):
    network_id = bytes(range(16))
    author, proof = proof_of(1, network_id)
    lines: list[Line] = [(0, name_of(i), started(i, network=network_id.hex())) for i in (1, 2)]
    lines.append((0, name_of(0), started(0, id=author, network=network_id.hex())))
    lines.append(published(0, 4, "aa"))
    for i, state in ((1, "aa"), (2, "bb")):
        heard = replace(news(i, 0, 4, state)[2], author=author)
        lines.append((5, name_of(i), heard))
    assert summary(tmp_path, lines).copies_agree is False
    lines.append((6, name_of(1), Equivocated(author=author, sequence=4, proof=proof)))
    copies = summary(tmp_path, lines).copies
    assert (copies.agree, copies.followers_agree, copies.compared) == (None, None, 0)
    lines[-1] = (6, name_of(1), Equivocated(author=author, sequence=4, proof="00"))
    assert summary(tmp_path, lines).copies_agree is False  # an accusation is no proof


def test_several_units_of_privacy_are_not_hidden_behind_one(tmp_path: Path):
    lines: list[Line] = [
        (1, "a", released(unit="record")),
        (1, "b", released(unit="none", epsilon=None, delta=None)),
    ]
    assert summary(tmp_path, lines).privacy_unit == "record + none"
    assert summary(tmp_path, [(0, "", run_started())]).privacy_unit == "none"


def test_a_live_run_and_a_simulated_one_are_summed_up_alike(tmp_path: Path):
    lines = honest_run(peers=4, rounds=3)
    together = summary(tmp_path / "sim", lines)
    for name in {peer for _, peer, _ in lines}:
        folder = tmp_path / "live" / ("peers/" + name if name else "")
        write_log(folder / "events.jsonl", [line for line in lines if line[1] == name])
    assert summarise(tmp_path / "live") == together
