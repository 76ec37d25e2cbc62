"""What [faults] do to synchronous rounds of thousands of nodes: the simulator's rules, by round.

For each round it works out, for all nodes and links at once, when each node publishes, when its
frames arrive, whom each node waits for, and when it mixes: as gossip/rounds.py has it, with the
network of engines/sim.py. A lost frame is asked for again at quarters of the deadline; whoever is
missing when the deadline is over is waited for no more until it is heard again; a link that breaks
is noticed at once when a node dies, and after a silence when a line is cut. A node that comes back
joins the round that half of its neighbours have reached and goes on from what they have.

It is a model of the protocol, not the protocol: hellos take one delay, all frames of a network
are equally long, and a copy that was asked for again is the one of that round. Its figures are
compared with the simulator's in tests/scenarios/test_weather.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ....gossip.block_mixing import NOBODY, Sources
from ....gossip.rounds import NUDGES
from ...faults import SILENCE_S, Faults
from .graph import Graph
from .outages import Cuts, Downtimes, Mask, train_times
from .tape import Nodes, Times, Wave


class Weather:
    """A tape of synchronous rounds with faults; ``frame_bits`` is how long a frame is taken to be.

    All chance follows from ``seed``.
    """

    spare = 0

    def __init__(
        self,
        graph: Graph,
        faults: Faults,
        *,
        rounds: int,
        deadline_s: float,
        seed: int,
        frame_bits: float,
    ) -> None:
        self.count = rounds
        self._graph = graph
        self._faults = faults
        self._deadline_s = deadline_s
        self._seed = seed
        n = graph.nodes
        self._train_s = train_times(faults, n, seed)
        self._frame_s = frame_bits / faults.rate_bit_s if faults.rate_bit_s else 0.0
        until = rounds * (deadline_s + float(self._train_s.max()))
        chance = np.random.default_rng([seed, 0xDEAD]).random
        self._downtimes = Downtimes(n, faults.all_crashes(n, until, chance))
        self._cuts = Cuts(n, faults.cuts, SILENCE_S)

    def waves(self) -> Iterator[Wave]:
        """One wave for each round, and small ones for those who come back in between."""
        yield from _Run(self).waves()


class _Run:
    """One pass over the rounds."""

    def __init__(self, weather: Weather) -> None:
        self._w = weather
        n = weather._graph.nodes
        self._rng = np.random.default_rng([weather._seed, 0xFA17])
        self._ready = weather._faults.delay_s + self._jitter((n,))  # hellos come first
        self._back = np.zeros(n)  # when a node that is away comes back; 0: it is here
        self._waiting = np.zeros(n, dtype=np.bool_)  # it had published when it went
        self._round = np.zeros(n, dtype=np.int64)  # of the last entry
        self._ever = weather._graph.ever()
        self._absent_of = np.zeros(len(self._ever), dtype=np.bool_)

    def waves(self) -> Iterator[Wave]:
        last = self._w.count
        for number in range(1, last + 1):
            sources = self._w._graph.neighbours(number)
            self._leave(np.flatnonzero(self._back == 0), self._ready, self._ready)
            yield from self._return(number, sources)
            present = self._back == 0
            published = np.where(present, self._ready + self._w._train_s, np.inf)
            self._leave(np.flatnonzero(present), self._ready, published)
            present = self._back == 0
            published[~present] = np.inf
            yield self._one(number, sources, present, published)
        yield from self._return(last + 1, self._w._graph.neighbours(last))

    # -- one round ---------------------------------------------------------------------------

    def _one(self, number: int, sources: Sources, present: Mask, published: Times) -> Wave:
        there = sources != NOBODY
        other = np.where(there, sources, 0)
        me = np.broadcast_to(np.arange(len(sources))[:, None], sources.shape)
        mine = np.broadcast_to(published[:, None], sources.shape)
        arrivals, repeats = self._arrivals(me, other, there & present[:, None], published)
        key = self._ever_places(me, other, there)
        awaited = there & ~self._absent_of[key]
        broken = self._broken(me, other, mine)
        limit = published + self._w._deadline_s
        resolved = np.where(awaited, np.minimum(arrivals, broken), -np.inf)
        everyone = np.maximum(published, resolved.max(axis=1, initial=-np.inf))
        alone = self._alone(awaited & (broken <= mine)) & there.any(axis=1)
        mixed = np.where(alone & ~(arrivals <= mine).any(axis=1), limit, everyone)
        mixed = np.minimum(mixed, limit)
        heard = there & (arrivals <= mixed[:, None])
        late = awaited & ~heard & (mixed == limit)[:, None]
        lost = awaited & (broken <= mixed[:, None])
        absent = (self._absent_of[key] | late | lost) & ~(np.isfinite(arrivals) & ~lost)
        mask = there & present[:, None]
        self._absent_of[key[mask]] = absent[mask]
        self._round[present] = number
        publish = np.flatnonzero(present)
        self._leave(publish, published, mixed, waiting=True)
        mix = np.flatnonzero(present & (self._back == 0))
        self._ready[mix] = mixed[mix]
        sent = self._reachable(publish, number, published, repeats)
        return Wave(
            publish=publish,
            publish_rounds=np.full(len(publish), number),
            publish_times=published[publish],
            mix=mix,
            mix_rounds=np.full(len(mix), number),
            mix_times=mixed[mix],
            sources=np.where(heard, sources, NOBODY)[mix],
            versions=np.where(heard, number, NOBODY)[mix],
            heard_by=sent,
            until=float(np.where(self._back > 0, self._back, self._ready).min()),
        )

    def _alone(self, broken: Mask) -> Mask:
        """Who has none of those that it follows, (N,); ``broken`` (N, K) are links found dead."""
        n = self._w._graph.nodes
        followed = np.bincount(self._ever[~self._absent_of] // n, minlength=n)
        alone: Mask = followed <= broken.sum(axis=1)
        return alone

    def _arrivals(
        self, me: Nodes, other: Nodes, there: Mask, published: Times
    ) -> tuple[Times, NDArray[np.int64]]:
        """When each neighbour's frame of this round arrives, (N, K), infinite where it does not;
        and who sent one again to whom (2, F).
        """
        faults = self._w._faults
        sent = published[other]
        travel = faults.delay_s + self._jitter(sent.shape) + self._w._frame_s
        arrivals = sent + travel
        ask = np.where(np.isfinite(published), published, 0.0)[:, None]
        lost = self._rng.random(sent.shape) < faults.loss if faults.loss else ~there
        leaves = sent
        repeats = [np.empty((2, 0), dtype=np.int64)]
        for k in range(NUDGES):
            blocked = self._blocked(me, other, leaves, arrivals)
            again = there & np.isfinite(sent) & (lost | blocked)
            if k + 1 == NUDGES or not again.any():
                break
            # it is asked for at a quarter of the deadline, and comes if it is there by then
            asked = ask + (k + 1) * self._w._deadline_s / NUDGES
            answered = np.maximum(asked + faults.delay_s, sent)
            leaves = np.where(again, answered, leaves)
            repeated = again & (sent <= asked + faults.delay_s)
            repeats.append(np.stack([other[repeated], me[repeated]]))
            arrivals = np.where(again, answered + travel, arrivals)
            fails = 1 - (1 - faults.loss) ** 2
            lost = again & (self._rng.random(sent.shape) < fails)
        return np.where(there & ~again, arrivals, np.inf), np.hstack(repeats)

    def _blocked(self, me: Nodes, other: Nodes, sent: Times, arrival: Times) -> Mask:
        """Whether the line is cut or the receiver down when a frame is sent or would arrive."""
        w = self._w
        cut = w._cuts.cut(me, other, sent) | w._cuts.cut(me, other, arrival)
        return cut | w._downtimes.down(me, arrival) | w._downtimes.down(me, sent)

    def _broken(self, me: Nodes, other: Nodes, since: Times) -> Times:
        """When each link is found to be broken, from ``since`` (N, K) on."""
        since = np.where(np.isfinite(since), since, 0.0)
        noticed = self._w._cuts.noticed(me, other, since)
        begin, _ = self._w._downtimes.next(other.reshape(-1), since.reshape(-1))
        return np.minimum(noticed, np.maximum(begin.reshape(since.shape), since))

    def _reachable(
        self, publish: Nodes, number: int, published: Times, repeats: Nodes
    ) -> list[list[int]] | None:
        """To whom each publisher's frame is handed: those that it has a link with, and those that
        ask for it again; None: to all that hear it, once.
        """
        counts, to = self._w._graph.hearers(publish, np.full(len(publish), number))
        senders = np.repeat(publish, counts)
        at = published[senders]
        gone = self._w._downtimes.down(to, at) | (self._w._cuts.noticed(senders, to, at) <= at)
        if not gone.any() and not repeats.size:
            return None
        ends = np.cumsum(counts)[:-1]
        parts = zip(np.split(to, ends), np.split(~gone, ends), strict=True)
        sent = [part[keep].tolist() for part, keep in parts]
        place = {node: i for i, node in enumerate(publish.tolist())}
        for sender, asking in repeats.T.tolist():
            sent[place[sender]].append(asking)
        return sent

    # -- coming and going ----------------------------------------------------------------------

    def _leave(self, nodes: Nodes, since: Times, until: Times, *, waiting: bool = False) -> None:
        """Take those away who die between ``since`` and ``until`` (N,)."""
        begin, end = self._w._downtimes.next(nodes, since[nodes])
        gone = begin <= until[nodes]
        self._back[nodes[gone]] = end[gone]
        self._waiting[nodes[gone]] = waiting

    def _return(self, number: int, sources: Sources) -> Iterator[Wave]:
        """Bring back those who find that less than half of their neighbours have come to a round.

        They mix what they had published before they went, or skip rounds, and do the round before
        that one.
        """
        away = np.flatnonzero(self._back > 0)
        if not len(away):
            return
        w = self._w
        back = self._back[away] + 2 * w._faults.delay_s
        there = sources[away] != NOBODY
        other = np.where(there, sources[away], 0)
        here = there & (self._back[other] == 0)
        due = np.where(here, (self._ready + w._train_s)[other], np.inf)
        if number > w.count:
            due = np.full(due.shape, np.inf)
        reached = (here & (due <= back[:, None])).sum(axis=1)
        ends = (2 * reached < here.sum(axis=1)) | ~here.any(axis=1)
        joining = ends if number <= w.count else np.isfinite(back)
        who, back = away[joining], back[joining]
        if not len(who):
            return
        waiting = self._waiting[who]
        came_from = self._round[who] + ~waiting
        skips = number - 1 > came_from + w._graph.topology.lead
        late = waiting & ~skips
        if late.any():
            yield self._mixing(who[late], self._round[who[late]], back[late])
        if skips.any():
            yield self._rejoining(who[skips], came_from[skips], number - 1, back[skips])
        behind = self._round[who] < number - 1
        if behind.any():
            back = np.where(behind, back + w._train_s[who], back)
            self._round[who[behind]] = number - 1
            rounds = np.full(int(behind.sum()), number - 1, dtype=np.int64)
            yield self._mixing(who[behind], rounds, back[behind], publish=True)
        self._back[who] = 0
        self._ready[who] = back
        self._absent_of[np.isin(self._ever // w._graph.nodes, who)] = False

    def _mixing(self, nodes: Nodes, rounds: Nodes, times: Times, *, publish: bool = False) -> Wave:
        """Some nodes mix, each in a round of its own, with whatever copies are there by now."""
        sources, _ = self._w._graph.at(nodes, rounds)
        wave = self._taking(nodes, rounds, times, sources, rounds)
        if not publish:
            return wave
        return replace(wave, publish=nodes, publish_rounds=rounds, publish_times=times)

    def _rejoining(self, nodes: Nodes, came_from: Nodes, to_round: int, times: Times) -> Wave:
        """Some nodes skip to a round, with the copies of those that they have a link with."""
        followed = self._w._graph.followed(nodes)
        me = np.broadcast_to(nodes[:, None], followed.shape)
        at = np.broadcast_to(times[:, None], followed.shape)
        linked = (followed != NOBODY) & (self._w._cuts.noticed(me, followed, at) > at)
        sources = np.where(linked, followed, NOBODY)
        rounds = np.full(len(nodes), to_round, dtype=np.int64)
        wave = self._taking(nodes, rounds, times, sources, rounds - self._w._graph.topology.lead)
        return replace(wave, came_from=came_from)

    def _taking(
        self, nodes: Nodes, rounds: Nodes, times: Times, sources: Sources, since: Nodes
    ) -> Wave:
        """Some nodes take the copies of ``sources`` (n, K) that are there, of a round ``since``
        which each wants them, (n,), or later.
        """
        other = np.where(sources != NOBODY, sources, 0)
        versions = np.where(self._back[other] == 0, self._round[other], NOBODY)
        fit = (sources != NOBODY) & (versions >= since[:, None])
        none = np.empty(0, dtype=np.int64)
        return Wave(
            publish=none,
            publish_rounds=none,
            publish_times=none.astype(np.float64),
            mix=nodes,
            mix_rounds=rounds,
            mix_times=times,
            sources=np.where(fit, sources, NOBODY),
            versions=np.where(fit, versions, NOBODY),
        )

    def _jitter(self, shape: tuple[int, ...]) -> Times:
        jitter = self._w._faults.jitter_s
        return jitter * self._rng.random(shape) if jitter else np.zeros(shape)

    def _ever_places(self, me: Nodes, other: Nodes, there: Mask) -> NDArray[np.int64]:
        """Where each link stands among all links of all rounds."""
        keys = me * self._w._graph.nodes + other
        return np.where(
            there, np.minimum(np.searchsorted(self._ever, keys), len(self._ever) - 1), 0
        )
