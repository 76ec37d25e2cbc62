"""A village whose clock can be moved and whose peers can crash and come back.

town = Town(3)
town.start()
town.pass_time(1.0)              # timers that come due fire, at their own moments
town.crash_after(1, effects=3)   # peer 1 dies when it has carried out three more effects
town.restart(1)                  # ... and comes back with what it had stored by then
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from tests.helpers import Village
from tidings.crypto.identity import short_id
from tidings.gossip import effects as fx
from tidings.gossip.checkpoint import Checkpoint, FeedRecord
from tidings.gossip.events import Published, Received
from tidings.gossip.feed import Delta
from tidings.gossip.state import State


class Town(Village):
    """A village with time and crashes."""

    def __init__(self, members: int = 2, **options: object) -> None:
        super().__init__(members, **options)  # type: ignore[arg-type]
        self.alive = [True] * members
        self.links: set[frozenset[int]] = set()
        self._left: dict[int, int] = {}  # effects that a doomed peer still carries out
        self._boots = [1] * members

    # -- what happens ------------------------------------------------------------------------

    def give(self, index: int, event: fx.Input) -> list[fx.Effect]:
        """Tell one peer something; one that is dead, or dies of it, does no more."""
        if not self.alive[index]:
            return []
        if index not in self._left:
            return super().give(index, event)
        # what a dying peer does in memory is lost with it; what it carried out is not
        mail, kept, jobs = len(self.mail), len(self.kept[index]), self.jobs[index]
        events, timers = len(self.events[index]), dict(self.timers[index])
        effects = super().give(index, event)
        if len(effects) < self._left[index]:
            self._left[index] -= len(effects)
            return effects
        done = effects[: self._left.pop(index)]
        sent = sum(
            1 if isinstance(e, fx.Send) else len(e.to) if isinstance(e, fx.Broadcast) else 0
            for e in done
        )
        while len(self.mail) > mail + sent:
            self.mail.pop()
        del self.kept[index][kept + sum(isinstance(e, fx.Keep) for e in done) :]
        del self.events[index][events + sum(isinstance(e, fx.Record) for e in done) :]
        self.jobs[index], self.timers[index] = jobs, timers
        self._die(index)
        return done

    def join(self, a: int, b: int) -> None:
        """A link comes up, if both are alive."""
        if self.alive[a] and self.alive[b] and frozenset((a, b)) not in self.links:
            self.links.add(frozenset((a, b)))
            super().join(a, b)

    def part(self, a: int, b: int, why: str = "test") -> None:
        """A link breaks, if there is one."""
        if frozenset((a, b)) in self.links:
            self.links.discard(frozenset((a, b)))
            super().part(a, b, why)

    def fire(self, index: int, timer: str) -> list[fx.Effect]:
        """A timer that was set comes due."""
        self.now = max(self.now, self.timers[index].pop(timer))
        return self.give(index, fx.TimerFired(timer=timer))

    def pass_time(self, seconds: float) -> None:
        """Let time pass: every timer that comes due fires in turn, every frame arrives."""
        end = self.now + seconds
        while True:
            due = [
                (at, index, name)
                for index, timers in enumerate(self.timers)
                for name, at in timers.items()
                if at <= end and self.alive[index]
            ]
            if not due:
                break
            _, index, name = min(due)
            self.fire(index, name)
            self.exchange()
        self.now = end

    # -- crashes -----------------------------------------------------------------------------

    def crash_after(self, index: int, effects: int) -> None:
        """Have a peer die in the midst of what it does, after so many effects."""
        if self.alive[index] and effects > 0:
            self._left[index] = effects

    def crash(self, index: int) -> None:
        """Have a peer die now."""
        self._left.pop(index, None)
        if self.alive[index]:
            self._die(index)

    def _die(self, index: int) -> None:
        self.alive[index] = False
        self.jobs[index] = None
        self.timers[index].clear()
        # what it handed over before it died still arrives
        for _, other, frame in [letter for letter in self.mail if letter[0] == index]:
            self.give(other, fx.Received(link=self.keys[index], frame=bytes(frame)))
        self.mail = deque(letter for letter in self.mail if index not in letter[:2])
        for other in range(len(self.states)):
            if frozenset((index, other)) in self.links:
                self.links.discard(frozenset((index, other)))
                self.give(other, fx.NeighbourDown(link=self.keys[index], why="it died"))

    def restart(self, index: int, *, kept: int | None = None, boot: int | None = None) -> State:
        """Bring a peer back from its disk, or from a backup of its first ``kept`` checkpoints."""
        self.crash(index)
        self.mail = deque(letter for letter in self.mail if index not in letter[:2])
        self._boots[index] = boot or self._boots[index] + 1
        state = self.make_state(index, boot=self._boots[index])
        on_disk = self.kept[index] if kept is None else self.kept[index][:kept]
        if on_disk:
            state.restore(*stored(on_disk, self.keys[index]))
        self.states[index] = state
        self.alive[index] = True
        self.give(index, fx.Started())
        for other in state.topology.all_neighbours(index):
            self.join(index, other)
        return state

    def train(self, index: int, step: float = 0.01) -> None:
        """Answer the training that a peer asked for; no two boots learn the same."""
        job, self.jobs[index] = self.jobs[index], None
        assert job is not None, "it did not ask for training"
        z = stepped(job.model, self.seed, index, job.round, self._boots[index], size=step)
        self.give(index, fx.Trained(round=job.round, release=self.release(job.round, z)))

    def train_all(self) -> None:
        """Answer all training that is asked for, and deliver what comes of it."""
        for index, job in enumerate(self.jobs):
            if job is not None and self.alive[index]:
                self.train(index)
        self.exchange()

    def finish(self, deadlines: int = 60) -> None:
        """Let everybody alive train to the end, then settle for some deadlines more."""
        for _ in range(deadlines):
            self.train_all()
            if not any(self.jobs):
                self.pass_time(self.rules.deadline_s / 4)
        self.pass_time(3 * self.rules.deadline_s)

    # -- what was seen -----------------------------------------------------------------------

    def truths(self) -> dict[tuple[str, int], set[str]]:
        """(author, sequence) -> every state that anybody ever noted for it."""
        found: dict[tuple[str, int], set[str]] = {}
        for index, events in enumerate(self.events):
            for event in events:
                if isinstance(event, Published):
                    author = short_id(self.keys[index])
                elif isinstance(event, Received) and event.message == "news":
                    author = event.author
                else:
                    continue
                found.setdefault((author, event.sequence), set()).add(event.state)
        return found


def stored(kept: Iterable[Checkpoint], own_key: bytes) -> tuple[Checkpoint, list[Delta]]:
    """What a disk holds after some checkpoints: the newest feed of each author, own deltas."""
    feeds: dict[bytes, FeedRecord] = {}
    deltas: list[Delta] = []
    newest: Checkpoint | None = None
    for newest in kept:
        feeds |= {record.author: record for record in newest.feeds}
        deltas += [r.delta for r in newest.feeds if r.author == own_key and r.delta is not None]
    assert newest is not None
    return replace(newest, feeds=tuple(feeds.values())), deltas


def stepped(model: np.ndarray, *purpose: int, size: float = 0.01) -> np.ndarray:
    """A model a little way from this one."""
    rng = np.random.default_rng(purpose)
    return model + np.float32(size) * rng.standard_normal(model.size, dtype=np.float32)
