"""Checks which way imports run, and that what is called pure is pure.

    scenarios -> peer -> gossip -> crypto          (a layer may skip downward, never up)

gossip/ and the pure modules of crypto/ do no I/O, read no clock and draw no randomness that
was not handed to them: that is what lets the simulator, the live peer and the array engine
run the same code. Prints ``file:line: what`` for each breach and exits with 1 if there is any.

    python tools/check_imports.py [ROOT]
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LAYERS = ("crypto", "gossip", "peer", "scenarios")  # lowest first
ORDER = "imports run scenarios -> peer -> gossip -> crypto"

# The files of crypto/ that may use the disk or read entropy.
IMPURE_CRYPTO = {
    "database.py",
    "files.py",
    "identity.py",
    "network.py",
    "ledger.py",
    "ledger_home.py",
    "privacy.py",
}

_CLOCK = {"calendar", "datetime", "sched", "time", "zoneinfo"}
_CHANCE = {"nacl.utils", "random", "secrets", "uuid"}
# fmt: off
_IO = {
    "aiomqtt", "anyio", "asyncio", "asyncore", "atexit", "builtins", "concurrent", "ctypes",
    "curses", "dbm", "fcntl", "fileinput", "ftplib", "getpass", "glob", "http", "httpx",
    "imaplib", "importlib", "io", "libp2p", "linecache", "logging", "mmap", "multiaddr",
    "multiprocessing", "os", "paho", "pathlib", "pickle", "platform", "poplib", "pty", "queue",
    "ray", "requests", "rich", "select", "selectors", "shelve", "shutil", "signal", "smtplib",
    "socket", "socketserver", "sqlite3", "ssl", "subprocess", "tempfile", "termios",
    "threading", "tkinter", "torch", "trio", "tty", "typer", "urllib", "webbrowser", "xmlrpc",
    "tidings.crypto.database", "tidings.crypto.files", "tidings.crypto.ledger",
    "tidings.crypto.ledger_home",
}
# fmt: on

# Calls of builtins, and names reached through a module, that do what the imports above do.
_IMPURE_BUILTINS = {"__import__", "breakpoint", "eval", "exec", "input", "open", "print"}
_NUMPY_FILES = {"fromfile", "genfromtxt", "load", "loadtxt", "memmap", "save", "savetxt", "savez"}
# Fine with a seed; without one they take entropy from the machine.
_NUMPY_SEEDED = {"MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64", "SeedSequence", "default_rng"}
_NUMPY_TYPES = {"BitGenerator", "Generator"}
_ENTROPY = {"SealedBox", "crypto_box_seal", "randombytes", "urandom"}


@dataclass(frozen=True, slots=True, order=True)
class Breach:
    """One line of one file that breaks a rule."""

    path: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


def _layer_of(module: str) -> int | None:
    """Return the layer of a full name such as ``tidings.gossip.core``; None if it has none."""
    parts = module.split(".")
    if parts[0] != "tidings" or len(parts) < 2:
        return None
    if parts[1] == "__main__":
        return len(LAYERS)
    return LAYERS.index(parts[1]) if parts[1] in LAYERS else None


def _absolute(node: ast.ImportFrom, package: list[str]) -> str:
    """Return the full name that a ``from`` import starts from."""
    if not node.level:
        return node.module or ""
    base = package[: len(package) - node.level + 1]
    return ".".join([*base, node.module] if node.module else base)


def _imports(tree: ast.Module, package: list[str]) -> Iterator[tuple[int, str]]:
    """Yield line and full name of everything imported, at any depth, by any spelling."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            for alias in node.names:
                # "from .. import peer" names a package, "from x import f" a function: the
                # longer name serves for both, since rules look at its beginning.
                yield node.lineno, f"{base}.{alias.name}"
        elif isinstance(node, ast.Call) and _dotted(node.func).split(".")[-1] in {
            "import_module",
            "__import__",
        }:
            match node.args:
                case [ast.Constant(value=str(name)), *_]:
                    yield node.lineno, name
                case _:
                    pass


def _dotted(node: ast.expr) -> str:
    """Return ``a.b.c`` for such an expression, the empty string for any other."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = _dotted(node.value)
        return f"{base}.{node.attr}" if base else ""
    return ""


def _direction(line: int, module: str, layer: int | None) -> Iterator[tuple[int, str]]:
    """Yield a breach if ``module`` may not be imported from ``layer`` (None: not in a layer)."""
    first, _, rest = module.partition(".")
    if first in LAYERS:
        yield line, f"imports {first} by its folder's name; it is tidings.{first}"
        return
    target = _layer_of(module)
    if layer is not None and target is not None and target > layer:
        above = rest.partition(".")[0]
        yield line, f"{LAYERS[layer]} may not import {above}: {ORDER}"


def _impure_import(line: int, module: str) -> Iterator[tuple[int, str]]:
    """Yield a breach if a pure module may not import ``module``."""
    for names, kind in ((_IO, "I/O"), (_CLOCK, "the clock"), (_CHANCE, "randomness")):
        hit = next((name for name in names if f"{module}.".startswith(f"{name}.")), None)
        if hit:
            yield line, f"a pure module may not import {hit}: {kind} is the caller's"
            return
    name = module.rpartition(".")[2]
    if name in _ENTROPY:
        yield line, f"a pure module may not use {name}: entropy is an argument"
    if module.startswith("numpy.") and module.split(".")[1] in _NUMPY_FILES:
        yield line, f"a pure module may not use numpy.{name}: I/O is the caller's"


def _numpy_aliases(tree: ast.Module) -> dict[str, str]:
    """Return what local names stand for, for all that comes from numpy: ``np`` -> ``numpy``."""
    aliases = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "numpy":
                    aliases[alias.asname or "numpy"] = alias.name if alias.asname else "numpy"
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "numpy":
            for alias in node.names:
                aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return aliases


def _impure_uses(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield calls and attributes that a pure module may not use."""
    aliases = _numpy_aliases(tree)
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = _dotted(node.func)
            if name in _IMPURE_BUILTINS - own:
                yield node.lineno, f"a pure module may not call {name}()"
            first, _, rest = name.partition(".")
            full = f"{aliases[first]}{'.' if rest else ''}{rest}" if first in aliases else ""
            if full:
                yield from _numpy_call(node, full)
        elif isinstance(node, ast.Attribute) and node.attr in _ENTROPY:
            yield node.lineno, f"a pure module may not use {node.attr}: entropy is an argument"


def _numpy_call(node: ast.Call, full: str) -> Iterator[tuple[int, str]]:
    name = full.rpartition(".")[2]
    if full.startswith("numpy.random."):
        unseeded = not node.args and not node.keywords
        if name in _NUMPY_SEEDED and (unseeded or _is_none(node)):
            yield node.lineno, f"a pure module may not call {full}() without a seed"
        elif name not in _NUMPY_SEEDED | _NUMPY_TYPES:
            yield node.lineno, f"a pure module may not call {full}(): it is global state"
    elif full.split(".")[1:2] and full.split(".")[1] in _NUMPY_FILES:
        yield node.lineno, f"a pure module may not call {full}(): I/O is the caller's"


def _is_none(node: ast.Call) -> bool:
    return bool(node.args) and isinstance(node.args[0], ast.Constant) and node.args[0].value is None


def _is_pure(relative: Path) -> bool:
    top = relative.parts[0]
    return top == "gossip" or (top == "crypto" and relative.name not in IMPURE_CRYPTO)


def check_file(root: Path, path: Path) -> list[Breach]:
    """Return the breaches of one file below ``root``; a file that does not parse is one."""
    relative = path.relative_to(root)
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except SyntaxError as error:
        return [Breach(str(relative), error.lineno or 1, f"does not parse: {error.msg}")]
    top = relative.parts[0]
    layer = LAYERS.index(top) if top in LAYERS else None
    # Of src/tidings/__main__.py the package is tidings, of gossip/core.py tidings.gossip.
    folders = relative.parts[1:-1] if top == "src" else ("tidings", *relative.parts[:-1])
    found: list[tuple[int, str]] = []
    for line, module in _imports(tree, list(folders)):
        found += _direction(line, module, layer)
        if _is_pure(relative):
            found += _impure_import(line, module)
    if _is_pure(relative):
        found += _impure_uses(tree)
    return sorted({Breach(str(relative), line, what) for line, what in found})


def _files(root: Path) -> Iterator[Path]:
    """Yield every Python file that the rules concern; links are not followed."""
    for top in (*LAYERS, "src", "tests", "benchmarks"):
        for folder, subfolders, names in os.walk(root / top):
            subfolders.sort()
            yield from (Path(folder, name) for name in sorted(names) if name.endswith(".py"))


def main(arguments: list[str]) -> int:
    """Check the tree at the given root (by default this repository) and return an exit code."""
    root = Path(arguments[0] if arguments else Path(__file__).parent.parent).resolve()
    breaches = [breach for path in _files(root) for breach in check_file(root, path)]
    for breach in breaches:
        print(breach)
    if breaches:
        print(f"{len(breaches)} breach{'es' if len(breaches) > 1 else ''} of the import rules")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
