"""A diagnosis for people: each finding as a sentence, what to do, and the lines that show it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from ..diagnosis import Finding
from ..formats import shown

LONGEST = 600


def print_findings(console: Console, findings: Sequence[Finding], begin_s: float) -> None:
    """Print all findings; times are told since ``begin_s``. Texts are shown, not obeyed."""
    if not findings:
        console.print(Text("Diagnosis: all seems well"))
        return
    console.print(Text("Diagnosis", style="bold"))
    for finding in findings:
        what = shown(finding.what, limit=LONGEST)
        console.print(Padding(Text.assemble((finding.kind, "yellow"), ": ", what), (0, 0, 0, 2)))
        console.print(Padding(Text(shown(finding.advice, limit=LONGEST)), (0, 0, 0, 6)))
        for line in finding.evidence:
            told = (
                f"{line.time - begin_s:9.2f} s  {shown(line.peer)}: {shown(line.text, limit=200)}"
            )
            console.print(Padding(Text(told, style="dim"), (0, 0, 0, 6)))
