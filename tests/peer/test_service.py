"""`tidings peer service`: a unit that systemd takes, that is tight, and that a peer can live in."""

from __future__ import annotations

import configparser
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.peer.owner import Owner
from tidings.crypto.errors import ConfigError
from tidings.peer.config import PeerConfig
from tidings.peer.learners.spec import LearnerConfig
from tidings.peer.presets import PRESETS, for_board, for_server
from tidings.peer.service import unit_text, user_of

USER = "daemon"  # is on every Linux
CONFIG = PeerConfig(name="ada", learner=LearnerConfig(kind="softmax", features=4, classes=2))
TORCH = PeerConfig(name="ada", learner=LearnerConfig(kind="torch", module="a:b", dataset="a:b"))
ANALYZE = shutil.which("systemd-analyze")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd is for Linux")


class Unit(configparser.RawConfigParser):
    """A unit's sections; a key that stands twice keeps its last value."""

    def __init__(self, text: str) -> None:
        super().__init__(strict=False, comment_prefixes=("#", ";"), delimiters=("=",))
        self.read_string(text)

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def service(text: str) -> dict[str, str]:
    return dict(Unit(text)["Service"])


def test_the_peer_comes_back_by_itself_and_ends_in_time(tmp_path: Path) -> None:
    text = unit_text(tmp_path, CONFIG, for_board(), user=USER)
    told = service(text)
    assert (told["Restart"], told["KillSignal"], told["TimeoutStopSec"]) == (
        "always", "SIGTERM", "5s",
    )  # fmt: skip
    assert Unit(text)["Unit"]["StartLimitIntervalSec"] == "0"
    assert Unit(text)["Install"]["WantedBy"] == "multi-user.target"
    assert told["ExecStart"].split() == [
        sys.executable, "-m", "tidings", "peer", "run", str(tmp_path.resolve()),
    ]  # fmt: skip


def test_it_writes_its_own_folder_alone_and_has_no_rights(tmp_path: Path) -> None:
    told = service(unit_text(tmp_path, CONFIG, for_board(), user=USER))
    assert told["ReadWritePaths"] == str(tmp_path.resolve())
    assert told["ProtectSystem"] == "strict"
    assert (told["NoNewPrivileges"], told["CapabilityBoundingSet"]) == ("yes", "")
    assert told["User"] == USER


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_memory_and_niceness_are_the_preset_s(tmp_path: Path, name: str) -> None:
    preset = PRESETS[name]()
    told = service(unit_text(tmp_path, CONFIG, preset, user=USER))
    assert told["MemoryMax"] == f"{preset.memory_share}%"
    assert told["Nice"] == str(preset.nice)


def test_torch_may_compile_and_numpy_may_not(tmp_path: Path) -> None:
    guarded = service(unit_text(tmp_path, CONFIG, for_server(), user=USER))
    assert guarded["MemoryDenyWriteExecute"] == "yes"
    assert "MemoryDenyWriteExecute" not in service(
        unit_text(tmp_path, TORCH, for_server(), user=USER)
    )


def test_what_stands_in_home_or_tmp_can_still_be_seen() -> None:
    for folder, key, value in (
        ("/home/ada/peer", "ProtectHome", "read-only"),
        ("/tmp/peer", "PrivateTmp", "no"),
    ):
        assert service(unit_text(Path(folder), CONFIG, for_board(), user=USER))[key] == value


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a$b", "a\nb", "a'b"])
def test_a_path_that_a_unit_cannot_hold_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot stand in a systemd unit"):
        unit_text(tmp_path / name, CONFIG, for_board(), user=USER)


def test_root_and_users_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no rights of root's") as told:
        user_of(tmp_path, "root")
    assert "useradd" in told.value.fix
    with pytest.raises(ConfigError, match="no user 'nobody-at-all'"):
        user_of(tmp_path, "nobody-at-all")
    assert user_of(tmp_path, USER) == USER


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize(("name", "config"), [("peer", CONFIG), ("a 100% peer", TORCH)])
def test_systemd_takes_the_unit_and_holds_it_for_safe(
    tmp_path: Path, name: str, config: PeerConfig
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    unit = tmp_path / "tidings-ada.service"
    unit.write_text(unit_text(folder, config, for_board(), user=USER))
    verified = subprocess.run(
        [ANALYZE, "verify", unit], check=False, capture_output=True, text=True
    )
    assert (verified.returncode, verified.stderr) == (0, "")
    # exposure in tenths, from 0 (safe) to 100; a unit without any of this has 96
    rated = subprocess.run(
        [ANALYZE, "security", "--offline=yes", "--threshold=20", "--no-pager", unit],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert rated.returncode == 0, rated.stdout


@pytest.fixture
def owner(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Owner:
    return Owner(tmp_path, capfd)


def test_the_command_says_what_to_do_next(owner: Owner) -> None:
    peer = owner.init("ada")
    done = owner.run("peer", "service", peer, "--user", USER, "--preset", "server")
    assert done.code == 0
    assert service((peer / "tidings-ada.service").read_text())["MemoryMax"] == "80%"
    assert f"sudo chown -R {USER} {peer}" in done.out
    assert "systemctl enable --now tidings-ada.service" in done.out
    elsewhere = owner.folder / "x.service"
    assert owner.run("peer", "service", peer, "--user", USER, "--out", elsewhere).code == 0
    assert service(elsewhere.read_text())["MemoryMax"] == "70%"


def test_a_unit_as_root_ends_with_2_and_writes_nothing(owner: Owner) -> None:
    peer = owner.init("ada")
    assert owner.run("peer", "service", peer, "--user", "root").code == 2
    assert not (peer / "tidings-ada.service").exists()


GUARD = """
import ctypes, sys
PR_SET_MDWE, REFUSE_EXEC_GAIN = 65, 1
if ctypes.CDLL(None).prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0) != 0:
    sys.exit(77)
from tidings.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_peer_runs_without_memory_that_is_writable_and_executable(owner: Owner) -> None:
    """What MemoryDenyWriteExecute does, asked of the kernel directly; then SIGTERM, as systemd."""
    (ada, _) = owner.join(owner.create(), "ada", "bob")
    process = subprocess.Popen(
        [sys.executable, "-c", GUARD, "peer", "run", str(ada)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line and process.wait() == 77:
            pytest.skip("the kernel knows no PR_SET_MDWE (before 6.3)")
        assert "in round 1" in line
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=5) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
