"""tools/setup on machines that lack something, acted by stand-ins for what it calls.

Nothing is installed here: each stand-in is a few lines of shell on a PATH of its own.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

PYTHON = """#!/bin/sh
# Answers what tools/setup asks an interpreter; "pip install" is written to a log.
case "$*" in
--version) echo "Python {version}" ;;
*"sys.version_info[:2]"*)
    lowest={minor}; case "$*" in *"(3, 11) <="*) [ $lowest -ge 11 ] || exit 1 ;; esac
    case "$*" in *"<= (3, 13)"*) [ $lowest -le 13 ] || exit 1 ;; esac ;;
*"sys.version_info.minor"*) echo python3.{minor} ;;
*"import ensurepip"*) [ -e "$STATE/venv-module" ] ;;
*fastecdsa*) [ -e "$STATE/fastecdsa" ] ;;
*get_config_var*) echo gcc ;;
*get_path*) echo /nowhere/include ;;
"-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; echo "venv $3" >>"$STATE/calls" ;;
*"pip --version"*) ;;
*"pip install"*)
    echo "$*" >>"$STATE/calls"; echo "Collecting nvidia-cublas"; echo "No space left" >&2
    [ ! -e "$STATE/pip-fails" ] ;;
esac
"""

GCC = """#!/bin/sh
# Finds a header when the machine has it.
for file in "$@"; do case $file in *.c) break ;; esac; done
header=$(sed -n 's/#include <\\(.*\\)>/\\1/p' "$file")
case $header in stddef.h) exit 0 ;; esac
[ -e "$STATE/$header" ]
"""

APT_GET = """#!/bin/sh
echo "apt-get $*" >>"$STATE/calls"
case "$*" in *install*) [ -e "$STATE/apt-fails" ] && exit 100
    touch "$STATE/gmp.h" "$STATE/Python.h" "$STATE/venv-module" ;; esac
exit 0
"""


@dataclass
class Machine:
    """A checkout, a PATH and the state of one machine."""

    tree: Path
    bin: Path
    state: Path
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, name: str, code: str) -> None:
        (self.bin / name).write_text(code)
        (self.bin / name).chmod(0o755)

    def python(self, version: str, name: str = "python3") -> None:
        self.command(name, PYTHON.format(version=version, minor=version.split(".")[1]))

    def has(self, *things: str) -> None:
        for thing in things:
            (self.state / thing).touch()

    def calls(self, word: str) -> list[str]:
        log = self.state / "calls"
        said = log.read_text().splitlines() if log.exists() else []
        return [line for line in said if word in line]

    def setup(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.tree / "tools/setup")],
            env={"PATH": str(self.bin), "STATE": str(self.state), **self.environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A user's (not root's) machine with everything that is needed."""
    made = Machine(tmp_path / "tree", tmp_path / "bin", tmp_path / "state")
    (made.tree / "tools").mkdir(parents=True)
    made.bin.mkdir()
    made.state.mkdir()
    shutil.copy(ROOT / "tools/setup", made.tree / "tools/setup")
    for name in ("setup.cfg", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, made.tree / name)
    tools = "sh cat cksum cp dirname head mkdir mktemp readlink rm sed tail touch"
    for name in tools.split(" "):
        found = shutil.which(name)
        assert found, name
        (made.bin / name).symlink_to(found)
    made.command("id", "#!/bin/sh\necho 1000\n")
    made.python("3.11.7")
    made.command("gcc", GCC)
    made.has("venv-module", "gmp.h", "Python.h")
    return made


def test_a_complete_machine_is_set_up_once(machine: Machine) -> None:
    first = machine.setup()
    assert first.returncode == 0, first.stderr
    assert "ready" in first.stdout
    (install,) = machine.calls("pip install")
    assert "-c constraints.txt" in install
    assert "-e .[dev]" in install
    second = machine.setup()
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert len(machine.calls("pip install")) == 1


@pytest.mark.parametrize("name", ["setup.cfg", "pyproject.toml", "constraints.txt"])
def test_a_changed_file_installs_again_into_the_same_venv(machine: Machine, name: str) -> None:
    machine.setup()
    with (machine.tree / name).open("a") as file:
        file.write("# changed\n")
    assert machine.setup().returncode == 0
    assert len(machine.calls("pip install")) == 2
    assert len(machine.calls("venv .venv")) == 1


def test_a_moved_checkout_makes_its_venv_anew(machine: Machine) -> None:
    machine.setup()
    machine.tree = machine.tree.rename(machine.tree.with_name("moved"))
    assert machine.setup().returncode == 0
    assert len(machine.calls("venv .venv")) == 2


def test_an_old_python_is_named_with_the_way_out(machine: Machine) -> None:
    machine.python("3.9.2")
    done = machine.setup()
    assert done.returncode == 1
    assert "needs Python 3.11 or newer; Python 3.9.2 is what this machine has" in done.stderr
    assert "apt-get install python3.11 python3.11-venv" in done.stderr
    assert machine.calls("venv") == []


def test_a_machine_without_python_is_told_the_same(machine: Machine) -> None:
    (machine.bin / "python3").unlink()
    done = machine.setup()
    assert done.returncode == 1
    assert "needs Python 3.11 or newer" in done.stderr


def test_a_suitable_python_is_found_beside_an_old_one(machine: Machine) -> None:
    machine.python("3.9.2")
    machine.python("3.12.1", name="python3.12")
    done = machine.setup()
    assert done.returncode == 0, done.stderr
    assert "Python 3.12.1" in done.stdout


def test_a_tested_python_is_preferred_to_a_newer_one(machine: Machine) -> None:
    machine.python("3.15.0")
    machine.python("3.13.1", name="python3.13")
    assert "Python 3.13.1" in machine.setup().stdout


def test_a_python_newer_than_the_tested_ones_is_tried(machine: Machine) -> None:
    machine.python("3.15.0")
    assert "Python 3.15.0" in machine.setup().stdout


def test_a_named_python_is_used_or_refused(machine: Machine) -> None:
    machine.python("3.12.1", name="mine")
    machine.environment["PYTHON"] = "mine"
    assert "Python 3.12.1" in machine.setup().stdout
    machine.python("3.9.2", name="mine")
    shutil.rmtree(machine.tree / ".venv")
    done = machine.setup()
    assert done.returncode == 1
    assert "PYTHON=mine is not a Python of version 3.11 or newer" in done.stderr


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        ("venv-module", "Python's venv module"),
        ("gmp.h", "the GMP headers"),
        ("Python.h", "the Python headers"),
        ("gcc", "a C compiler and the GMP headers"),
    ],
)
def test_what_is_missing_is_named_with_one_command(
    machine: Machine, thing: str, words: str
) -> None:
    for place in (machine.state, machine.bin):
        (place / thing).unlink(missing_ok=True)
    machine.command("apt-get", APT_GET)
    done = machine.setup()
    assert done.returncode == 1
    assert f"tidings: {words}: missing here." in done.stderr
    for command in ("sudo apt-get install gcc", "sudo dnf install gcc", "brew install gmp"):
        assert command in done.stderr
    assert machine.calls("apt-get") == [], "only root's machine is changed"
    assert machine.calls("venv") == []


def test_root_gets_it_installed_without_a_question(machine: Machine) -> None:
    machine.command("id", "#!/bin/sh\necho 0\n")
    machine.command("apt-get", APT_GET)
    (machine.state / "gmp.h").unlink()
    done = machine.setup()
    assert done.returncode == 0, done.stderr
    update, install = machine.calls("apt-get")
    assert "update" in update
    assert "-y install" in install
    assert "libgmp-dev" in install


def test_a_package_manager_that_fails_ends_in_the_same_words(machine: Machine) -> None:
    machine.command("id", "#!/bin/sh\necho 0\n")
    machine.command("apt-get", APT_GET)
    machine.has("apt-fails")
    (machine.state / "gmp.h").unlink()
    done = machine.setup()
    assert done.returncode == 1
    assert "sudo apt-get install gcc libc6-dev libgmp-dev" in done.stderr


def test_what_was_compiled_before_needs_no_compiler(machine: Machine) -> None:
    machine.setup()
    machine.has("fastecdsa")
    (machine.bin / "gcc").unlink()
    (machine.tree / ".venv/.installed").unlink()
    assert machine.setup().returncode == 0


def test_a_failed_installation_shows_pip_s_last_words_and_is_tried_again(machine: Machine) -> None:
    machine.has("pip-fails")
    done = machine.setup()
    assert done.returncode == 1
    assert "No space left" in done.stderr
    assert "pip could not install" in done.stderr
    (machine.state / "pip-fails").unlink()
    assert machine.setup().returncode == 0
    assert len(machine.calls("pip install")) == 2


def test_a_torch_with_cuda_libraries_is_announced(machine: Machine) -> None:
    done = machine.setup()
    assert done.stdout.count("PIP_EXTRA_INDEX_URL") == 1
