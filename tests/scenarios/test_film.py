"""Films and curves of runs: bounded, whatever the log says, and true to it."""

from __future__ import annotations

import base64
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scenarios.log_factory import any_lines, id_of, name_of
from tidings.gossip.events import Evaluated, Event, LinkDown, LinkUp, PeerStarted, Sent, Sketched
from tidings.scenarios.page import film as film_module
from tidings.scenarios.page.curves import POINTS, Curves
from tidings.scenarios.page.film import DOWN, FRAMES, NEVER, Film
from tidings.scenarios.page.layout import places
from tidings.scenarios.run_log import LogLine, parse_line


def line(time: float, peer: int, event: Event) -> LogLine:
    return LogLine(time=time, peer=name_of(peer), event=event)


def started(peer: int) -> Event:
    return PeerStarted(
        id=id_of(peer), index=peer, round=1, sequence=0, network="00" * 16, parameters=1
    )


def sent(to: int, size_bytes: int) -> Event:
    return Sent(to=id_of(to), message="news", size_bytes=size_bytes)


def evaluated(round_: int, accuracy: float) -> Event:
    return Evaluated(round=round_, accuracy=accuracy, loss=1.0, samples=10)


def filmed(*lines: LogLine) -> Film:
    film = Film()
    for each in lines:
        film.add(each)
    return film


def unpacked(film: Film, name: str, kind: str) -> np.ndarray:
    told = film.as_json()
    raw = np.frombuffer(base64.b64decode(told[name]), dtype=kind)
    return raw.reshape(told["frames"], -1)


@given(st.lists(any_lines(), max_size=30))
@settings(max_examples=60, deadline=None)
def test_whatever_a_log_says_becomes_a_film_and_curves(lines: list[str]) -> None:
    film, curves = Film(), Curves()
    for raw in lines:
        try:
            one = parse_line(raw.encode())
        except ValueError:
            continue
        film.add(one)
        curves.add(one)
    told = json.loads(json.dumps([film.as_json(), curves.as_json()], allow_nan=False))
    assert told[0]["frames"] <= FRAMES
    json.dumps(film.last_frame(), allow_nan=False)


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=300),
    st.integers(1, 5),
)
@settings(max_examples=50, deadline=None)
def test_no_byte_is_lost_when_frames_become_one(times: list[float], size: int) -> None:
    film = filmed(line(0, 0, started(0)), line(0, 1, started(1)))
    for time in sorted(times):
        film.add(line(time, 0, sent(1, size)))
    film.as_json()
    assert sum(float(frame.sent.sum()) for frame in film._frames) == size * len(times)
    assert len(film._frames) <= FRAMES
    assert film._width * FRAMES > max(times)


def test_frames_hold_what_happened_in_their_time() -> None:
    film = filmed(
        *(line(0, peer, started(peer)) for peer in range(3)),
        line(1.0, 0, sent(1, 1024)),
        line(2.0, 1, evaluated(1, 0.25)),
        line(3.0, 1, LinkDown(neighbour=id_of(2), why="silent")),
        line(4.0, 1, LinkUp(neighbour=id_of(2))),
        line(5.0, 2, evaluated(1, 0.75)),
    )
    told = film.as_json()
    at = {time: int(time / told["width"]) for time in (1, 2, 3, 4, 5)}
    loads, accuracy = unpacked(film, "bytes", "u1"), unpacked(film, "accuracy", "<u2")
    assert told["edges"] == [[0, 1], [1, 2]]
    assert loads[at[1], 0] == 1 + 8 * 10
    assert set(loads[:, 0]) == {0, 81}
    assert {loads[at[3], 1], loads[at[4] - 1, 1]} == {DOWN}
    assert loads[at[4], 1] == 0
    assert list(accuracy[at[1]]) == [NEVER] * 3
    assert list(accuracy[at[2]]) == [NEVER, 2500, NEVER]
    assert list(accuracy[at[5]]) == [NEVER, 2500, 7500]


def test_distances_are_from_the_mean_model() -> None:
    def sketched(sketch: tuple[float, ...]) -> Event:
        return Sketched(round=1, sketch=sketch)

    film = filmed(
        line(0, 0, started(0)), line(0, 1, started(1)), line(0, 2, started(2)),
        line(1, 0, sketched((0.0, 0.0))), line(1, 1, sketched((6.0, 8.0))),
    )  # fmt: skip
    last = unpacked(film, "distance", "<f4")[-1]
    assert list(last[:2]) == [5.0, 5.0]
    assert math.isnan(last[2])


def test_a_step_is_the_last_frame_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    film = filmed(line(0, 0, started(0)), line(0, 1, started(1)), line(1, 0, sent(1, 100)))
    shape = film.shape()
    film.add(line(1.0, 1, evaluated(1, 0.5)))
    assert film.shape() == shape  # so a page needs no more than the step
    step, whole = film.last_frame(), film.as_json()
    for name, kind in (("bytes", "u1"), ("accuracy", "<u2"), ("distance", "<f4")):
        new = np.frombuffer(base64.b64decode(step[name]), dtype=kind)
        assert new.tobytes() == unpacked(film, name, kind)[step["frame"]].tobytes()
    assert step["frame"] == whole["frames"] - 1


def test_what_is_too_much_to_draw_is_left_out_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(film_module, "MAX_PEERS", 2)
    film = filmed(*(line(0, peer, started(peer)) for peer in range(4)))
    assert film.as_json()["leftOut"] == {"peers": 2}


@given(st.integers(0, 120), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_everybody_has_a_place_in_the_picture(nodes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    edges = (
        [tuple(map(int, rng.choice(nodes, 2, False))) for _ in range(nodes)] if nodes > 1 else []
    )
    spots = np.array(places(nodes, edges))
    assert len(spots) == nodes
    assert np.isfinite(spots).all()
    assert np.abs(spots).max(initial=0) <= 1.0001


def test_two_clusters_stand_apart() -> None:
    rng = np.random.default_rng(3)
    halves = [list(range(40)), list(range(40, 80))]
    edges = [tuple(map(int, rng.choice(half, 2, False))) for half in halves for _ in range(160)]
    spots = np.array(places(80, [*edges, (0, 40)]))
    centres = [spots[half].mean(axis=0) for half in halves]
    spread = max(float(spots[half].std(axis=0).max()) for half in halves)
    assert np.linalg.norm(centres[0] - centres[1]) > 1.5 * spread


# -- curves ---------------------------------------------------------------------------------------


def test_curves_are_means_and_ends_of_each_round() -> None:
    curves = Curves()
    for peer, accuracy in enumerate((0.2, 0.4, 0.9)):
        curves.add(line(1, peer, evaluated(1, accuracy)))
        curves.add(line(1, peer, sent(0, 10)))
    curves.add(line(2, 0, evaluated(2, 0.5)))
    told = curves.as_json()
    assert told["rounds"] == [1, 2]
    assert told["mean"] == [0.5, 0.5]
    assert (told["low"], told["high"]) == ([0.2, 0.5], [0.9, 0.5])
    assert told["deviation"][0] == pytest.approx(np.std([0.2, 0.4, 0.9]), rel=1e-5)
    assert told["sent"] == [30, 0]


@given(st.integers(1, 5000))
@settings(max_examples=20, deadline=None)
def test_curves_of_many_rounds_stay_short(rounds: int) -> None:
    curves = Curves()
    for round_ in range(rounds):
        curves.add(line(round_, 0, evaluated(round_, round_ / rounds)))
    told = curves.as_json()
    assert len(told["rounds"]) <= POINTS
    assert told["rounds"] == list(range(0, rounds, told["every"]))
    assert told["mean"] == [float(f"{r / rounds:.6g}") for r in told["rounds"]]
