"""Views of a run: the same rows for people, as JSON and as CSV; selections; reasons for a model."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tests.scenarios.log_factory import Line, honest_run, id_of, name_of, started, write_log
from tests.scenarios.small import simulate, small
from tests.scenarios.test_plots import hostile_run
from tidings.crypto.errors import ConfigError
from tidings.gossip.events import Event, Mixed, PeerFinished, Refused, Sent
from tidings.scenarios.cli.inspect import inspect
from tidings.scenarios.cli.inspect_input import VIEW_NAMES

app = typer.Typer()
app.command()(inspect)
PLAIN_VIEWS = [name for name in VIEW_NAMES if name not in ("summary", "why")]


def output_of(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.output


def rows_of(*arguments: object) -> list[dict[str, object]]:
    return json.loads(output_of(*arguments, "--json"))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_log(tmp_path / "run" / "events.jsonl", honest_run(peers=5, rounds=4))
    return tmp_path / "run"


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated run with a cut and a liar; each peer's log in a folder of its own."""
    faults = (
        "faults.train_s=0.2",
        "faults.cuts=[{from_s=0.9, to_s=2.5, groups=[[0, 1, 2], [3, 4]]}]",
        'faults.liars=[{node=4, behaviour="garbage"}]',
    )
    run = tmp_path_factory.mktemp("troubled")
    logs: dict[str, list[tuple[float, str, Event]]] = {}
    for line in simulate(small(*faults)).lines:
        logs.setdefault(line.peer, []).append((line.time, line.peer, line.event))  # type: ignore[arg-type]
    for name, lines in logs.items():
        write_log(run / "peers" / name / "events.jsonl", lines)
    return run


@pytest.mark.parametrize("view", PLAIN_VIEWS)
def test_a_view_has_the_same_rows_in_every_form(troubled: Path, view: str):
    values = rows_of(troubled, view)
    table = [*csv.reader(io.StringIO(output_of(troubled, view, "--csv"), newline=""))]
    assert [name.replace(" ", "_") for name in table[0]] == list(values[0] if values else table[0])
    assert len(table) - 1 == len(values)
    printed = output_of(troubled, view, "--limit", 100_000)
    for value in values[:20]:
        first = next(iter(value.values()))
        if isinstance(first, str) and first:
            assert first in printed


@pytest.mark.parametrize("view", PLAIN_VIEWS)
def test_hostile_names_stay_names(tmp_path: Path, view: str):
    write_log(tmp_path / "events.jsonl", hostile_run())
    printed = output_of(tmp_path, view)
    assert not [c for c in printed if not c.isprintable() and c != "\n"]
    rows_of(tmp_path, view)
    as_csv = output_of(tmp_path, view, "--csv")
    assert not [c for c in as_csv if not c.isprintable() and c not in "\r\n"]


def test_a_spreadsheet_takes_no_name_for_a_formula(tmp_path: Path):
    evil = '=HYPERLINK("http://example.org","click")'
    write_log(tmp_path / "events.jsonl", [(1.0, evil, PeerFinished(round=1, state=""))])
    table = [*csv.reader(io.StringIO(output_of(tmp_path, "peers", "--csv"), newline=""))]
    assert table[1][0] == "'" + evil


def test_figures_of_links_are_those_of_the_log(run: Path):
    rows = rows_of(run, "links")
    to_one = [
        event
        for _, peer, event in honest_run(peers=5, rounds=4)
        if isinstance(event, Sent) and (peer, event.to) == (name_of(0), id_of(1))
    ]
    row = next(each for each in rows if (each["from"], each["to"]) == (name_of(0), name_of(1)))
    assert row["frames_sent"] == row["frames_received"] == len(to_one)
    assert row["sent"] == row["received"] == sum(event.size_bytes for event in to_one)
    assert row["delay"] == pytest.approx(0.1)


def test_a_selection_leaves_the_rest_out(troubled: Path):
    whole = rows_of(troubled, "timeline")
    assert [row["time"] for row in whole] == sorted(row["time"] for row in whole)
    chosen = ("--peer", "peer-1", "--peer", "peer-2", "--kind", "mixed", "--from", 1, "--to", 2)
    some = rows_of(troubled, "timeline", *chosen)
    expected = [
        row
        for row in whole
        if row["peer"] in ("peer-1", "peer-2") and row["event"] == "mixed" and 1 <= row["time"] <= 2  # type: ignore[operator]
    ]
    assert some == expected != []
    assert {row["peer"] for row in rows_of(troubled, "peers", "--peer", "peer-1")} == {"peer-1"}
    assert rows_of(troubled, "diagnosis", "--peer", "peer-1") == []  # no whole picture


def test_why_tells_what_led_to_a_model(troubled: Path):
    times = {}
    for row in rows_of(troubled, "timeline", "--peer", "peer-1", "--kind", "mixed"):
        times[int(row["what"].split()[0].removeprefix("round="))] = row["time"]  # type: ignore[union-attr]
    apart = next(number for number, time in times.items() if 1.5 < time < 2.4)
    steps = rows_of(troubled, "why", "peer-1", apart)
    assert [each["step"] for each in steps[-2:]] == ["mixed", "evaluated"]
    took = [each["detail"] for each in steps if each["step"] == "took"]
    assert {detail.split()[0] for detail in took} == {"peer-0", "peer-2"}
    without = [each["detail"] for each in steps if each["step"] == "went without"]
    assert sorted(without) == ["peer-3: the link was down", "peer-4: the link was down"]
    refused = [
        each
        for number in times
        for each in rows_of(troubled, "why", "peer-1", number)
        if each["step"] == "refused"
    ]
    assert refused
    assert all("from peer-4" in str(each["detail"]) for each in refused)


def test_why_names_weights_that_add_up(run: Path):
    lines = honest_run(peers=5, rounds=4)
    ends = [event for _, peer, event in lines if isinstance(event, Mixed) and peer == name_of(2)]
    mixed = next(event for event in ends if event.round == 3)
    steps = rows_of(run, "why", name_of(2), 3)
    assert len([each for each in steps if each["step"] == "took"]) == len(mixed.neighbours)
    own = 1 - sum(mixed.neighbours.values())
    assert f"own copy weighs {own:.4g}" in str(steps[-2]["detail"])
    arrived = [each for each in steps if each["step"] == "received"]
    assert len(arrived) == len(mixed.neighbours)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("why", "peer-00"), "needs a peer and a round"),
        (("why", "peer-00", "99"), "does not tell of round 99"),
        (("why", "nobody", "1"), "no log tells of a round of 'nobody'"),
        (("peeers",), "neither a folder nor a view"),
        (("peers", "more"), "nothing more is understood"),
        (("peers", "--kind", "mixt"), "there is no kind of event 'mixt'"),
    ],
)
def test_what_is_not_understood_is_told(run: Path, words: tuple[str, ...], error: str):
    result = CliRunner().invoke(app, [str(run), *words])
    assert isinstance(result.exception, ConfigError)
    assert error in str(result.exception)
    assert result.exception.fix


def test_a_view_of_several_runs_asks_for_one(tmp_path: Path):
    for arm in ("a", "b"):
        write_log(tmp_path / "both" / arm / "events.jsonl", honest_run(peers=3, rounds=2))
    for words in (("peers",), ("--peer", "x")):
        result = CliRunner().invoke(app, [str(tmp_path / "both"), *words])
        assert isinstance(result.exception, ConfigError)
        assert "both/a" in result.exception.fix


def test_an_empty_view_says_what_that_means(run: Path):
    assert "no frame was refused" in output_of(run, "refusals")
    assert "all seems well" in output_of(run, "diagnosis")
    assert "nothing is missing" in output_of(run, "missing")
    assert "no event fits" in output_of(run, "timeline", "--peer", "nobody")


def test_a_long_table_says_that_there_is_more(run: Path):
    assert "--limit shows more" in output_of(run, "links", "--limit", 3)


def test_refusals_have_their_times(tmp_path: Path):
    lines: list[Line] = [(10.0, "a", started(0))]
    refused = Refused(sender="idb", reason="Malformed", detail="short", size_bytes=3)
    lines += [(time, "a", refused) for time in (11.0, 14.5)]
    write_log(tmp_path / "events.jsonl", lines)
    (row,) = rows_of(tmp_path, "refusals")
    assert (row["first"], row["last"], row["frames"]) == (1.0, 4.5, 2)
