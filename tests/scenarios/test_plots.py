"""Pictures: drawn from any log, and readable."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import matplotlib.image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scenarios.log_factory import (
    HOSTILE_NAMES,
    Line,
    any_lines,
    evaluated,
    honest_run,
    released,
    run_started,
    sent,
    sketched,
    started,
    write_log,
)
from tidings.crypto.errors import ConfigError, StorageError
from tidings.gossip.events import Refused, RolledBack
from tidings.scenarios import drawing, plots
from tidings.scenarios.summary import RunSummary, summarise

ALL = {"learning", "consensus", "epsilon", "topology", "bytes"}


def summary(folder: Path, lines: list[Line]) -> RunSummary:
    """The summary of a run with these lines in one log."""
    write_log(folder / "events.jsonl", lines)
    return summarise(folder)


def hostile_run() -> list[Line]:
    """Peers whose names attack whoever prints them, with one round each."""
    lines: list[Line] = [(0, "", run_started(name="<b>[red]$x\x1b[2J"))]
    for index, name in enumerate(HOSTILE_NAMES):
        peer = [
            started(index, id=f"id-{name}"),
            released(unit=name, relation=name),
            sent(to=f"id-{HOSTILE_NAMES[index - 1]}", size_bytes=100 * index),
            Refused(sender=name, reason=name, detail=name, size_bytes=1),
            RolledBack(own_sequence=1, seen_sequence=2),
            sketched(1, [float(index)] * 64),
            evaluated(1, index / 20),
        ]
        lines += [(1, name, event) for event in peer]
    return lines


def test_a_run_gives_every_picture(tmp_path: Path):
    images = plots.pictures(summary(tmp_path, honest_run(peers=5, rounds=4)))
    assert images.keys() == ALL
    for image in images.values():
        pixels = matplotlib.image.imread(io.BytesIO(image), format="png")
        assert pixels.shape[0] > 400
        assert pixels.shape[1] > 800
        assert len({tuple(pixel) for pixel in pixels[::7, ::7, :3].reshape(-1, 3)}) > 3


def test_pictures_are_the_same_each_time(tmp_path: Path):
    run = summary(tmp_path, honest_run(peers=3, rounds=3))
    assert plots.pictures(run) == plots.pictures(run)


def test_what_the_log_does_not_tell_is_not_drawn(tmp_path: Path):
    assert plots.pictures(summary(tmp_path / "a", [(0, "", run_started())])) == {}
    alone: list[Line] = [(0, "a", started(0)), (1, "a", evaluated(1, 0.5))]
    assert plots.pictures(summary(tmp_path / "b", alone)).keys() == {"learning", "topology"}


def test_hostile_names_are_drawn_as_they_are(tmp_path: Path):
    assert plots.pictures(summary(tmp_path, hostile_run())).keys() == ALL


@settings(derandomize=True, deadline=None, max_examples=8)
@given(lines=st.lists(any_lines(), min_size=15, max_size=40))
def test_any_log_can_be_drawn(tmp_path_factory: pytest.TempPathFactory, lines: list[str]):
    run = tmp_path_factory.mktemp("run")
    (run / "events.jsonl").write_text("".join(lines))
    plots.pictures(summarise(run))


def test_numbers_at_the_edge_of_floats_are_left_out(tmp_path: Path):
    lines: list[Line] = [
        (t, peer, event)
        for t, value in ((1, 0.5), (2, 1e308), (3, -1e308), (4, 0.6))
        for peer in ("a", "b")  # their mean overflows
        for event in (
            evaluated(t, value),
            released(round=t, epsilon=value),
            sketched(t, [value] * 64),
        )
    ]
    assert {"learning", "epsilon"} <= plots.pictures(summary(tmp_path, lines)).keys()


def test_many_peers_are_drawn_without_names(tmp_path: Path):
    run = summary(tmp_path, honest_run(peers=140, rounds=1))
    assert {"topology", "bytes"} <= plots.pictures(run).keys()


def test_arms_are_compared_in_one_picture(tmp_path: Path):
    runs = {
        name: summary(tmp_path / name, honest_run(peers=3, rounds=3, seed=seed))
        for seed, name in enumerate(("local", "gossip", "pooled"))
    }
    assert plots.comparison_pictures(runs).keys() == {"comparison-accuracy", "comparison-consensus"}


def test_without_matplotlib_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = summary(tmp_path, honest_run(peers=3, rounds=1))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError) as caught:
        plots.pictures(run)
    assert "tidings[scenarios]" in caught.value.fix


def test_pictures_go_where_they_can(tmp_path: Path):
    files = drawing.save_pictures({"one": b"png"}, tmp_path / "new" / "folder")
    assert [file.read_bytes() for file in files] == [b"png"]
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="file"):
        drawing.save_pictures({"one": b"png"}, tmp_path / "file")
