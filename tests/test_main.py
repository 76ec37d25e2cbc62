"""The command line as a whole: every mistake gives one clear message and its documented number."""

from __future__ import annotations

import errno
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tidings
from tidings.__main__ import SCENARIO_VERBS, main
from tidings.crypto import errors
from tidings.crypto.errors import ConfigError, StorageError, TidingsError
from tidings.peer.cli import failures

ROOT = Path(__file__).parents[1]
HEAVY = ["torch", "libp2p", "matplotlib", "sklearn", "scipy", "numpy", "trio", "anyio"]


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    package = str(Path(tidings.__file__).parents[1])
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": package, **environment},
        check=False,
    )


# --- starting ----------------------------------------------------------------------------------


def test_help_starts_without_the_heavy_libraries() -> None:
    code = (
        "import sys; from tidings.__main__ import main; "
        "code = main(['--help']) or main(['peer', '--help']) or main(['network', '--help']);"
        f"print('heavy:', sorted(set({HEAVY}) & set(sys.modules))); sys.exit(code)"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "heavy: []"


@pytest.mark.parametrize(
    ("group", "commands"),
    [
        ([], ["run", "inspect", "peer", "network"]),
        (["peer"], ["init", "join", "run", "status"]),
        (["network"], ["create", "admit", "revoke"]),
    ],
)
def test_without_a_command_the_commands_are_listed(
    group: list[str], commands: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(group) == 0
    out = capfd.readouterr().out
    for command in commands:
        assert re.search(rf"^\W*{command}\b", out, re.MULTILINE), out


@pytest.mark.parametrize("verb", SCENARIO_VERBS)
def test_a_verb_that_is_loaded_late_is_listed_with_its_own_words(
    verb: str, capfd: pytest.CaptureFixture[str]
) -> None:
    function = getattr(importlib.import_module(f"tidings.scenarios.cli.{verb}"), verb)
    assert function.__doc__.splitlines()[0] == SCENARIO_VERBS[verb]
    assert main([verb, "--help"]) == 0
    assert f"Usage: tidings {verb} [OPTIONS]" in capfd.readouterr().out


def test_the_version_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capfd.readouterr().out == f"tidings {tidings.__version__}\n"


def test_the_module_runs_as_a_program() -> None:
    done = python("import runpy; runpy.run_module('tidings', run_name='__main__')")
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


# --- ending ------------------------------------------------------------------------------------


def every_error(of: type[TidingsError] = TidingsError) -> list[type[TidingsError]]:
    # those of the public tree: which others exist depends on what was imported before
    public = [sub for sub in of.__subclasses__() if sub.__module__ == TidingsError.__module__]
    return [of, *(each for sub in public for each in every_error(sub))]


def run_raising(monkeypatch: pytest.MonkeyPatch, error: BaseException, *more: str) -> int:
    """`tidings peer run x`, where running the peer raises ``error``."""

    def fail(folder: Path, watch: object) -> None:
        raise error

    monkeypatch.setattr("tidings.peer.launch.run_peer", fail)
    return main(["peer", "run", "x", *more])


@pytest.mark.parametrize("kind", every_error())
def test_each_error_tells_what_where_meaning_and_remedy(
    kind: type[TidingsError], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    error = kind("the [bold]thing[/bold] broke", where="/some/where", fix="mend [it]")
    assert run_raising(monkeypatch, error) == kind.exit_code
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[:2] == [
        "Error: the [bold]thing[/bold] broke",
        "  where: /some/where",
    ]
    assert captured.err.splitlines()[-1] == "  what to do: mend [it]"
    assert (kind.__doc__ or "").split()[0] in captured.err.splitlines()[2]
    assert "Traceback" not in captured.err


def test_the_exit_codes_are_documented() -> None:
    table = (ROOT / "docs" / "exit-codes.md").read_text()
    rows = dict(re.findall(r"^\| (\d+) \| (.*?) \|", table, re.MULTILINE))
    for kind in every_error():
        if not issubclass(kind, errors.RemoteError) and kind is not TidingsError:
            assert f"`{kind.__name__}`" in rows[str(kind.exit_code)], kind
    assert {"0", str(failures.INTERNAL), str(failures.INTERRUPTED)} <= set(rows)
    assert "`UsageError`" in rows[str(failures.USAGE)]


def test_with_json_the_error_is_an_object(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    error = ConfigError("no", where="here", fix="yes")
    monkeypatch.setattr("tidings.peer.status.status_of", lambda _: raise_(error))
    monkeypatch.setattr("tidings.peer.folder.PeerFolder.open", lambda path: path)
    assert main(["peer", "status", "x", "--json"]) == 2
    assert json.loads(capfd.readouterr().err) == {
        "error": "ConfigError",
        "what": "no",
        "where": "here",
        "meaning": " ".join((ConfigError.__doc__ or "").split()),
        "fix": "yes",
        "exit_code": 2,
    }


def raise_(error: BaseException) -> Any:
    raise error


@pytest.mark.parametrize(
    "arguments",
    [["peer", "run"], ["peer", "run", "x", "--no-such"], ["per"], ["network", "create", "x"]],
)
def test_a_command_that_is_not_understood_ends_with_2(
    arguments: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert "what to do: see `tidings" in capfd.readouterr().err
    assert main([*arguments, "--json"]) == 2
    told = json.loads(capfd.readouterr().err)
    assert (told["error"], told["exit_code"]) == ("UsageError", 2)


def test_ctrl_c_ends_quietly_with_130(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_raising(monkeypatch, KeyboardInterrupt()) == 130
    assert capfd.readouterr().err == ""


def test_errors_of_several_tasks_give_the_one_that_can_be_mended(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    inner = ExceptionGroup("tasks", [ValueError("x"), StorageError("the disk is full")])
    assert run_raising(monkeypatch, ExceptionGroup("outer", [TypeError("y"), inner])) == 4
    assert capfd.readouterr().err.startswith("Error: the disk is full\n")
    several = BaseExceptionGroup("tasks", [KeyboardInterrupt()])
    assert run_raising(monkeypatch, several) == 130


def test_a_full_disk_anywhere_is_a_storage_error(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/events.jsonl")
    assert run_raising(monkeypatch, error) == 4
    err = capfd.readouterr().err
    assert "the disk is full" in err
    assert "/data/events.jsonl" in err


def test_a_mistake_of_ours_names_the_place_and_asks_for_a_report(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TIDINGS_DEBUG", raising=False)
    assert run_raising(monkeypatch, ZeroDivisionError("by zero")) == 1
    err = capfd.readouterr().err
    assert "ZeroDivisionError: by zero" in err
    assert "test_main.py, line" in err
    assert "please report it" in err
    assert "Traceback" not in err
    monkeypatch.setenv("TIDINGS_DEBUG", "1")
    assert run_raising(monkeypatch, ZeroDivisionError("by zero")) == 1
    assert "Traceback" in capfd.readouterr().err


def test_what_strangers_wrote_cannot_command_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_raising(monkeypatch, ConfigError("a\x1b[2Jb\rc\nd", where="\x9b2J")) == 2
    assert capfd.readouterr().err.splitlines()[:3] == [
        "Error: a\ufffd[2Jb\ufffdc",
        "d",
        "  where: \ufffd2J",
    ]


def test_linear_algebra_has_one_thread() -> None:
    code = (
        "import tidings.__main__, numpy, threadpoolctl\n"
        "print([pool['num_threads'] for pool in threadpoolctl.threadpool_info()])"
    )
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    bare = {name: value for name, value in os.environ.items() if name not in names}
    bare["PYTHONPATH"] = str(Path(tidings.__file__).parents[1])
    run = subprocess.run(
        [sys.executable, "-c", code], env=bare, capture_output=True, text=True, check=True
    )
    assert set(json.loads(run.stdout)) == {1}
