"""Composing sampled releases without the weight of the library that does it.

dp-accounting brings scipy: 75 MB and two seconds, too much for a board that asks it now and then.
`Remembered` asks it in a short-lived process, for many rounds ahead at once, and keeps the answers
in a file. An answer belongs to all that it depends on: the noise multipliers, sampling rates and
numbers of steps, delta, and the versions of the library and of this code. Whatever is not in the
file, or was asked of other versions, is worked out anew.

    python -m tidings.peer.costs < questions.json      (canonical JSON lists both ways)
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from ..crypto.accounting import (
    Composition,
    Groups,
    Mechanism,
    calibrate,
    compose,
    is_sampled,
)
from ..crypto.errors import ConfigError, StorageError, TidingsError
from ..crypto.files import write_atomic

VERSION = 1  # of the questions and of the way that they are answered
TIMEOUT_S = 600.0
_LIBRARY = "dp-accounting"

Question = list[Any]


class Remembered(Composition):
    """Answers from the file ``path``, and from a process of its own where the file has none.

    The file is a convenience: lost or damaged, it is written anew.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._made_by = {"version": VERSION, _LIBRARY: _library_version()}
        self._known = self._load()

    def epsilon(self, groups: Groups, delta: float) -> float:
        """As `Composition.epsilon`."""
        if not is_sampled(groups):
            return compose(groups, delta)
        return self._answer(_epsilon_question(groups, delta))

    def foresee(self, totals: Iterable[Groups], delta: float) -> None:
        """Work out all of ``totals`` at once, unless the first of them is known already."""
        rest = iter(totals)
        first = next(rest, ())
        if is_sampled(first) and _key(_epsilon_question(first, delta)) not in self._known:
            self._ask(_epsilon_question(groups, delta) for groups in (first, *rest))

    def calibrate(
        self,
        *,
        epsilon: float,
        delta: float,
        sampling_rate: float,
        steps: int,
        mechanism: Mechanism,
    ) -> float:
        """As `accounting.calibrate`."""
        if mechanism == "gaussian" or sampling_rate == 1:
            return super().calibrate(
                epsilon=epsilon,
                delta=delta,
                sampling_rate=sampling_rate,
                steps=steps,
                mechanism=mechanism,
            )
        return self._answer(["noise", epsilon, delta, sampling_rate, steps, mechanism])

    def _answer(self, question: Question) -> float:
        key = _key(question)
        if key not in self._known:
            self._ask([question])
        return self._known[key]

    def _ask(self, questions: Iterable[Question]) -> None:
        missing = [each for each in questions if _key(each) not in self._known]
        answers = _in_another_process(missing)
        self._known.update(zip(map(_key, missing), answers, strict=True))
        self._save()

    def _load(self) -> dict[str, float]:
        try:
            held = json.loads(self._path.read_bytes())
            if held["made_by"] != self._made_by:
                return {}
            known = {str(key): float(value) for key, value in held["answers"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}
        # a budget must not be stretched by a broken file
        return known if all(0 <= value < math.inf for value in known.values()) else {}

    def _save(self) -> None:
        content = {"made_by": self._made_by, "answers": self._known}
        write_atomic(self._path, (json.dumps(content, indent=0) + "\n").encode())


def _epsilon_question(groups: Groups, delta: float) -> Question:
    return ["epsilon", delta, [list(group) for group in groups]]


def _key(question: Question) -> str:
    return json.dumps(question, separators=(",", ":"))  # a float's repr is the float


def _library_version() -> str:
    try:
        return metadata.version(_LIBRARY)
    except metadata.PackageNotFoundError:
        return "none"


def _in_another_process(questions: list[Question]) -> list[float]:
    """The answers, in order. Raises ConfigError with what the other process says is wrong."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", __name__],
            input=json.dumps(questions),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            raise ValueError((done.stderr.strip() or f"exit code {done.returncode}")[-400:])
        reply = json.loads(done.stdout)
        if "what" in reply:
            raise ConfigError(reply["what"], where=reply["where"], fix=reply["fix"])
        answers = [float(value) for value in reply["answers"]]
    except (OSError, ValueError, KeyError, TypeError, subprocess.TimeoutExpired) as error:
        raise StorageError(
            f"what the planned rounds cost in privacy could not be worked out: {error}",
            fix="check that there is memory left (120 MB for some seconds), and start again",
        ) from error
    if len(answers) != len(questions):
        raise StorageError("some of the costs in privacy were not worked out", fix="start again")
    return answers


def _reply(questions: list[Question]) -> dict[str, Any]:
    try:
        return {"answers": [_worked_out(question) for question in questions]}
    except TidingsError as error:
        return {"what": error.what, "where": error.where, "fix": error.fix}


def _worked_out(question: Question) -> float:
    match question:
        case ["epsilon", float(delta), list(groups)]:
            value = compose(tuple((s, q, n) for s, q, n in groups), delta)
        case ["noise", epsilon, delta, rate, steps, mechanism]:
            value = calibrate(
                epsilon=epsilon, delta=delta, sampling_rate=rate, steps=steps, mechanism=mechanism
            )
        case _:
            raise ValueError(f"this is no question: {question}")
    if not math.isfinite(value):
        raise ConfigError(
            "so much is spent that its cost has no number",
            where="privacy.epsilon",
            fix="choose more noise",
        )
    return value


if __name__ == "__main__":
    json.dump(_reply(json.load(sys.stdin)), sys.stdout)
