"""A network's owner and its peers, made through the command line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidings.__main__ import main

NETWORK = """
name = "tiny"
seed = 3
[rules]
rounds = 2
topology = { kind = "ring", nodes = 2 }
[learner]
kind = "softmax"
features = 4
classes = 2
"""
LEARNER = ["learner.features=4", "learner.classes=2", "privacy.mode=none"]


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def told(self) -> dict[str, Any]:
        """The object that ``--json`` printed."""
        found: dict[str, Any] = json.loads(self.out if self.code == 0 else self.err)
        return found


@dataclass(frozen=True)
class Owner:
    """Runs commands in a folder; ``capfd`` is pytest's."""

    folder: Path
    capfd: pytest.CaptureFixture[str]

    def run(self, *arguments: object) -> Done:
        """`tidings ARGUMENTS`; no command may ever show a traceback."""
        self.capfd.readouterr()
        code = main([str(each) for each in arguments])
        captured = self.capfd.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return Done(code, captured.out, captured.err)

    def create(self, name: str = "net", config: str = NETWORK) -> Path:
        """A network's folder."""
        file = self.folder / f"{name}.toml"
        file.write_text(config)
        done = self.run("network", "create", self.folder / name, "--config", file)
        assert done.code == 0, done.err
        return self.folder / name

    def init(self, name: str) -> Path:
        """A peer's folder, with a little data, not admitted yet."""
        peer = self.folder / name
        sets = [part for each in LEARNER for part in ("--set", each)]
        done = self.run("peer", "init", peer, "--name", name, *sets)
        assert done.code == 0, done.err
        x, y = np.eye(4, dtype=np.float32), np.array([0, 1, 0, 1])
        np.savez(peer / "data.npz", train_x=x, train_y=y, test_x=x, test_y=y)
        return peer

    def join(self, network: Path, *names: str) -> list[Path]:
        """Peers that are members of the network."""
        peers = [self.init(name) for name in names]
        requests = [peer / f"{peer.name}.request" for peer in peers]
        assert self.run("network", "admit", network, *requests).code == 0
        for peer in peers:
            assert self.run("peer", "join", peer, peer / f"{peer.name}.admission").code == 0
        return peers
