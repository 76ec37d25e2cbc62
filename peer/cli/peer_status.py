"""`tidings peer status`: what a peer's folder tells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..status import Status


def status(
    folder: Annotated[Path, typer.Argument(help="The peer's folder.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show who a peer is, how far it is, and what it has spent of its privacy budget."""
    from dataclasses import asdict
    from json import dumps

    from ..folder import PeerFolder
    from ..status import status_of

    found = status_of(PeerFolder.open(folder))
    if json:
        typer.echo(dumps(asdict(found)))
        return
    for label, text in _lines(found, folder):
        typer.echo(f"{label:<10}{text}")


def _lines(status: Status, folder: Path) -> list[tuple[str, str]]:
    """The status for people: label and text."""
    lines = [("peer", f"{status.name} ({status.id})"), ("peer id", status.peer_id)]
    member, progress, privacy = status.membership, status.progress, status.privacy
    if member is None:
        lines.append(("network", f"not admitted yet; then: tidings peer join {folder} FILE"))
    else:
        lines.append(("network", f"{member.name} ({member.id})"))
        lines.append(("member", f"{member.index} of 0..{member.nodes - 1}"))
    if progress is None:
        lines.append(("round", "not started"))
    else:
        last = f" of {member.rounds}" if member is not None else ""
        lines.append(("round", f"{progress.round}{last}, {progress.phase}"))
        head = f"entry {progress.sequence}, state {progress.state[:16]}"
        lines.append(("feed", head if progress.sequence else "nothing published"))
    if privacy.spent is None:
        lines.append(("privacy", f"none in {privacy.releases} releases"))
    else:
        lines += [
            (
                "privacy",
                f"epsilon {privacy.spent:.4g} spent, {privacy.left:.4g} left of "
                f"{privacy.budget:g} at delta {privacy.delta:g}, {privacy.releases} releases",
            ),
            ("unit", f"one {privacy.unit}; {privacy.relation}; {privacy.accountant}"),
            ("trust", privacy.trust_model),
        ]
    if privacy.is_copy:
        lines.append(("warning", "this folder is a copy of another: it never trains"))
    return lines
