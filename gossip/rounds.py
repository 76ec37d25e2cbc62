"""One round of a peer: train, publish, wait for the neighbours, mix.

Synchronous rounds have a deadline. A peer mixes when every neighbour that it hears in this
round has published; those that are absent, excluded or too late are missing, and their weight
returns to the peer itself. Who hears nobody takes the whole deadline. A peer that was away or is
behind joins its neighbours (catching_up.py).

Asynchronous rounds have no barrier: a peer mixes at once with the newest copy of each neighbour,
whatever its round, and notes how stale it was. Nobody waits for a slow or sleeping neighbour.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..crypto.privacy import Release
from . import links
from .catching_up import catch_up, is_behind
from .checkpoint import Phase
from .effects import Effect, Evaluate, Keep, Record, SetTimer, Train, Trained
from .events import BudgetSpent, Published, Released
from .feed import NO_HASH, payload_digest
from .grid import state_hash
from .messages import EntryHeader, sign_entry
from .mixing import base_after, gamma_of
from .neighbourhood import Heard, heard, mix
from .posting import leave_notice, pull, send_news
from .publishing import next_step, payload_of
from .state import FloatVector, State, turn_of

GATHER = "gather"
NUDGE = "nudge"
DEADLINE = "deadline"
NUDGES = 4  # how often within a deadline a late neighbour is asked


# -- train -------------------------------------------------------------------------------------


def proceed(state: State, now: float) -> Iterator[Effect]:
    """Go on if what the peer waits for has come."""
    if state.phase is Phase.GATHERING:
        keys = state.neighbours()
        met = [key for key in keys if state.has_met(key)]
        gone = [key for key in keys if key in state.absent or state.excluded(key)]
        if len({*met, *gone}) == len(state.topology.all_neighbours(state.index)):
            yield from stop_gathering(state, now)
        elif met and state.own.sequence and not state.hurried:
            # they are in the midst of their rounds: who does not come now may be gone itself
            state.hurried = True
            yield SetTimer(timer=GATHER, at=now + state.me.rules.deadline_s / NUDGES)
    elif state.phase is Phase.WAITING:
        found = heard(state)
        if not _awaited(state, found) and not _is_alone(state, found):
            yield from _mix(state, found)


def stop_gathering(state: State, now: float) -> Iterator[Effect]:
    """Begin, or carry on where the checkpoint was, with those who are there."""
    if state.phase is not Phase.GATHERING or state.claims:
        return
    # who is far behind does not mix its old release with what the others have by now: it goes there
    if state.resume_phase is Phase.WAITING and not is_behind(state):
        state.phase = Phase.WAITING
        yield from _wait(state, now)
    else:
        yield from _begin(state)


def settled(state: State, now: float) -> Iterator[Effect]:
    """Go on when nobody says any more that our feed is longer than we know."""
    if state.claims:
        return
    held, state.held = state.held, None
    if held is not None:
        yield from trained(state, held, now)
    yield from stop_gathering(state, now)


def _begin(state: State) -> Iterator[Effect]:
    yield from catch_up(state)
    state.phase = Phase.TRAINING
    yield Train(
        round=state.round,
        model=state.model,
        drift=state.algorithm.drift(state.memory),
        beta=state.algorithm.beta,
    )


# -- publish -----------------------------------------------------------------------------------


def trained(state: State, event: Trained, now: float) -> Iterator[Effect]:
    """Publish what the learner released."""
    if state.phase is not Phase.TRAINING or event.round != state.round:
        return  # this peer has become an observer meanwhile
    if state.claims:
        state.held = event  # two entries with one number would convict this peer
        return
    release = event.release
    if event.stopped is not None and state.stopped is None:
        state.stopped = event.stopped
        yield Record(
            event=BudgetSpent(
                round=state.round,
                epsilon=release.epsilon or 0.0,
                delta=release.delta or 0.0,
                why=event.stopped,
            )
        )
    yield Record(event=released(release, state.round))
    state.trained = event.stopped is None
    published = _publish(state, release.z)
    state.phase = Phase.WAITING
    yield Keep(checkpoint=state.checkpoint())
    yield Record(event=published)  # not before: after a crash the number would be given again
    yield from _spread(state)
    yield from leave_notice(state)
    yield from _wait(state, now)


def released(release: Release, round: int) -> Released:
    """What the event log tells of a release."""
    return Released(
        round=round,
        unit=release.unit,
        epsilon=release.epsilon,
        delta=release.delta,
        relation=release.relation,
        trust_model=release.trust_model,
        accountant=release.accountant,
        mechanism=release.mechanism,
        noise_multiplier=release.event.noise_multiplier if release.event else 0.0,
        sampling_rate=release.event.sampling_rate if release.event else 0.0,
        steps=release.event.steps if release.event else 0,
        ledger=release.ledger,
    )


def _publish(state: State, release: FloatVector) -> Published:
    rules, own = state.me.rules, state.own
    turn = turn_of(state)
    vectors, state.memory = state.algorithm.outgoing(turn, release)
    before = own.copy.reshape(vectors.shape)
    step = next_step(vectors, before, rules, state.round)
    copy = step.copy.reshape(-1)
    payload = payload_of(step.sent, rules)
    entry = sign_entry(
        state.me.identity,
        EntryHeader(
            network_id=state.me.certificate.network_id,
            author=state.me.key,
            sequence=own.sequence + 1,
            round=state.round,
            samples=state.me.samples if rules.weighting == "samples" else 0,
            previous=own.head_hash or NO_HASH,
            state=state_hash(copy),
            payload_digest=payload_digest(payload),
        ),
    )
    own.append(entry, copy, payload)
    state.base = base_after(rules, state.algorithm, turn, state.base, before, step)
    state.gamma = gamma_of(rules.mixing, step.captured)
    return Published(
        round=state.round,
        sequence=own.sequence,
        state=entry.header.state.hex(),
        size_bytes=len(payload),
        captured=float(step.captured[0]),
    )


def _spread(state: State) -> Iterator[Effect]:
    """Send each neighbour that hears us in this round the cheapest road from where it is."""
    hearers = state.keys_at(state.topology.out_neighbours(state.index, state.round))
    by_base: dict[int, list[bytes]] = {}
    for key in hearers:
        if key in state.greeted and not state.excluded(key):
            by_base.setdefault(state.known.get(key, 0), []).append(key)
    for base, keys in by_base.items():
        yield from send_news(state, state.own.road_from(base), keys)


# -- wait --------------------------------------------------------------------------------------


def _wait(state: State, now: float) -> Iterator[Effect]:
    deadline_s = state.me.rules.deadline_s
    yield SetTimer(timer=DEADLINE, at=now + deadline_s)
    yield SetTimer(timer=NUDGE, at=now + deadline_s / NUDGES)
    yield from proceed(state, now)


def _awaited(state: State, found: Heard) -> list[bytes]:
    """Neighbours that this round still waits for."""
    if state.is_asynchronous:
        return []
    missing = state.keys_at(found.missing)
    return [key for key in missing if key not in state.absent and not state.excluded(key)]


def _is_alone(state: State, found: Heard) -> bool:
    """Whether none of those that this peer follows is there, and none was heard in this round.

    Then each round takes its whole deadline. A peer that nobody holds back would else run through
    all its rounds alone in a moment, and draw those who come back after it.
    """
    if state.is_asynchronous or found.versions:
        return False
    followed = state.keys_at(sorted(state.heard_by(state.index)))
    counted = [key for key in followed if not state.excluded(key)]
    return bool(counted) and all(key in state.absent for key in counted)


def nudge(state: State, now: float) -> Iterator[Effect]:
    """Ask late neighbours for their entry: the frame may have been lost."""
    if state.phase is not Phase.WAITING:
        return
    for key in _awaited(state, heard(state)):
        if key in state.greeted:
            yield from pull(state, key, key, now)
    yield SetTimer(timer=NUDGE, at=now + state.me.rules.deadline_s / NUDGES)


def deadline(state: State) -> Iterator[Effect]:
    """Go on without those who are late; nobody waits for them until they are heard again."""
    if state.phase is Phase.WAITING:
        found = heard(state)
        state.absent.update(_awaited(state, found))
        yield from _mix(state, found)


# -- mix ---------------------------------------------------------------------------------------


def _mix(state: State, found: Heard) -> Iterator[Effect]:
    round_ = state.round
    mixture = mix(state, found)
    turn, before = turn_of(state), state.model
    state.model = mixture.vectors[0]
    yield Record(event=mixture.event)
    state.memory = state.algorithm.settle(turn, state.base, mixture.vectors)
    yield Evaluate(round=round_, model=state.model)
    for feed in state.feeds.values():
        feed.forget_versions(round_)
    if round_ % links.WITNESS_EVERY == 0:
        yield from links.tell_heads(state)
    after = state.model
    yield from _next(state)
    # only the log needs it, so the next training has begun
    yield Record(event=mixture.sketched(before, after, state.me.certificate.network_id))


def _next(state: State) -> Iterator[Effect]:
    if state.round >= state.me.rules.rounds:
        state.phase = Phase.FINISHED
        yield Keep(checkpoint=state.checkpoint())
        yield from links.tell_heads(state)
        return
    state.round += 1
    state.phase = Phase.TRAINING
    yield Keep(checkpoint=state.checkpoint())
    yield from _begin(state)
