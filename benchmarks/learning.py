"""How well the gossip rules, graphs and compressions learn: rounds, messages, bytes to accuracy.

    python benchmarks/learning.py                          # every table, as in README.md
    python benchmarks/learning.py --rows default bytes     # tables or rows that hold these words
    python benchmarks/learning.py --rows "top 5" --seeds 1 --rates 0.1 0.3

Digits, 16 peers, a multilayer perceptron, batches of 32, no privacy, on the array engine; 5 local
steps and 100 rounds unless a row says otherwise (_learning_rows.py). Figures are means over
seeds and peers; bytes are those of whole frames, with headers, signatures and seals. Of several
learning rates a row shows the one that is best in the end.

Exit code 1 when a requirement is missed: the default reaches 90 % at Dirichlet 0.1 with at most 30
messages a peer, and `frugal` is within half a point of D-PSGD for a thirtieth of its bytes; no run
diverges; and no row falls behind what others have reached with it by more than the noise of seeds.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from _learning_rows import PLAIN, ROWS, Row, Sets
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tidings.crypto.errors import TidingsError
from tidings.scenarios.curves import Curve, learning_curve
from tidings.scenarios.scenario import Scenario, read_scenario, resolve_scenario

GOAL, EARLY, CHANCE = 0.9, 20, 0.12
MOST_MESSAGES = 30.0
FEWER_BYTES, ACCURACY_APART = 30.0, 0.005
NOISE = 0.01  # how far means over five seeds of another partition may lie apart


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of a row: means over the seeds.

    ``to_goal`` are the rounds, and ``messages_to_goal`` the messages of a peer, until the mean
    accuracy of all peers and seeds is 90 %: infinite where that is never so. ``spread`` is the
    standard deviation of ``late`` over seeds. ``rate`` is the learning rate, None for that of a
    file that names none.
    """

    table: str
    name: str
    alpha: float
    rate: float | None
    early: float
    late: float
    spread: float
    to_goal: float
    messages_to_goal: float
    messages: float
    wire_bytes: float
    diverged: int
    expected: tuple[float, float, float] | None = None

    @property
    def behind(self) -> bool:
        """Whether it is worse than what others have reached, in the end or on the way."""
        if self.expected is None:
            return False
        _, late, rounds = self.expected
        noise = max(NOISE, self.spread)
        return self.late < late - noise or self.to_goal > 1.2 * rounds


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rows", nargs="+", default=[""], help="tables or rows with these words")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--rates", type=float, nargs="+", help="instead of the rows' own")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for row in ROWS if any(word in f"{row.table}: {row.name}" for word in asked.rows)]
    results = measure(rows, asked.seeds, asked.rates)
    missed = list(requirements(results))
    if asked.json:
        print(json.dumps({"rows": [plain(result) for result in results], "missed": missed}))
    else:
        show(results, missed)
    sys.exit(bool(missed))


def measure(
    rows: Sequence[Row], seeds: Sequence[int], rates: Sequence[float] | None
) -> list[Result]:
    """The best result of each row and alpha, with a bar on standard error while it works."""
    jobs = [(row, at, row.rates and tuple(rates or row.rates)) for row in rows for at in
            range(len(row.alphas))]  # fmt: skip
    results = []
    with Progress(console=Console(stderr=True)) as progress:
        total = sum(len(seeds) * max(1, len(tried)) for _, _, tried in jobs)
        bar = progress.add_task("runs", total=total)
        for row, at, tried in jobs:
            progress.update(bar, description=f"{row.name}, {row.alphas[at]:g}")
            found = []
            for rate in tried or (None,):
                curves = []
                for seed in seeds:
                    curves.append(curve_of(row, row.alphas[at], rate, seed))
                    progress.advance(bar)
                found.append(result_of(row, at, rate, curves))
            results.append(max(found, key=lambda result: (-result.diverged, result.late)))
    return results


def curve_of(row: Row, alpha: float, rate: float | None, seed: int) -> Curve | None:
    """One run; None when it did not come to its end."""
    sets: Sets = {"partition.alpha": alpha, "seed": seed, **row.sets}
    if rate is not None:
        sets["training.learning_rate"] = rate
    try:
        return learning_curve(scenario_of(row, sets))
    except TidingsError:
        return None


def scenario_of(row: Row, sets: Sets) -> Scenario:
    """The scenario of a row with ``sets`` on top."""
    mapping = {} if row.scenario is None else read_scenario(row.scenario)[0]
    sets = {"engine": "array", "arms": [row.arm]} | (sets if row.scenario else PLAIN | sets)
    for key, value in sets.items():
        *path, last = key.split(".")
        table: dict[str, Any] = mapping
        for name in path:
            table = table.setdefault(name, {})
        table[last] = copy.deepcopy(value)
    return resolve_scenario(mapping, where=row.name)


def result_of(row: Row, at: int, rate: float | None, curves: Sequence[Curve | None]) -> Result:
    """The means over some runs of a row."""
    ended = [one for one in curves if one is not None and one.accuracy[-1] > CHANCE]
    late = np.array([one.accuracy[-1] for one in ended])
    goal, messages = goal_of(ended)
    return Result(
        table=row.table,
        name=row.name,
        alpha=row.alphas[at],
        rate=rate,
        early=mean(one.accuracy[min(EARLY, len(one.accuracy)) - 1] for one in ended),
        late=mean(late),
        spread=float(late.std()) if len(late) else math.nan,
        to_goal=goal,
        messages_to_goal=messages,
        messages=mean(one.messages[-1] for one in ended),
        wire_bytes=mean(one.wire_bytes[-1] for one in ended),
        diverged=len(curves) - len(ended),
        expected=row.expected[at] if row.expected else None,
    )


def goal_of(curves: Sequence[Curve]) -> tuple[float, float]:
    """After how many rounds, and messages of a peer, the mean of the curves is at 90 %."""
    if not curves:
        return math.inf, math.inf
    above = np.flatnonzero(np.mean([one.accuracy for one in curves], axis=0) >= GOAL)
    if not len(above):
        return math.inf, math.inf
    return float(above[0] + 1), mean(one.messages[above[0]] for one in curves)


def mean(values: Iterable[float]) -> float:
    found = list(values)
    return float(np.mean(found)) if found else math.nan


def requirements(results: Sequence[Result]) -> Iterable[str]:
    """What is missed, in words."""
    for result in results:
        named = f"{result.name}, Dirichlet {result.alpha:g}"
        if result.diverged:
            yield f"{named}: {result.diverged} runs diverged"
        if result.behind:
            yield f"{named}: behind what others have reached"
        slow = not result.messages_to_goal <= MOST_MESSAGES
        if result.table == "default" and result.alpha == 0.1 and slow:
            yield f"{named}: 90 % takes more than {MOST_MESSAGES:g} messages"
    of_bytes = [result for result in results if result.table == "bytes"]
    for result in of_bytes:
        task, _, name = result.name.partition(": ")
        others = [one for one in of_bytes if one.name == f"{task}: D-PSGD, ring"]
        for plain_one in others if name == "frugal" else ():
            ratio = plain_one.wire_bytes / result.wire_bytes
            if not (ratio >= FEWER_BYTES and plain_one.late - result.late <= ACCURACY_APART):
                yield f"{result.name}: {ratio:.1f} times fewer bytes than D-PSGD, or less accurate"


def plain(result: Result) -> dict[str, Any]:
    """As JSON has it: what is not finite is null."""
    fields = asdict(result) | {"behind": result.behind}
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in fields.items()
        if key != "expected"
    }


def show(results: Sequence[Result], missed: Sequence[str]) -> None:
    console = Console()
    for name in dict.fromkeys(result.table for result in results):
        table = Table(title=f"{name}: accuracy after {EARLY} rounds / in the end / rounds to 90 %")
        for column in ("row", "alpha", "rate", "ours", "±", "others", "msgs to 90 %", "kB a peer"):
            left = column == "row"
            table.add_column(column, justify="left" if left else "right", no_wrap=True)
        for result in results:
            if result.table == name:
                table.add_row(*cells(result), style="red" if result.behind else None)
        console.print(table)
    for line in missed:
        console.print(f"[red]missed:[/red] {line}")


def cells(result: Result) -> list[str]:
    """A line of a table."""
    return [
        result.name,
        f"{result.alpha:g}",
        "-" if result.rate is None else f"{result.rate:g}",
        figures(result.early, result.late, result.to_goal),
        f"{result.spread:.1%}",
        "" if result.expected is None else figures(*result.expected),
        number(result.messages_to_goal),
        f"{result.wire_bytes / 1000:,.1f}",
    ]


def figures(early: float, late: float, to_goal: float) -> str:
    """The three figures of a row; an accuracy of 0 stands for one that nobody knows."""
    known = [f"{100 * accuracy:.1f}" for accuracy in (early, late) if accuracy]
    return " / ".join([*known, number(to_goal)])


def number(value: float) -> str:
    return f"{value:.0f}" if math.isfinite(value) else "-"


if __name__ == "__main__":
    main()
