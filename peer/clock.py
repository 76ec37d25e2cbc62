"""The only place that reads the clock; everything below takes the time as an argument."""

from __future__ import annotations

import time


def wall_time() -> float:
    """Seconds since 1970, for the event log."""
    return time.time()  # noqa: TID251


def monotonic_time() -> float:
    """Seconds that never run backwards, for timers and deadlines."""
    return time.monotonic()  # noqa: TID251


def local_stamp() -> str:
    """The local time as part of a file name, such as 20260131-235959."""
    return time.strftime("%Y%m%d-%H%M%S")


def utc_date(seconds: float) -> str:
    """Seconds since 1970 for people, such as 2026-01-31 23:59 UTC."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
