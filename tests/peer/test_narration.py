"""What a running peer prints."""

from __future__ import annotations

import json

import pytest

from tidings.gossip.events import Evaluated, Event, LinkDown, Refused, Sent
from tidings.peer.cli.narration import narrator, sentence

TESTED = Evaluated(round=3, accuracy=0.875, loss=0.5, samples=100)
OFTEN = Sent(to="abcdefgh", message="news", size_bytes=10)


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (TESTED, "round 3: accuracy 87.5%"),
        (LinkDown(neighbour="abcdefgh", why="silent"), "lost abcdefgh: silent"),
        (
            Refused(sender="abcdefgh", reason="replayed", detail="", size_bytes=9),
            "refused a frame from abcdefgh: replayed",
        ),
    ],
)
def test_events_that_people_wait_for_have_words(event: Event, words: str) -> None:
    assert sentence(event) == words


def test_people_are_spared_each_frame(capsys: pytest.CaptureFixture[str]) -> None:
    tell = narrator(as_json=False)
    tell(OFTEN)
    tell(TESTED)
    assert capsys.readouterr().out == "round 3: accuracy 87.5%\n"


def test_scripts_get_every_event(capsys: pytest.CaptureFixture[str]) -> None:
    tell = narrator(as_json=True)
    tell(OFTEN)
    tell(TESTED)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [OFTEN.as_fields(), TESTED.as_fields()]
