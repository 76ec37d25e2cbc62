"""Trouble that a person should know of, said once and not with every attempt."""

from __future__ import annotations

from collections.abc import Callable

from ...clock import monotonic_time

_MOST = 1000  # different texts that are remembered


class Warnings:
    """Passes each text on to ``warn`` at most once in ``every_s`` seconds."""

    def __init__(self, warn: Callable[[str], None], every_s: float) -> None:
        self._warn = warn
        self._every_s = every_s
        self._said: dict[str, float] = {}

    def say(self, text: str) -> None:
        """Warn, unless the same was said a short while ago."""
        now = monotonic_time()
        if now - self._said.get(text, float("-inf")) < self._every_s:
            return
        if len(self._said) >= _MOST:
            self._said.clear()
        self._said[text] = now
        self._warn(text)
