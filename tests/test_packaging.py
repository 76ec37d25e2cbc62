"""What is installed is what is in the tree, and every version of it is pinned."""

from __future__ import annotations

import configparser
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
LAYERS = ("crypto", "gossip", "peer", "scenarios")


@pytest.fixture(scope="module")
def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and line[0] != "#"]


def packages_in_the_tree() -> dict[str, str]:
    """Map each package to its folder: those that hold an ``__init__.py``."""
    found = {"tidings": "src/tidings"}
    for layer in LAYERS:
        for init in (ROOT / layer).rglob("__init__.py"):
            folder = init.parent.relative_to(ROOT).as_posix()
            found["tidings." + folder.replace("/", ".")] = folder
    return found


def test_setup_cfg_lists_exactly_the_packages_of_the_tree(
    setup_cfg: configparser.ConfigParser,
) -> None:
    mapped = dict(re.split(r"\s*=\s*", line) for line in lines(setup_cfg["options"]["package_dir"]))
    assert mapped == packages_in_the_tree()
    assert lines(setup_cfg["options"]["packages"]) == list(mapped)


def test_every_folder_with_python_files_is_a_package() -> None:
    with_code = {file.parent for layer in LAYERS for file in (ROOT / layer).rglob("*.py")}
    assert {folder.relative_to(ROOT).as_posix() for folder in with_code} | {"src/tidings"} == set(
        packages_in_the_tree().values()
    )


@pytest.mark.parametrize("layer", LAYERS)
def test_the_link_to_each_layer_is_relative_and_arrives(layer: str) -> None:
    link = ROOT / "src/tidings" / layer
    assert link.is_symlink(), "git must check out symbolic links here: core.symlinks=true"
    assert Path(os.readlink(link)) == Path("../..") / layer
    assert link.resolve() == (ROOT / layer).resolve()


@pytest.fixture(scope="module")
def pins() -> dict[str, str]:
    entries = [line.split("==") for line in lines((ROOT / "constraints.txt").read_text("utf-8"))]
    assert [name.lower() for name, _ in entries] == sorted(name.lower() for name, _ in entries)
    return {canonicalize_name(name): version for name, version in entries}


def needed(setup_cfg: configparser.ConfigParser) -> set[str]:
    """Return every distribution that ``.[dev]`` pulls in on this machine."""
    extras = setup_cfg["options.extras_require"]
    todo = [Requirement(line) for key in extras for line in lines(extras[key])]
    todo += [Requirement(line) for line in lines(setup_cfg["options"]["install_requires"])]
    seen: set[tuple[str, frozenset[str]]] = set()
    while todo:
        wanted = todo.pop()
        key = (canonicalize_name(wanted.name), frozenset(wanted.extras))
        if key in seen or key[0] == "tidings":
            continue
        seen.add(key)
        for text in importlib.metadata.requires(wanted.name) or ():
            child = Requirement(text)
            if child.marker is None or any(
                child.marker.evaluate({"extra": extra}) for extra in {"", *wanted.extras}
            ):
                todo.append(child)
    return {name for name, _ in seen}


def test_every_dependency_is_pinned_and_nothing_else(
    setup_cfg: configparser.ConfigParser, pins: dict[str, str]
) -> None:
    names = needed(setup_cfg)
    # The CUDA libraries of a torch that came with them are pinned by torch itself.
    libraries = {name for name in names if re.match(r"nvidia-|cuda-|triton$", name)}
    assert names - set(pins) - libraries == set()
    if sys.version_info[:2] == (3, 11):  # newer Pythons need less
        assert set(pins) - names == set()


def test_the_installed_versions_are_the_pinned_ones(
    setup_cfg: configparser.ConfigParser, pins: dict[str, str]
) -> None:
    names = needed(setup_cfg) & set(pins)
    installed = {name: Version(importlib.metadata.version(name)).public for name in names}
    assert installed == {name: pins[name] for name in names}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a wheel from a copy of the tree, so that the tree stays clean."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    tree.mkdir()
    for name in (*LAYERS, "src"):
        shutil.copytree(
            ROOT / name, tree / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("setup.cfg", "pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    readme = ROOT / "README.md"
    (tree / "README.md").write_bytes(readme.read_bytes() if readme.exists() else b"# Tidings\n")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*command, "--no-index", "-q", "-w", str(folder), str(tree)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_every_module_once(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        links = [entry.filename for entry in archive.infolist() if entry.external_attr >> 28 == 0xA]
    expected = {"tidings/py.typed"}
    for package, folder in packages_in_the_tree().items():
        target = package.replace(".", "/")
        expected |= {f"{target}/{file.name}" for file in (ROOT / folder).glob("*.py")}
    data = {"bundled": ["*.toml"], "page": ["*.js", "*.css"], "sweep/bundled": ["*.toml"]}
    for folder, patterns in data.items():
        for pattern in patterns:
            files = (ROOT / "scenarios" / folder).glob(pattern)
            expected |= {f"tidings/scenarios/{folder}/{file.name}" for file in files}
    assert "tidings/gossip/rules.py" in expected
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert links == []
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert any(name.endswith("entry_points.txt") for name in names)


def test_the_wheel_works_without_this_checkout(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = "import tidings.gossip.rules as r; print(r.__file__); r.Rules()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path / "site"))
