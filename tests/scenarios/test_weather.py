"""The array engine's own faults are those of the simulator, as far as figures can tell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from tests.scenarios.small import small
from tests.scenarios.stand_in import stand_in_world
from tests.scenarios.test_array_parity import Noted, arrayed, simulated
from tidings.gossip.events import Mixed, Skipped


@dataclass(frozen=True)
class Figures:
    """What became of a run; ``end_s`` is when peers ended on average."""

    mixed: int
    missing: int
    skipped: int
    end_s: float

    @classmethod
    def of(cls, noted: Noted) -> Figures:
        mixed = [(line.peer, line.time, e) for line in noted if isinstance(e := line.event, Mixed)]
        skips = [e for line in noted if isinstance(e := line.event, Skipped)]
        ends = {peer: time for peer, time, _ in mixed}
        return cls(
            mixed=len(mixed),
            missing=sum(len(event.missing) for _, _, event in mixed),
            skipped=sum(skip.to_round - skip.from_round for skip in skips),
            end_s=float(np.mean(list(ends.values()))),
        )


HALVES = "groups=[[0,1,2,3,4,5],[6,7,8,9,10,11]]"
WEATHERS = {
    "still": "faults={delay_s=0.02, straggle=1.0}",
    "lossy": "faults={loss=0.1, delay_s=0.02, jitter_s=0.02, straggle=1.0}",
    "deaths": "faults={delay_s=0.02, straggle=0.5, crash_every_s=0.4, crash_for_s=0.8}",
    "cut": f"faults={{delay_s=0.02, cuts=[{{from_s=0.5, to_s=1.5, {HALVES}}}]}}",
}


@pytest.mark.parametrize("name", WEATHERS)
def test_weather_is_like_the_simulators(name: str) -> None:
    scenario = small(
        "peers=12",
        "rules.rounds=25",
        "rules.deadline_s=0.5",
        'rules.topology={kind="random-regular", degree=4}',
        WEATHERS[name],
    )
    expected = Figures.of(simulated(stand_in_world(scenario))[0])
    found = Figures.of(arrayed(stand_in_world(scenario))[0])
    assert found.end_s == pytest.approx(expected.end_s, rel=1e-9 if name == "still" else 0.2)
    assert found.mixed == pytest.approx(expected.mixed, rel=0.05)
    assert found.missing == pytest.approx(expected.missing, rel=0.35, abs=12)
    assert found.skipped == pytest.approx(expected.skipped, rel=0.5, abs=6)
