"""A virtual environment for each contender, made with venv and pip and kept for the next time."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TORCH = "torch==2.13.0"


@dataclass(frozen=True, kw_only=True)
class Contender:
    """Who takes part: its script, what pip installs for it, and the Python that it needs.

    Without ``packages`` it runs in the environment of this script. ``python`` is (least, beyond).
    """

    name: str
    label: str
    script: tuple[str, ...]
    packages: tuple[str, ...] = ()
    python: tuple[tuple[int, int], tuple[int, int]] = ((3, 11), (3, 99))


CONTENDERS = (
    Contender(name="plain_torch", label="plain PyTorch loop", script=("plain_torch.py",)),
    Contender(name="tidings_array", label="Tidings, array", script=("tidings_engine.py", "array")),
    Contender(
        name="tidings_all-reduce",
        label="Tidings, array, all-reduce",
        script=("tidings_engine.py", "array", "all-reduce"),
    ),
    Contender(name="tidings_sim", label="Tidings, sim", script=("tidings_engine.py", "sim")),
    Contender(
        name="tidings_live",
        label="Tidings, live (libp2p)",
        script=("tidings_engine.py", "live"),
    ),
    Contender(
        name="blazefl",
        label="BlazeFL (threads)",
        script=("blazefl_threads.py",),
        packages=("blazefl[contrib,reproducibility]", TORCH),
        python=((3, 12), (3, 99)),
    ),
    Contender(
        name="decent_bench",
        label="decent-bench",
        script=("decent.py",),
        packages=("decent-bench[torch]", TORCH),
        python=((3, 13), (3, 99)),
    ),
    Contender(
        name="flower",
        label="Flower simulation (Ray)",
        script=("flower.py",),
        packages=("flwr[simulation]", TORCH),
        python=((3, 11), (3, 15)),
    ),
    Contender(
        name="p2pfl",
        label="p2pfl (in memory)",
        script=("p2pfl_memory.py",),
        # not p2pfl[torch]: its torchvision<0.18 belongs to torch 2.2, and is not used here. The
        # upper bounds are those with which its pinned datasets 2.15 and numpy 1 can be imported.
        packages=(
            "p2pfl[dp]",
            "lightning",
            "torchmetrics",
            "pyarrow<18",
            "huggingface-hub<1",
            TORCH,
        ),
        python=((3, 11), (3, 13)),
    ),
)


class Missing(Exception):
    """A contender that cannot take part here, and why."""


def interpreter(contender: Contender, folder: Path) -> Path:
    """The Python that runs a contender, with all that it needs. Raises Missing."""
    if not contender.packages:
        return Path(sys.executable)
    place = folder / contender.name
    python = place / "bin" / "python"
    if (place / "complete").exists():
        return python
    shutil.rmtree(place, ignore_errors=True)
    base = _base_python(contender)
    _run([str(base), "-m", "venv", str(place)])
    _run([str(python), "-m", "pip", "install", "-q", "--no-cache-dir", *contender.packages])
    (place / "complete").touch()
    return python


def _base_python(contender: Contender) -> Path:
    """An interpreter of a version that fits: this one, or one on the path. Raises Missing."""
    least, beyond = contender.python
    if least <= sys.version_info[:2] < beyond:
        return Path(sys.executable)
    for minor in range(least[1], min(beyond[1], 20)):
        for found in (shutil.which(f"python3.{minor}"), _pyenv(minor)):
            if found and _works(found, minor):
                return Path(found)
    raise Missing(f"it needs Python {least[0]}.{least[1]}, which is not installed")


def _pyenv(minor: int) -> str | None:
    found = sorted((Path.home() / ".pyenv" / "versions").glob(f"3.{minor}.*/bin/python"))
    return str(found[-1]) if found else None


def _works(python: str, minor: int) -> bool:
    # pyenv's shims are on the path for versions that are not chosen, and then fail
    code = f"import sys, venv; sys.exit(sys.version_info[:2] != (3, {minor}))"
    return subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if "ERROR" in line]
        raise Missing(f"it cannot be installed: {(lines or ['no reason given'])[-1][:300]}")


def versions(python: Path, names: tuple[str, ...]) -> dict[str, str]:
    """The installed versions of these distributions."""
    code = (
        "import sys, json, importlib.metadata as m\n"
        "print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"
    )
    done = subprocess.run(
        [str(python), "-c", code, *names], capture_output=True, text=True, check=True
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found
