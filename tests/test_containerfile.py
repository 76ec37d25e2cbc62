"""The Containerfile names what is there: there is no engine here to build it."""

from __future__ import annotations

import configparser
import json
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = re.sub(r"\\\n", " ", (ROOT / "Containerfile").read_text("utf-8"))
STEPS = [line.split(maxsplit=1) for line in TEXT.splitlines() if line and line[0] != "#"]


def every(instruction: str) -> list[str]:
    return [rest for name, rest in STEPS if name == instruction]


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def test_everything_that_is_copied_is_there_and_every_layer_is_copied() -> None:
    copied = set()
    for line in every("COPY"):
        if not line.startswith("--from"):
            copied.update(line.split()[:-1])
    assert all((ROOT / name).exists() for name in copied)
    folders = setup_cfg()["options"]["package_dir"].split()[2::3]
    assert {folder.split("/")[0] for folder in folders} <= copied
    assert {"setup.cfg", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"} <= copied


def test_the_extras_exist() -> None:
    (extras,) = [rest for rest in every("ARG") if rest.startswith("EXTRAS=")]
    known = setup_cfg()["options.extras_require"]
    assert set(extras.removeprefix("EXTRAS=").split(",")) <= set(known)


def test_it_runs_as_nobody_in_particular_and_can_be_stopped() -> None:
    assert every("USER") == ["10001"]
    assert every("STOPSIGNAL") == ["SIGTERM"]
    # a shell in between would keep the signal to itself
    assert json.loads(every("ENTRYPOINT")[0]) + json.loads(every("CMD")[0]) == [
        "tidings", "peer", "run", "/peer",
    ]  # fmt: skip
