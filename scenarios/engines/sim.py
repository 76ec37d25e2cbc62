"""The `sim` engine: every node's protocol core in one process, on a virtual clock.

Deterministic: all chance comes from the scenario's seed, ties in time are broken by the order in
which things were scheduled, and training happens at the virtual moment at which it ends. Equal
scenarios give byte-equal event logs.

Signatures and seals are real. The noise is as much as it would be, but whoever knows the seed can
take it away again: a simulated run protects nobody's data, and its releases say so where they
name their trust model.

A link carries frames in order, as a stream does; what is under way when it breaks is lost. A crash
ends a node's timers, its training and its links; what it had stored is there when it comes back.
A cut is noticed after ``SILENCE_S``, as by a heartbeat; frames that meet it are lost.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from ...gossip import effects as fx
from ...gossip.checkpoint import Checkpoint, FeedRecord, Phase
from ...gossip.core import handle
from ...gossip.events import Event, Released
from ...gossip.feed import Delta
from ...gossip.state import State
from ..faults import SILENCE_S, Faults
from ..liars import Lying
from ..world import Citizen, World

Sink = Callable[[float, str, Event], None]
SETTLE_DEADLINES = 6  # after the last round: time for lost last words to be repaired
TRUST_MODEL = "simulated: the noise follows from the seed, so it protects nobody"


class Memory:
    """What a simulated node has on its disk: it survives a crash, nothing else does."""

    def __init__(self) -> None:
        self._checkpoint: Checkpoint | None = None
        self._feeds: dict[bytes, FeedRecord] = {}
        self._deltas: list[Delta] = []

    def keep(self, checkpoint: Checkpoint, own_key: bytes) -> None:
        """Store a checkpoint, as peer/store.py does."""
        self._checkpoint = checkpoint
        for record in checkpoint.feeds:
            self._feeds[record.author] = record
            if record.author == own_key and record.delta is not None:
                self._deltas = [*self._deltas[-63:], record.delta]

    def restore(self, state: State) -> None:
        """Bring a fresh state to where the stored one was."""
        if self._checkpoint is not None:
            # the newest record of every author, not only of those in the last checkpoint
            stored = replace(self._checkpoint, feeds=tuple(self._feeds.values()))
            state.restore(stored, self._deltas)


@dataclass(slots=True)
class Link:
    """A link between two nodes while it is up; one that is made again is another."""

    arrivals: dict[int, float] = field(default_factory=dict)  # sender -> its last frame's arrival
    free_at: dict[int, float] = field(default_factory=dict)  # sender -> when its last frame is out


@dataclass(slots=True)
class SimNode:
    """One simulated peer."""

    citizen: Citizen
    state: State
    memory: Memory
    lying: Lying | None
    boot: int = 1
    alive: bool = True
    timers: dict[str, int] = field(default_factory=dict)


class Simulation:
    """Runs the nodes of a world until all have finished and settled."""

    def __init__(self, world: World, faults: Faults, sink: Sink) -> None:
        self._world = world
        self._faults = faults
        self._sink = sink
        self._now = 0.0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._rng = np.random.default_rng([world.seed, 0xFA17])
        self._links: dict[tuple[int, int], Link] = {}
        liars = {liar.node: liar for liar in faults.liars}
        self.nodes = [
            SimNode(
                citizen=citizen,
                state=world.state_of(citizen, boot=1),
                memory=Memory(),
                lying=Lying(liars[citizen.index], world) if citizen.index in liars else None,
            )
            for citizen in world.citizens
        ]
        self._by_key = {node.state.me.key: node for node in self.nodes}
        pace = np.random.default_rng([world.seed, 0x9ACE]).random(len(self.nodes))
        self._train_s = [faults.train_s * (1.0 + faults.straggle * float(p)) for p in pace]
        for slow in faults.slow:
            self._train_s[slow.node] *= slow.times
        self._delay_s = {_pair(*link.ends): link.delay_s for link in faults.links}
        self._ahead_s = {clock.node: clock.ahead_s for clock in faults.clocks}
        rules = world.scenario.rules
        self._crashes = list(faults.crashes)
        self._down_until: dict[int, float] = {}
        self._patience = rules.rounds * (rules.deadline_s + max(self._train_s)) + 60.0
        if faults.crash_every_s:
            chance = np.random.default_rng([world.seed, 0xDEAD]).random
            self._crashes = faults.all_crashes(len(self.nodes), self._patience, chance)
        self._fault_free_from = self._planned_end()
        self._limit = self._fault_free_from + self._patience

    @property
    def now(self) -> float:
        """The virtual time, in seconds."""
        return self._now

    # -- the clock ---------------------------------------------------------------------------

    def run(self) -> str:
        """Run to the end; says how it ended."""
        for node in self.nodes:
            self._at(0.0, partial(self._give, node, fx.Started()))
        self._at(0.0, self._join_all)
        self._plan_faults()
        rules = self._world.scenario.rules
        settle_by: float | None = None
        while self._queue:
            at, _, action = heapq.heappop(self._queue)
            if at > (self._limit if settle_by is None else settle_by):
                break
            self._now = at
            action()
            if settle_by is None and self._all_finished():
                settle_by = self._now + SETTLE_DEADLINES * rules.deadline_s
            moment_over = not self._queue or self._queue[0][0] > self._now
            if settle_by is not None and moment_over and self._settled():
                return "finished"
        if not self._all_finished():
            return "stalled: some peers never finished"
        return "finished, but some copies stayed behind"

    def _at(self, time: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (time, next(self._order), action))

    def _planned_end(self) -> float:
        """When the last fault is over, of those that end while there is something to see."""
        ends = [cut.to_s for cut in self._faults.cuts]
        ends += [crash.at_s + crash.for_s for crash in self._faults.crashes]
        return max((end for end in ends if end <= self._patience), default=0.0)

    def _all_finished(self) -> bool:
        quiet = (Phase.FINISHED, Phase.OBSERVING)
        return self._now >= self._fault_free_from and all(
            node.state.phase in quiet
            for node in self.nodes
            if node.alive or self._down_until[node.citizen.index] <= self._patience
        )

    def _settled(self) -> bool:
        """Whether every follower holds what every author published, liars apart."""
        return all(
            feed.sequence == self._by_key[author].state.own.sequence
            for node in self.nodes
            if node.alive and node.lying is None  # who is shut out is brought no news
            for author, feed in node.state.feeds.items()
            if not node.state.excluded(author)
            and self._by_key[author].lying is None
            and author != node.state.me.key
        )

    # -- nodes -------------------------------------------------------------------------------

    def _give(self, node: SimNode, event: fx.Input) -> None:
        if not node.alive or (node.lying is not None and not node.lying.hears(node.state, event)):
            return
        effects = handle(node.state, event, self._now)
        if node.lying is not None:
            effects = node.lying.twist(node.state, effects)
        for effect in effects:
            self._carry_out(node, effect)

    def _carry_out(self, node: SimNode, effect: fx.Effect) -> None:
        match effect:
            case fx.Record():
                noted_at = self._now + self._ahead_s.get(node.citizen.index, 0.0)
                self._sink(noted_at, node.citizen.name, _labelled(effect.event))
            case fx.Send():
                self._post(node, effect.to, effect.frame)
            case fx.Broadcast():
                for link in effect.to:
                    self._post(node, link, effect.frame)
            case fx.SetTimer():
                self._set_timer(node, effect)
            case fx.Keep():
                node.memory.keep(effect.checkpoint, node.state.me.key)
            case fx.Train():
                end = self._now + self._train_s[node.citizen.index]
                self._at(end, partial(self._train, node, node.boot, effect))
            case fx.Evaluate():
                self._at(self._now, partial(self._evaluate, node, node.boot, effect))
            case fx.Disconnect():
                other = self._by_key[effect.link]
                ends = (node.citizen.index, other.citizen.index)
                self._at(self._now, partial(self._part, *ends, effect.why))

    def _train(self, node: SimNode, boot: int, job: fx.Train) -> None:
        if not node.alive or node.boot != boot:  # a crash ends training
            return
        answer = node.citizen.trainer.train(job)
        if node.lying is not None:
            answer = node.lying.trained(node.citizen.trainer, job, answer)
        self._give(node, answer)

    def _evaluate(self, node: SimNode, boot: int, job: fx.Evaluate) -> None:
        if node.alive and node.boot == boot:
            self._give(node, node.citizen.trainer.evaluate(job))

    def _set_timer(self, node: SimNode, timer: fx.SetTimer) -> None:
        version = next(self._order)
        node.timers[timer.timer] = version

        def fire() -> None:
            if node.timers.get(timer.timer) == version:  # not moved, not forgotten in a crash
                self._give(node, fx.TimerFired(timer=timer.timer))

        self._at(timer.at, fire)

    # -- the network -------------------------------------------------------------------------

    def _post(self, sender: SimNode, to: bytes, frame: fx.Frame) -> None:
        receiver = self._by_key[to]
        a, b = sender.citizen.index, receiver.citizen.index
        link = self._links.get(_pair(a, b))
        if link is None or self._cut_apart(a, b) or self._rng.random() < self._faults.loss:
            return
        delay = self._delay_s.get(_pair(a, b), self._faults.delay_s)
        delay += self._faults.jitter_s * float(self._rng.random())
        if self._faults.rate_bit_s:
            begins = max(self._now, link.free_at.get(a, 0.0))
            link.free_at[a] = begins + 8 * len(frame) / self._faults.rate_bit_s
            delay += link.free_at[a] - self._now
        arrival = max(self._now + delay, link.arrivals.get(a, 0.0))
        link.arrivals[a] = arrival
        copy = bytes(frame)

        def arrive() -> None:
            if self._links.get(_pair(a, b)) is link and not self._cut_apart(a, b):
                self._give(receiver, fx.Received(link=sender.state.me.key, frame=copy))

        self._at(arrival, arrive)

    def _cut_apart(self, a: int, b: int) -> bool:
        return any(
            cut.separates(a, b) for cut in self._faults.cuts if cut.from_s <= self._now < cut.to_s
        )

    def _join(self, a: int, b: int) -> None:
        one, other = self.nodes[a], self.nodes[b]
        possible = (
            one.alive
            and other.alive
            and not self._cut_apart(a, b)
            and one.state.may_link(other.state.me.key)
            and other.state.may_link(one.state.me.key)
        )
        if possible and _pair(a, b) not in self._links:
            self._links[_pair(a, b)] = Link()
            self._give(one, fx.NeighbourUp(link=other.state.me.key))
            self._give(other, fx.NeighbourUp(link=one.state.me.key))

    def _part(self, a: int, b: int, why: str) -> None:
        if self._links.pop(_pair(a, b), None) is not None:
            for node, gone in ((a, b), (b, a)):
                key = self.nodes[gone].state.me.key
                self._give(self.nodes[node], fx.NeighbourDown(link=key, why=why))

    # -- faults ------------------------------------------------------------------------------

    def _plan_faults(self) -> None:
        for crash in self._crashes:
            self._at(crash.at_s, partial(self._crash, crash.node, crash.at_s + crash.for_s))
            self._at(crash.at_s + crash.for_s, partial(self._restart, crash.node))
        for cut in self._faults.cuts:
            self._at(cut.from_s + SILENCE_S, self._notice_cuts)
            self._at(cut.to_s, self._join_all)

    def _notice_cuts(self) -> None:
        for a, b in sorted(self._links):
            if self._cut_apart(a, b):
                self._part(a, b, "silent")

    def _join_all(self) -> None:
        for node in self.nodes:
            for other in node.state.topology.all_neighbours(node.citizen.index):
                self._join(node.citizen.index, other)

    def _crash(self, index: int, until_s: float) -> None:
        node = self.nodes[index]
        self._down_until[index] = until_s
        node.alive = False
        node.timers.clear()
        for a, b in sorted(pair for pair in self._links if index in pair):
            self._part(a, b, "the connection was reset")

    def _restart(self, index: int) -> None:
        node = self.nodes[index]
        node.boot += 1
        node.state = self._world.state_of(node.citizen, boot=node.boot)
        node.memory.restore(node.state)
        node.alive = True
        self._give(node, fx.Started())
        for other in node.state.topology.all_neighbours(index):
            self._join(index, other)


def _pair(a: int, b: int) -> tuple[int, int]:
    return (a, b) if a < b else (b, a)


def _labelled(event: Event) -> Event:
    """The event as a simulation may tell it: it makes no promise of privacy."""
    if isinstance(event, Released) and event.unit != "none":
        return replace(event, trust_model=TRUST_MODEL)
    return event
