"""One HTML file that needs nothing else and loads nothing from anywhere.

The page's style and script stand in it, and its security policy names the hashes of just these:
no other script runs, whatever a log says. The data stands in it as JSON, which the script shows as
text alone; so a report of somebody else's run can be opened without trust.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib import resources
from typing import Any

SCRIPTS = ("base.js", "charts.js", "film.js", "main.js")


def page(title: str, story: Mapping[str, Any], *, live: bool = False) -> str:
    """The page for a story: ``runs``, each made by ``run_json`` (run_story.py).

    A live page goes on with what the server beside it sends.
    """
    script = _script(live=live)
    style = _file("page.css")
    policy = (
        f"default-src 'none'; style-src 'sha256-{_hash(style)}' 'unsafe-hashes'; "
        f"script-src 'sha256-{_hash(script)}'" + ("; connect-src 'self'" if live else "")
    )
    lead = '<p class="lead live" id="lead" role="status">Live</p>' if live else (
        '<p class="lead" id="lead">Report of a Tidings run</p>'
    )  # fmt: skip
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style></head>\n<body>\n"
        f'<a class="skip" href="#main">Skip to the content</a>\n<header><h1>{escape(title)}</h1>'
        f'{lead}</header>\n<main id="main"></main>\n<noscript><p>The pictures of this page are '
        "drawn by the script in it. The same facts as tables: <code>tidings inspect RUN</code>."
        "</p></noscript>\n"
        f'<script type="application/json" id="story">{embedded(story)}</script>\n'
        f"<script>{script}</script>\n</body></html>\n"
    )


def embedded(value: Any) -> str:
    """JSON that can stand in a script element: nothing in it can end that."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@cache
def _file(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


@cache
def _script(*, live: bool) -> str:
    names = (*SCRIPTS, "live.js") if live else SCRIPTS
    return "\n".join(_file(name) for name in names)


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
