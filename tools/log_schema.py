"""Writes docs/event-log.schema.json, the JSON Schema of event logs, from the typed events.

    python tools/log_schema.py

tests/scenarios/test_log_schema.py fails when the file is not up to date.
"""

from __future__ import annotations

import json
from pathlib import Path

from tidings.scenarios.log_schema import log_schema

FILE = Path(__file__).parent.parent / "docs" / "event-log.schema.json"


def text() -> str:
    """What the file should hold."""
    return json.dumps(log_schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
