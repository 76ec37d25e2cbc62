"""Presets: what each writes can be read, and is what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peer.owner import Owner
from tidings.crypto.privacy_settings import PrivacySettings
from tidings.peer.cli.kinds import Kind
from tidings.peer.config import PeerConfig
from tidings.peer.folder import PeerFolder
from tidings.peer.presets import PRESETS, for_board, for_laptop, for_server
from tidings.peer.upkeep import MetricsConfig


@pytest.fixture
def owner(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Owner:
    return Owner(tmp_path, capfd)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_init_writes_what_the_preset_says(owner: Owner, name: str) -> None:
    preset = PRESETS[name]()
    peer = owner.folder / "ada"
    assert owner.run("peer", "init", peer, "--name", "ada", "--preset", name).code == 0
    config = PeerFolder.open(peer).config()
    assert (config.listen, config.log) == (preset.listen, preset.log)
    assert config.training.batch_size == preset.batch_size
    assert config.privacy == PrivacySettings()  # no preset decides on privacy
    assert config.metrics == MetricsConfig()  # and none opens another port


def test_the_laptop_is_the_default(owner: Owner) -> None:
    laptop = for_laptop()
    for sets in ([], ["--preset", "laptop"]):
        peer = owner.folder / f"ada{len(sets)}"
        assert owner.run("peer", "init", peer, "--name", "ada", *sets).code == 0
        config = PeerFolder.open(peer).config()
        assert config == PeerConfig(name="ada", learner=config.learner)
    assert (config.listen, config.log) == (laptop.listen, laptop.log)


def test_a_preset_gives_way_to_what_is_set(owner: Owner) -> None:
    done = owner.run(
        "peer", "init", owner.folder / "ada", "--name", "ada", "--preset", "board",
        "--set", "listen=/ip4/192.0.2.7/tcp/4100",
    )  # fmt: skip
    assert done.code == 0
    config = PeerFolder.open(owner.folder / "ada").config()
    assert config.listen == "/ip4/192.0.2.7/tcp/4100"
    assert config.log == for_board().log


def test_the_names_of_the_command_line_are_those_of_the_presets(owner: Owner) -> None:
    assert {each.value for each in Kind} == set(PRESETS)
    assert all(PRESETS[name]().name == name for name in PRESETS)
    done = owner.run("peer", "init", owner.folder / "ada", "--name", "ada", "--preset", "boat")
    assert done.code == 2
    assert not (owner.folder / "ada").exists()


def test_a_board_writes_less_and_a_server_keeps_more() -> None:
    sizes = [
        preset.log.part_mb * (1 + preset.log.parts)
        for preset in (for_board(), for_laptop(), for_server())
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] <= 16  # even uncompressed
    assert "127.0.0.1" in for_laptop().listen  # nothing is opened unasked
