"""A real browser for the tests: headless Chromium, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
# nothing is asked of any other host
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def chromium() -> str:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = [path for name in names if (path := shutil.which(name))]
    found += [place for place in PLACES if Path(place).exists()]
    if not found:
        pytest.fail("there is no Chromium: run tools/setup-test-tools")
    return found[0]


@contextmanager
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=chromium(), args=list(QUIET))
        try:
            yield one
        finally:
            one.close()


class Sheet:
    """A page that remembers what its console complained of and what it asked of others."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda m: self.complaints.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))


@contextmanager
def sheet(one: Browser, address: str, **look: Any) -> Iterator[Sheet]:
    """The page at an address. ``look`` is as for Playwright's ``new_page``."""
    page = one.new_page(**look)
    found = Sheet(page)
    try:
        page.goto(address)
        yield found
    finally:
        page.close()
