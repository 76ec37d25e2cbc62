"""`tidings inspect`: tables, JSON and pictures of a run or of several."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from tests.scenarios.log_factory import Line, honest_run, line_of, name_of, sent, write_log
from tests.scenarios.test_plots import hostile_run
from tidings.crypto.errors import ConfigError
from tidings.gossip.events import Equivocated, LinkDown, Received, Refused, RolledBack
from tidings.scenarios.cli.inspect import inspect
from tidings.scenarios.summary import summarise

app = typer.Typer()
app.command()(inspect)


def run_cli(*arguments: object, fails: bool = False) -> Result:
    """Run the command in this process, in a terminal of 120 columns."""
    result = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "120"})
    if not fails:
        assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of an honest run of ten peers."""
    write_log(tmp_path / "run" / "events.jsonl", honest_run())
    return tmp_path / "run"


def test_tables_tell_what_the_summary_holds(run: Path):
    output = run_cli(run).output
    summary = summarise(run)
    for text in (
        "quickstart",
        "sim over memory",
        f"{100 * (summary.accuracy_mean or 0):.1f} %",
        f"{100 * (summary.accuracy_min or 0):.1f} %",
        f"{summary.epsilon_max:.4g}",
        "add-or-remove-one record",
        "Who spoke to whom",
        "and 50 more",
        name_of(9),
    ):
        assert text in output
    for absent in ("Refused frames", "Troubles", "Proofs", "could not be read", "Links that broke"):
        assert absent not in output


def test_json_is_the_summary_on_one_line(run: Path):
    output = run_cli(run, "--json").output
    assert output.count("\n") == 1
    value = json.loads(output)
    assert (value.pop("findings"), value.pop("missing")) == ([], [])
    assert value == json.loads(json.dumps(summarise(run).as_json()))


def test_what_went_wrong_is_shown(tmp_path: Path):
    lines: list[Line] = honest_run(peers=4, rounds=2)
    lines += [
        (
            9,
            name_of(0),
            Refused(sender="zzzzzzzz", reason="bad-signature", detail="d", size_bytes=1),
        ),
        (9, name_of(1), LinkDown(neighbour="id000002", why="no heartbeat")),
        (9, name_of(2), Equivocated(author="id000003", sequence=2, proof="abcdef" * 60)),
        (9, name_of(3), RolledBack(own_sequence=4, seen_sequence=7)),
    ]
    write_log(tmp_path / "events.jsonl", lines)
    with (tmp_path / "events.jsonl").open("a") as log:
        log.write("rubbish\n")
    output = run_cli(tmp_path).output
    for text in (
        "bad-signature",
        "no heartbeat",
        "proves nothing",
        "holds its feed up to 4, its neighbours up to 7",
        "Lines that could not be read (1)",
        f"{len(lines) + 1}",
    ):
        assert text in output
    # the proof is printed whole, so that it can be passed on
    folded = "".join(output.split())
    assert folded.count("abcdef") == 60


def test_hostile_names_cannot_reach_the_terminal(tmp_path: Path):
    write_log(tmp_path / "events.jsonl", hostile_run())
    output = run_cli(tmp_path).output
    assert not [c for c in output if not c.isprintable() and c != "\n"]
    assert "[bold red]" in output  # markup is shown, not obeyed
    assert "\\x1b" in output
    json.loads(run_cli(tmp_path, "--json").output)


def test_pictures_are_drawn_into_a_folder(run: Path, tmp_path: Path):
    folder = tmp_path / "pictures"
    output = run_cli(run, "--plots", folder).output
    files = {file.name for file in folder.iterdir()}
    assert files == {"learning.png", "consensus.png", "epsilon.png", "topology.png", "bytes.png"}
    assert all(name in output for name in files)


def test_arms_stand_side_by_side(tmp_path: Path):
    both = tmp_path / "both"
    for seed, arm in enumerate(("local", "gossip")):
        write_log(both / arm / "events.jsonl", honest_run(peers=3, rounds=2, seed=seed))
    with (both / "local" / "events.jsonl").open("a") as log:
        log.write(line_of(9, "a", sent())[:-9] + "\n")
    output = run_cli(both).output
    header = output.splitlines()[1]
    assert "gossip" in header
    assert "local" in header
    assert "local: Lines that could not be read (1)" in output

    value = json.loads(run_cli(both, "--json", "--plots", tmp_path / "p").output)
    assert value["arms"].keys() == {"gossip", "local"}
    assert value["arms"]["local"]["seed"] == 0
    assert (tmp_path / "p" / "comparison-accuracy.png").is_file()
    assert (tmp_path / "p" / "gossip" / "learning.png").is_file()


def test_a_wrong_folder_is_an_error_for_people(tmp_path: Path):
    result = run_cli(tmp_path / "nowhere", fails=True)
    assert isinstance(result.exception, ConfigError)
    assert "nowhere" in str(result.exception)
    assert result.stdout == ""


def test_copies_that_differ_are_named_once_for_each_author(tmp_path: Path):
    lines = [
        (time, peer, replace(event, state="f" * 64))
        if isinstance(event, Received) and event.author == "id000000" and event.sequence == 2
        else (time, peer, event)
        for time, peer, event in honest_run(peers=4, rounds=2)
    ]
    write_log(tmp_path / "events.jsonl", lines)
    output = " ".join(run_cli(tmp_path).output.split())
    assert "public copies agree NO" in output
    assert output.count("copies differ") == 1
    assert "at entry 2 of peer-00, not the copy that its log names" in output
    assert "peer-01, peer-02, peer-03" in output
