"""Settings files: any text gives settings or one ConfigError: what, where, what to do."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from tidings.crypto.errors import ConfigError, StorageError
from tidings.gossip.rules import Rules
from tidings.peer.settings_files import (
    apply_sets,
    check_settings,
    parse_toml,
    read_settings,
    read_toml,
    to_toml,
    write_settings,
)


class Loss(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Literal["loss"]
    loss: float
    since: float | None = None


class Cut(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Literal["cut"]
    rate: float


class Plan(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    rules: Rules = Rules()
    faults: tuple[Annotated[Loss | Cut, Field(discriminator="kind")], ...] = ()
    peers: dict[str, list[str]] | list[str] = []
    seed: int | None = None


def complaint(mapping: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        check_settings(Plan, mapping, where="plan.toml")
    assert caught.value.where == "plan.toml"
    assert caught.value.fix
    return caught.value.what


def outcome(act: Callable[[], Any]) -> Any:
    """What ``act`` returns, or the ConfigError it raises; anything else fails the test."""
    try:
        return act()
    except ConfigError as error:
        return error


# --- properties --------------------------------------------------------------------------------

keys = st.sampled_from(["name", "rules", "faults", "peers", "seed", "kind", "rounds", "sed", "x y"])
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["loss", "cut", "ring"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(keys, values, max_size=5))
def test_any_tables_give_settings_or_a_config_error(mapping: dict[str, Any]) -> None:
    result = outcome(lambda: check_settings(Plan, mapping, where="plan.toml"))
    assert isinstance(result, Plan) or result.where == "plan.toml"


@given(st.text(max_size=60))
def test_any_text_gives_tables_or_a_position(text: str) -> None:
    result = outcome(lambda: parse_toml(text, where="plan.toml"))
    assert isinstance(result, dict) or result.what.startswith("not valid TOML at line ")


@given(st.text(max_size=30))
def test_any_override_is_applied_or_is_a_config_error(assignment: str) -> None:
    result = outcome(lambda: apply_sets({"a": {"b": 1}}, [assignment]))
    assert isinstance(result, dict) or result.where == "--set"


@given(
    name=st.text(st.characters(exclude_categories=["Cs"])),
    seed=st.none() | st.integers(-(2**63), 2**63 - 1),
    rounds=st.integers(1, 1_000_000),
    keep=st.floats(0, 1, exclude_min=True),
    loss=st.floats(allow_nan=False),
)
def test_what_is_written_reads_back_equal(
    name: str, seed: int | None, rounds: int, keep: float, loss: float
) -> None:
    plan = Plan(
        name=name,
        seed=seed,
        rules=Rules(rounds=rounds, keep=keep),
        faults=(Loss(kind="loss", loss=loss),),
        peers={"ada": ["/ip4/127.0.0.1/tcp/1"]},
    )
    text = to_toml(plan)
    assert check_settings(Plan, parse_toml(text, where="t"), where="t") == plan
    assert ("seed" in parse_toml(text, where="t")) == (seed is not None)


@given(st.lists(st.sampled_from(["a=1", "a=2", "b.c=3", "b.c=x", "b.d=[1]"]), min_size=1))
def test_the_last_override_of_a_key_wins_and_the_original_is_untouched(sets: list[str]) -> None:
    original: dict[str, Any] = {"a": 0, "b": {"c": 0}}
    result = apply_sets(original, sets)
    assert original == {"a": 0, "b": {"c": 0}}
    last = {each.split("=")[0]: each.split("=")[1] for each in sets}
    assert str(result["a"]) == last.get("a", "0")
    assert str(result["b"]["c"]) == last.get("b.c", "0")


# --- what a person reads -----------------------------------------------------------------------


def test_an_unknown_key_names_the_nearest_known_one() -> None:
    what = complaint({"name": "n", "rules": {"topology": {"edgs": []}}})
    assert what == "rules.topology.edgs: unknown key; did you mean 'edges'?"


def test_an_unknown_key_like_no_other_lists_the_known_ones() -> None:
    what = complaint({"name": "n", "faults": [{"kind": "cut", "rate": 1.0, "zzzzzz": 1}]})
    assert what == "faults.0.zzzzzz: unknown key; known here: kind, rate"


@pytest.mark.parametrize(
    ("mapping", "line"),
    [
        ({"seed": "7"}, 'seed: expected a whole number, found the text "7"'),
        ({"seed": True}, "seed: expected a whole number, found true"),
        ({"seed": 1.5}, "seed: expected a whole number, found 1.5"),
        ({"name": 7}, 'name: expected text in "quotes", found 7'),
        ({"rules": 7}, "rules: expected a table, found 7"),
        ({"rules": {"rounds": 0}}, "rules.rounds: expected at least 1, found 0"),
        ({"rules": {"rounds": 10**7}}, "rules.rounds: expected at most 1000000, found 10000000"),
        ({"rules": {"deadline_s": 0.0}}, "rules.deadline_s: expected more than 0, found 0.0"),
        ({"rules": {"momentum": 1.0}}, "rules.momentum: expected less than 1, found 1.0"),
        (
            {"rules": {"mixing": "restrat"}},
            "rules.mixing: expected one of 'restart', 'feedback' or 'choco', "
            "found the text \"restrat\"; did you mean 'restart'?",
        ),
        (
            {"rules": {"topology": {"kind": "random-regular", "degree": 20}}},
            "rules.topology: degree 20 needs more than 10 nodes",
        ),
        ({"peers": 3}, "peers: expected a table or a list, found 3"),
        ({"faults": [{"rate": 1.0}]}, "faults.0.kind: this key is needed and missing"),
        ({"faults": [{"kind": "cut"}]}, "faults.0.rate: this key is needed and missing"),
        (
            {"faults": [{"kind": "loss", "loss": "a"}]},
            'faults.0.loss: expected a number, found the text "a"',
        ),
        (
            {"faults": [{"kind": "los"}]},
            "faults.0.kind: expected one of 'loss', 'cut', "
            "found the text \"los\"; did you mean 'loss'?",
        ),
    ],
)
def test_a_wrong_value_tells_path_expectation_and_finding(
    mapping: dict[str, Any], line: str
) -> None:
    assert complaint({"name": "n", **mapping}) == line


def test_all_mistakes_are_told_at_once() -> None:
    what = complaint({"nam": "n", "seed": "x", "rules": {"rounds": 0}})
    assert what.splitlines()[0] == "4 settings cannot be used:"
    assert {line.split(":")[0] for line in what.splitlines()[1:]} == {
        "  - name",
        "  - nam",
        "  - seed",
        "  - rules.rounds",
    }


def test_broken_toml_is_placed_by_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text('name = "n"\nseed = \n')
    with pytest.raises(ConfigError, match="not valid TOML at line 2, column 8") as caught:
        read_toml(path)
    assert caught.value.where == str(path)


def test_a_fault_that_shows_at_the_end_is_placed_there() -> None:
    with pytest.raises(ConfigError, match="line 2, column 6: Cannot overwrite a value"):
        parse_toml("a = 1\na = 2", where="plan.toml")


def test_a_missing_file_a_folder_and_bytes_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_toml(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="this is a folder"):
        read_toml(tmp_path)
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b'name = "n"\n\xff\xfe')
    with pytest.raises(ConfigError, match="line 2 is not UTF-8"):
        read_toml(binary)


def test_an_unreadable_file_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ConfigError, match="cannot be read: Permission denied"):
        read_toml(tmp_path / "plan.toml")


def test_overrides_speak_toml_or_plain_text() -> None:
    sets = ["privacy.mode=none", "seed = 3", "x=inf", "list=[1, 2]", 'text="7"', "empty=", "t=true"]
    assert apply_sets({"privacy": {"epsilon": 8.0}}, sets) == {
        "privacy": {"epsilon": 8.0, "mode": "none"},
        "seed": 3,
        "x": math.inf,
        "list": [1, 2],
        "text": "7",
        "empty": "",
        "t": True,
    }


def test_an_override_cannot_smuggle_in_a_second_key() -> None:
    assert apply_sets({}, ["a=1\nb=2"]) == {"a": "1\nb=2"}


def test_an_override_reaches_into_a_list_of_tables() -> None:
    assert apply_sets({"faults": [{"rate": 1}, {"rate": 2}]}, ["faults.1.rate=9"]) == {
        "faults": [{"rate": 1}, {"rate": 9}]
    }


@pytest.mark.parametrize(
    "assignment",
    ["seed", "=3", "a..b=3", "seed.x=3", "faults.5.rate=1", "faults.x=1", "name=\udcff"],
)
def test_an_override_that_leads_nowhere_is_refused(assignment: str) -> None:
    with pytest.raises(ConfigError) as caught:
        apply_sets({"seed": 1, "faults": [{"rate": 1}]}, [assignment])
    assert assignment in caught.value.what


def test_a_mistake_from_an_override_names_the_override(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text('name = "n"\n')
    assert read_settings(Plan, path, ["seed=3"]).seed == 3
    with pytest.raises(ConfigError) as caught:
        read_settings(Plan, path, ["seed=three"])
    assert caught.value.where == f"{path} with --set seed=three"


def test_settings_are_written_to_a_file_and_a_bad_place_is_a_storage_error(tmp_path: Path) -> None:
    plan = Plan(name="n", seed=4)
    write_settings(plan, tmp_path / "plan.toml")
    assert read_settings(Plan, tmp_path / "plan.toml") == plan
    assert os.listdir(tmp_path) == ["plan.toml"]
    with pytest.raises(StorageError):
        write_settings(plan, tmp_path / "plan.toml" / "below-a-file.toml")
