"""Peers that lie: each lie is refused for its own reason, and the honest learn on undisturbed."""

from __future__ import annotations

import pytest

from tests.scenarios.small import Simulated, simulate, small
from tests.scenarios.test_sim import BEHAVIOURS, assert_copies_agree
from tidings.crypto.errors import Malformed, WrongNetwork
from tidings.gossip.events import Equivocated, Mixed, Published, Refused
from tidings.gossip.proof import verify_proof
from tidings.scenarios.attacks import OWN
from tidings.scenarios.faults import Faults, Liar

LIAR, FROM_ROUND, ROUNDS = 2, 4, 10
REASONS = {
    "garbage": "malformed",
    "flip-bits": "tampered",
    "replay": "replayed",
    "truncate": "malformed",
    "wrong-shape": "wrong-shape",
    "wrong-state": "wrong-state",
    "forge": "bad-signature",
    "stranger": "not-a-member",
    "wrong-network": "wrong-network",
}


def run_with(behaviour: str, *sets: str, from_round: int = FROM_ROUND) -> Simulated:
    liar = Liar(node=LIAR, behaviour=behaviour, from_round=from_round)  # type: ignore[arg-type]
    scenario = small(f"rules.rounds={ROUNDS}", *sets)
    return simulate(scenario.model_copy(update={"faults": Faults(liars=(liar,))}))


@pytest.fixture(scope="module")
def honest() -> Simulated:
    return simulate(small(f"rules.rounds={ROUNDS}"))


def accuracies(run: Simulated) -> list[float]:
    found = []
    for name, peer in sorted(run.tally.peers.items()):
        assert peer.last is not None
        if name != f"peer-{LIAR}":
            found.append(peer.last.accuracy)
    return found


def test_every_behaviour_is_tested_here() -> None:
    assert {*REASONS, "equivocate", *OWN} == set(BEHAVIOURS)


@pytest.mark.parametrize("behaviour", REASONS)
def test_a_lie_is_refused_for_its_own_reason_and_disturbs_nobody(
    behaviour: str, honest: Simulated
) -> None:
    run = run_with(behaviour)
    assert run.outcome == "finished"
    assert_copies_agree(run)
    refusals = [(peer, event.sender, event.reason) for _, peer, event in run.of(Refused)]
    # each entry of the liar's comes to four others, with one lie beside it
    lies = [
        (f"peer-{other}", run.id(LIAR), REASONS[behaviour])
        for other in range(5)
        if other != LIAR
        for _ in range(FROM_ROUND, ROUNDS + 1)
    ]
    assert sorted(refusals) == sorted(lies)
    assert not any(event.missing for _, _, event in run.of(Mixed))
    assert accuracies(run) == accuracies(honest)


# --- equivocation --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def caught() -> Simulated:
    return run_with("equivocate", "rules.rounds=20", "rules.topology.kind=exponential", "peers=8")


def test_an_equivocator_is_convicted_by_all_and_shut_out(caught: Simulated) -> None:
    assert caught.outcome == "finished"
    assert_copies_agree(caught)
    convicted = {peer: (time, event) for time, peer, event in caught.of(Equivocated)}
    assert set(convicted) == {f"peer-{n}" for n in range(8) if n != LIAR}
    assert {event.author for _, event in convicted.values()} == {caught.id(LIAR)}
    for node in caught.nodes:
        assert node.state.excluded(caught.nodes[LIAR].state.me.key) == (node.lying is None)
    for time, peer, event in caught.of(Mixed):
        if peer in convicted and time > convicted[peer][0]:
            assert caught.id(LIAR) not in event.neighbours
    refused = {(peer, event.reason) for _, peer, event in caught.of(Refused)}
    assert {reason for _, reason in refused} <= {"equivocation"}
    assert {peer for peer, _ in refused} <= set(convicted)


def test_its_proof_convinces_a_third_peer_that_never_heard_the_lie(caught: Simulated) -> None:
    world = caught.simulation._world
    key = caught.nodes[LIAR].state.me.key
    hearers = {n for n in range(8) if LIAR in caught.nodes[n].state.heard_by(n)}
    third = next(n for n in range(8) if n != LIAR and n not in hearers)
    fresh = world.state_of(world.citizens[third], boot=9)
    for _, _, event in caught.of(Equivocated):
        proof = bytes.fromhex(event.proof)
        author, sequence = verify_proof(proof, world.network.network_id)
        assert author == key
        assert sequence == event.sequence >= FROM_ROUND
        with pytest.raises(WrongNetwork):
            verify_proof(proof, bytes(16))
        with pytest.raises(Malformed):
            verify_proof(proof[:-1], world.network.network_id)
    assert not fresh.excluded(key)
    assert fresh.shun(proof) == (key, event.sequence)
    assert fresh.excluded(key)


def test_the_honest_learn_on_without_the_equivocator(caught: Simulated) -> None:
    for node in range(8):
        rounds = [event.round for _, _, event in caught.of(Published, node)]
        if node != LIAR:
            assert rounds == list(range(1, 21))
    assert min(accuracies(caught)) > 0.85


def test_where_nobody_can_compare_nobody_is_convicted() -> None:
    # the two who hear it on a ring of six follow nobody else in common
    run = run_with("equivocate", "rules.topology.kind=ring", "peers=6")
    assert run.outcome == "finished"
    assert not list(run.of(Equivocated))
    assert not list(run.of(Refused))
    held = {
        node.state.feeds[run.nodes[LIAR].state.me.key].head_hash
        for node in run.nodes
        if node.citizen.index in (LIAR - 1, LIAR + 1)
    }
    assert len(held) == 2


# --- what the protocol cannot see ----------------------------------------------------------------


def test_a_peer_that_lies_about_what_it_learnt_is_not_refused(honest: Simulated) -> None:
    run = run_with("sign-flip", from_round=1)
    assert run.outcome == "finished"
    assert not list(run.of(Refused))
    assert not list(run.of(Equivocated))
    assert_copies_agree(run)
    # it keeps one story: everybody holds the same copy of it, and learns less than with the truth
    own = run.nodes[LIAR].state.own
    for node in run.nodes:
        assert node.state.feeds[own.author].copy.tobytes() == own.copy.tobytes()
    assert sum(accuracies(run)) < sum(accuracies(honest))


def test_a_liar_is_honest_before_its_first_round_of_lies() -> None:
    run = run_with("garbage", from_round=ROUNDS)
    published = {event.round: time for time, _, event in run.of(Published, LIAR)}
    refused = [time for time, _, _ in run.of(Refused)]
    assert len(refused) == 4
    assert min(refused) > published[ROUNDS]


@pytest.mark.parametrize("behaviour", [attack for attack in OWN if attack != "sign-flip"])
def test_a_lie_about_what_was_learnt_changes_what_the_liar_publishes(
    honest: Simulated, behaviour: str
) -> None:
    run = run_with(behaviour)
    lies, truths = (
        {e.round: e.state for _, _, e in each.of(Published, LIAR)} for each in (run, honest)
    )
    first = {"sleeper": ROUNDS // 2 + 1, "label-flip": 1}.get(behaviour, FROM_ROUND)
    assert next(r for r in truths if lies[r] != truths[r]) == first
    assert not list(run.of(Refused))
