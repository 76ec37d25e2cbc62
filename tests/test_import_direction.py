"""The import check passes this repository and catches every kind of breach planted in another."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import check_imports

ROOT = Path(__file__).parent.parent

BREACHES = [
    # one layer up, by every spelling
    ("crypto/a.py", "from ..gossip.rules import Rules", "crypto may not import gossip"),
    ("gossip/a.py", "from ..peer import clock", "gossip may not import peer"),
    ("gossip/a.py", "from .. import peer", "gossip may not import peer"),
    ("gossip/a.py", "import tidings.scenarios.tasks", "gossip may not import scenarios"),
    ("peer/a.py", "from ..scenarios import tasks", "peer may not import scenarios"),
    ("peer/cli/a.py", "from ...scenarios import tasks", "peer may not import scenarios"),
    ("peer/a.py", "def f():\n    from ..scenarios import tasks", "peer may not import scenarios"),
    ("peer/a.py", "import importlib\nimportlib.import_module('tidings.scenarios')", "scenarios"),
    ("scenarios/a.py", "from ..__main__ import main", "scenarios may not import __main__"),
    ("crypto/__init__.py", "from ..gossip import core", "crypto may not import gossip"),
    # the same module under a second name
    ("tests/test_a.py", "import crypto.errors", "imports crypto by its folder's name"),
    ("scenarios/a.py", "from peer import clock", "imports peer by its folder's name"),
    # I/O, clock and chance in pure modules
    ("gossip/a.py", "import socket", "may not import socket: I/O"),
    ("gossip/a.py", "import os.path", "may not import os: I/O"),
    ("gossip/a.py", "from pathlib import Path", "may not import pathlib: I/O"),
    ("gossip/a.py", "import sqlite3 as db", "may not import sqlite3: I/O"),
    ("gossip/a.py", "import torch.nn", "may not import torch: I/O"),
    ("gossip/a.py", "from concurrent.futures import Future", "may not import concurrent: I/O"),
    ("gossip/a.py", "import time", "may not import time: the clock"),
    ("gossip/a.py", "from datetime import datetime", "may not import datetime: the clock"),
    ("gossip/a.py", "import random", "may not import random: randomness"),
    ("gossip/a.py", "from nacl.utils import random", "may not import nacl.utils: randomness"),
    ("gossip/a.py", "from ..crypto.files import write_new", "may not import tidings.crypto.files"),
    ("crypto/digest.py", "import os", "may not import os: I/O"),
    ("crypto/sealing.py", "from nacl.bindings import randombytes", "may not use randombytes"),
    ("crypto/sealing.py", "import nacl.bindings as n\nn.randombytes(4)", "may not use randombytes"),
    ("gossip/a.py", "print('hello')", "may not call print()"),
    ("gossip/a.py", "data = open('x').read()", "may not call open()"),
    ("gossip/a.py", "import numpy as np\nnp.random.normal(size=3)", "numpy.random.normal()"),
    ("gossip/a.py", "from numpy import random as r\nr.shuffle([1])", "numpy.random.shuffle()"),
    ("gossip/a.py", "from numpy.random import rand\nrand(3)", "numpy.random.rand()"),
    ("gossip/a.py", "import numpy as np\nnp.random.default_rng()", "without a seed"),
    ("gossip/a.py", "import numpy as np\nnp.random.PCG64(None)", "without a seed"),
    ("gossip/a.py", "import numpy as np\nnp.load('x')", "numpy.load()"),
    ("gossip/a.py", "from numpy import fromfile", "may not use numpy.fromfile"),
    ("gossip/a.py", "def broken(:", "does not parse"),
]

ALLOWED = [
    ("scenarios/a.py", "from ..peer import clock\nfrom ..crypto.errors import ConfigError"),
    ("peer/a.py", "import os, time, sqlite3, torch\nfrom ..gossip import core\nprint(time.time())"),
    ("gossip/a.py", "from ..crypto.errors import Malformed\nfrom .rules import Rules"),
    ("gossip/a.py", "import numpy as np\nnp.random.Generator(np.random.PCG64(7)).normal(size=3)"),
    ("gossip/a.py", "from numpy.random import default_rng\ndefault_rng(3)"),
    ("crypto/files.py", "import os\nfrom pathlib import Path\nopen('x')"),
    ("crypto/sealing.py", "def open(key: bytes) -> None: ...\n\nopen(b'')"),
    ("src/tidings/__main__.py", "from .peer.cli import app\nfrom .scenarios.cli import more"),
    ("tests/test_a.py", "import os, time\nfrom tidings.crypto import errors"),
]


def plant(root: Path, path: str, code: str, line: int) -> None:
    """Write ``code`` so that its last line is the given line of a file."""
    file = root / path
    file.parent.mkdir(parents=True)
    file.write_text("\n" * (line - 1 - code.count("\n")) + code + "\n")


@pytest.mark.parametrize(("path", "code", "what"), BREACHES)
def test_a_planted_breach_is_named_with_its_line(
    path: str, code: str, what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(tmp_path, path, code, line=9)
    assert check_imports.main([str(tmp_path)]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert any(line.startswith(f"{path}:9: ") and what in line for line in printed), printed


@pytest.mark.parametrize(("path", "code"), ALLOWED)
def test_what_the_rules_allow_passes(
    path: str, code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(tmp_path, path, code, line=9)
    assert check_imports.main([str(tmp_path)]) == 0, capsys.readouterr().out


def test_links_are_not_followed(tmp_path: Path) -> None:
    plant(tmp_path, "elsewhere/a.py", "import socket", line=1)
    (tmp_path / "gossip").mkdir()
    (tmp_path / "gossip/linked").symlink_to(tmp_path / "elsewhere")
    assert check_imports.main([str(tmp_path)]) == 0


def test_this_repository_keeps_the_rules(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_imports.main([]) == 0, capsys.readouterr().out
    seen = {path.relative_to(ROOT).as_posix() for path in check_imports._files(ROOT)}
    assert {"gossip/rules.py", "crypto/errors.py", "src/tidings/__init__.py"} <= seen
