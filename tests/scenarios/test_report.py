"""What stands in a report, without a browser: test_page.py opens it in one."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scenarios.log_factory import HOSTILE_NAMES, any_lines, honest_run, released, write_log
from tests.scenarios.small import small
from tidings.crypto.errors import ConfigError
from tidings.gossip.events import Refused
from tidings.scenarios.page.document import embedded
from tidings.scenarios.report import write_report
from tidings.scenarios.runner import run_scenario


class Parsed(HTMLParser):
    """The elements of a page, and what stands in its scripts and styles."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[dict[str, str | None]] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": [], "title": []}
        self._open = ""
        self.feed(file.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.append(dict(attrs))
        self._open = tag
        if tag in self.inside:
            self.inside[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in self.inside:
            self.inside[self._open][-1] += data

    @property
    def story(self) -> dict[str, Any]:
        story: dict[str, Any] = json.loads(self.inside["script"][0])
        return story


def hashed(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_the_report_holds_all_and_loads_nothing(tmp_path: Path) -> None:
    write_log(tmp_path / "events.jsonl", honest_run(peers=4, rounds=3))
    page = Parsed(write_report(tmp_path))
    assert not {"link", "iframe", "object", "form", "img"} & set(page.tags)
    assert not {name for each in page.attributes for name in each} & {"src", "onload", "onerror"}
    (policy,) = [
        each["content"] for each in page.attributes
        if each.get("http-equiv") == "Content-Security-Policy"
    ]  # fmt: skip
    assert policy is not None
    assert "default-src 'none'" in policy
    assert f"script-src '{hashed(page.inside['script'][1])}'" in policy
    assert hashed(page.inside["style"][0]) in policy
    links = set(re.findall(r"https?://[^\"\s]+", page.inside["script"][1]))
    assert links == {"http://www.w3.org/2000/svg"}  # the name of a language, which nobody asks for
    (run,) = page.story["runs"]
    facts = dict(run["facts"])
    assert facts["peers"] == "4"
    assert len(run["film"]["peers"]) == 4
    assert len(run["tables"]["Peers"]["rows"]) == 4
    assert "add-or-remove-one record" in dict(run["privacy"]).values()


def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    lines = honest_run(peers=2, rounds=1)
    for name in HOSTILE_NAMES:
        refused = Refused(sender=name, reason=name, detail=name, size_bytes=1)
        lines = [*lines, (2.0, name, refused)]
    write_log(tmp_path / "events.jsonl", lines)
    file = write_report(tmp_path)
    page = Parsed(file)
    assert page.tags.count("script") == 2
    assert not {"b", "boss"} & set(page.tags)
    told = json.dumps(page.story, ensure_ascii=False)
    assert "<script>alert(1)</script>" in told
    assert not [c for c in told if not c.isprintable()]
    assert "x" * 300 not in told


@given(st.lists(any_lines(), max_size=20))
@settings(max_examples=30, deadline=None)
def test_any_log_has_a_report(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    folder = tmp_path_factory.mktemp("run")
    (folder / "events.jsonl").write_text("".join(lines), errors="surrogatepass")
    assert Parsed(write_report(folder)).story["runs"]


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_embedded_json_ends_no_script_and_stays_what_it_was(value: Any) -> None:
    text = embedded(value)
    assert not set("<>&") & set(text)
    assert json.loads(text) == value


def test_a_comparison_has_one_report(tmp_path: Path) -> None:
    for seed, name in enumerate(("local", "gossip")):
        write_log(tmp_path / name / "events.jsonl", honest_run(peers=3, rounds=2, seed=seed))
    file = write_report(tmp_path)
    assert file == tmp_path / "report.html"
    assert [run["name"] for run in Parsed(file).story["runs"]] == ["gossip", "local"]


def test_the_curves_of_a_run_too_large_to_draw_are_those_of_a_drawn_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidings.scenarios.engines.array.start.PEERS_IN_LINES", 1)
    run_scenario(small("engine=array", "rules.rounds=4"), tmp_path / "run", lambda *_: None)
    drawn = Parsed(write_report(tmp_path / "run")).story["runs"][0]["curves"]
    monkeypatch.setattr("tidings.scenarios.report.MAX_PEERS", 2)
    curves = Parsed(write_report(tmp_path / "run")).story["runs"][0]["curves"]
    first = drawn["rounds"].index(1)  # what was sent and tested before the first round is left out
    for name in ("rounds", "mean", "low", "high", "deviation"):
        assert curves[name] == pytest.approx(drawn[name][first:])
    assert sum(curves["sent"]) == sum(drawn["sent"]) > 0


def test_a_run_without_privacy_says_so(tmp_path: Path) -> None:
    nothing = released(unit="none", epsilon=None, delta=None, mechanism="none")
    write_log(tmp_path / "events.jsonl", [(1, "a", nothing)])
    (run,) = Parsed(write_report(tmp_path)).story["runs"]
    assert not run["isPrivate"]
    assert dict(run["privacy"])["differential privacy"] == "none"


def test_a_folder_without_logs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no event log"):
        write_report(tmp_path)
