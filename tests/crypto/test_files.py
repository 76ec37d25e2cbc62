"""A file is wholly there or not at all; what goes wrong is said in words."""

from __future__ import annotations

import errno
import multiprocessing
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidings.crypto import files
from tidings.crypto.errors import StorageError
from tidings.crypto.files import exclusive, make_folder, write_atomic, write_new

WRITERS = [write_atomic, write_new]


@pytest.mark.parametrize("write", WRITERS)
def test_written_bytes_are_there_with_their_mode(tmp_path: Path, write: Any) -> None:
    path = tmp_path / "file"
    write(path, np.arange(3, dtype="<i4"), 0o600)
    assert path.read_bytes() == b"\0\0\0\0\1\0\0\0\2\0\0\0"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    write(tmp_path / "empty", b"")
    assert (tmp_path / "empty").read_bytes() == b""
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "file"]


def test_atomic_replaces_and_new_does_not(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    with pytest.raises(StorageError, match="never overwritten") as caught:
        write_new(path, b"three")
    assert isinstance(caught.value.__cause__, FileExistsError)
    assert path.read_bytes() == b"two"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "no permission"),
        (errno.EIO, os.strerror(errno.EIO)),
    ],
)
@pytest.mark.parametrize("call", ["open", "write", "fsync"])
def test_a_failing_disk_leaves_the_old_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write: Any,
    number: int,
    message: str,
    call: str,
) -> None:
    path = tmp_path / ("file" if write is write_atomic else "new")
    (tmp_path / "file").write_bytes(b"old")

    def fail(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, call, fail)
    with pytest.raises(StorageError, match=message) as caught:
        write(path, b"new")
    monkeypatch.undo()
    assert caught.value.where == str(path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"file": b"old"}


def test_a_file_is_synced_before_it_gets_its_name_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    real = {name: getattr(os, name) for name in ("fsync", "replace", "link")}
    for name, function in real.items():
        monkeypatch.setattr(
            files.os, name, lambda *a, n=name, f=function: (calls.append(n), f(*a))[1]
        )
    write_atomic(tmp_path / "a", b"x")
    write_new(tmp_path / "b", b"x")
    assert calls == ["fsync", "replace", "fsync", "fsync", "link", "fsync"]


def test_a_write_that_the_system_cuts_short_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    monkeypatch.setattr(files.os, "write", lambda handle, data: real(handle, data[:3]))
    write_atomic(tmp_path / "a", b"0123456789")
    assert (tmp_path / "a").read_bytes() == b"0123456789"


def test_without_hard_links_nothing_is_overwritten_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(files.os, "link", no_links)
    write_new(tmp_path / "a", b"x", 0o600)
    with pytest.raises(StorageError, match="never overwritten"):
        write_new(tmp_path / "a", b"y", 0o600)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a", b"x")]


@pytest.mark.parametrize("write", WRITERS)
def test_wrong_paths_are_explained(tmp_path: Path, write: Any) -> None:
    with pytest.raises(StorageError, match="folder does not exist"):
        write(tmp_path / "no" / "file", b"x")
    (tmp_path / "plain").write_bytes(b"")
    with pytest.raises(StorageError, match="not a folder"):
        write(tmp_path / "plain" / "file", b"x")
    with pytest.raises(StorageError, match="not a folder"):
        make_folder(tmp_path / "plain")
    make_folder(tmp_path / "deep" / "er")
    make_folder(tmp_path / "deep" / "er")
    write(tmp_path / "deep" / "er" / "file", b"x")


def _write_own_number(path: str, number: int, barrier: Any, results: Any) -> None:
    barrier.wait()
    try:
        write_new(path, bytes([number]) * 1000)
    except StorageError:
        results.put(None)
    else:
        results.put(number)


def test_of_writers_at_once_one_wins(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(4), context.Queue()
    path = tmp_path / "file"
    workers = [
        context.Process(target=_write_own_number, args=(str(path), n, barrier, results))
        for n in range(4)
    ]
    for worker in workers:
        worker.start()
    outcomes = [results.get(timeout=30) for _ in workers]
    for worker in workers:
        worker.join()
    (winner,) = [n for n in outcomes if n is not None]
    assert path.read_bytes() == bytes([winner]) * 1000


def test_a_lock_is_held_by_one_and_freed_by_death(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    code = (
        "import sys, time\n"
        "from tidings.crypto.files import exclusive\n"
        "with exclusive(sys.argv[1], 'x'):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with (
        pytest.raises(StorageError, match="another process is changing this network"),
        exclusive(lock, "changing this network"),
    ):
        pass
    holder.kill()
    holder.wait()
    with exclusive(lock, "x"):
        pass
    with exclusive(lock, "x"):  # leaving the block freed it
        pass
