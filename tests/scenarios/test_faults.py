"""What the table [faults] of a scenario may say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.scenarios.small import small
from tidings.crypto.errors import ConfigError
from tidings.scenarios.faults import Crash, Cut, Faults, Liar


@given(groups=st.lists(st.sets(st.integers(0, 6)), max_size=4))
def test_a_cut_separates_who_is_not_in_one_group(groups: list[set[int]]) -> None:
    disjoint = [group - set().union(*groups[:at]) for at, group in enumerate(groups)]
    cut = Cut(from_s=0.0, to_s=1.0, groups=tuple(tuple(sorted(group)) for group in disjoint))
    for a in range(7):
        for b in range(7):
            together = any({a, b} <= group for group in disjoint)
            assert cut.separates(a, b) == (not together)
            assert cut.separates(a, b) == cut.separates(b, a)


@pytest.mark.parametrize(
    ("faults", "complaint"),
    [
        ({"cuts": [{"from_s": 2.0, "to_s": 2.0, "groups": [[0], [1]]}]}, "ends after it begins"),
        ({"cuts": [{"from_s": 1.0, "to_s": 2.0, "groups": [[0, 1], [1]]}]}, "in two groups"),
        ({"loss": 1.0}, "less than 1"),
        ({"delay_s": -0.1}, "greater than or equal to 0"),
        ({"train_s": float("inf")}, "finite"),
        ({"liars": [{"node": 1, "behaviour": "flatter"}]}, "'equivocate'"),
        ({"liars": [{"node": 1, "behaviour": "forge"}] * 2}, "named as a liar twice"),
        (
            {
                "crashes": [
                    {"node": 1, "at_s": 2.0, "for_s": 1.0},
                    {"node": 1, "at_s": 1.0, "for_s": 1.5},
                ]
            },
            "crashes again while it is down",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(faults: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        Faults.model_validate(faults)


def test_nodes_that_crash_one_after_the_other_are_fine() -> None:
    crashes = (Crash(node=1, at_s=1.0, for_s=1.0), Crash(node=1, at_s=2.0, for_s=1.0))
    assert Faults(crashes=crashes, liars=(Liar(node=3, behaviour="forge"),)).nodes() == {1, 3}


def test_a_node_that_is_not_there_is_told() -> None:
    with pytest.raises(ConfigError, match=r"names node 5; there are 0\.\.4"):
        small('faults.liars=[{node=5, behaviour="forge"}]')


def test_a_cut_leaves_a_broker_with_the_first_group() -> None:
    cuts = (Cut(from_s=1.0, to_s=2.0, groups=((0, 1), (2, 3))),)
    faults = Faults(loss=0.1, cuts=cuts).with_broker(4)
    assert [faults.cuts[0].separates(node, 4) for node in range(4)] == [False, False, True, True]
    assert faults.loss == 0.1


def test_a_scenario_without_faults_asks_for_none() -> None:
    assert not Faults().asked_for
    assert not Faults(loss=0.0).asked_for
    assert Faults(train_s=0.2).asked_for
    assert Faults(cuts=(Cut(from_s=0.0, to_s=1.0, groups=((0,),)),)).asked_for
