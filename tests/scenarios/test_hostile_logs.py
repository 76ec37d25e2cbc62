"""Logs that are cut short, corrupted, foreign or made to harm: a clear line for each."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tests.scenarios.log_factory import honest_run, line_of, sent, write_log
from tests.scenarios.test_views import output_of

GOOD = "".join(line_of(*line) for line in honest_run(peers=2, rounds=2)).encode()
PACKED = gzip.compress(GOOD)
DEEP = b'{"event":"sent","time":1,"peer":"a","to":' + b"[" * 200_000 + b"]" * 200_000 + b"}\n"
GIANT = line_of(1, "a", sent()).replace("100", "9" * 4000).encode()
HTML = line_of(1, "<img src=x onerror=alert(1)>", sent()).encode()
ESCAPES = line_of(1, "\x1b]0;owned\x07\x1b[2J", sent()).encode()

CASES = {
    "truncated": ("events.jsonl", GOOD[:-40], "it ends in the midst of a line"),
    "truncated part": ("events-000001.jsonl.gz", PACKED[: len(PACKED) // 2], "it is cut short"),
    "no gzip": ("events-000001.jsonl.gz", b"PK\x03\x04 not gzip", "no gzip file"),
    "corrupted": ("events.jsonl", GOOD.replace(b'"time"', b'"ti\xffe"', 3), "not a line of JSON"),
    "zeros": ("events.jsonl", GOOD + b"\0" * 4096 + b"\n" + GOOD, "not a line of JSON"),
    "foreign": ("events.jsonl", b'127.0.0.1 - - "GET /" 200\n' * 3, "not a line of JSON"),
    "other JSON": ("events.jsonl", b'{"level":"info","msg":"hi"}\n', "not an object with event"),
    "picture": ("events.jsonl", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "not a line of JSON"),
    "deep": ("events.jsonl", DEEP, "not a line of JSON"),
    "giant": ("events.jsonl", GIANT, "not a line of JSON"),
    "html": ("events.jsonl", HTML, "<img src=x onerror=alert(1)>"),
    "escapes": ("events.jsonl", ESCAPES, r"\x1b]0;owned\x07"),
    "no table": ("events/sent-000001.parquet", b"PAR1 but not really", "parquet"),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_told_in_a_line(tmp_path: Path, name: str):
    file, content, told = CASES[name]
    write_log(tmp_path / "events.jsonl", honest_run(peers=2, rounds=2))
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_bytes(content)
    told_to_people = output_of(tmp_path)
    assert told.lower() in " ".join(told_to_people.split()).lower()
    assert not [c for c in told_to_people if not c.isprintable() and c != "\n"]
    assert json.loads(output_of(tmp_path, "--json"))["peers"] >= 0
