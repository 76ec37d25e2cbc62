"""What one check of `tidings peer doctor` tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at.

    ``found`` is what is the case, ``fix`` what to do about it (empty when all is well). With a
    problem the peer cannot run, or must not; with a warning it runs, but worse than it could.
    """

    name: str
    outcome: Outcome
    found: str
    fix: str = ""


def ok(name: str, found: str) -> Check:
    """All is well."""
    return Check(name=name, outcome="ok", found=found)


def warning(name: str, found: str, fix: str) -> Check:
    """The peer runs, but worse than it could."""
    return Check(name=name, outcome="warning", found=found, fix=fix)


def problem(name: str, found: str, fix: str) -> Check:
    """The peer cannot run, or must not."""
    return Check(name=name, outcome="problem", found=found, fix=fix)
