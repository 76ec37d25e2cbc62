"""The live page over HTTP, on the loopback address alone, for whoever has the token.

``GET /?token=T`` is the page, ``GET /events?token=T`` its news as server-sent events (HTML Living
Standard, section 9.2). Everything else is refused. A page of another origin cannot read it: the
token is not guessable, and requests that name another host are refused, so a name that is made to
lead here (DNS rebinding) leads nowhere.
"""

from __future__ import annotations

import errno
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ...crypto.errors import ConfigError
from ..page.document import embedded, page
from .watched import Watched

HOST = "127.0.0.1"
EVERY_S = 0.5  # how often the logs are read and pages told
MAX_PAGES = 8  # that are told at the same time
PATIENCE_S = 10.0  # for a request to come in, and for a page to take its news


class LiveServer:
    """Serves one watched folder. Raises ConfigError when the port cannot be had."""

    def __init__(self, watched: Watched, port: int = 0) -> None:
        self.watched = watched
        self.token = secrets.token_urlsafe(18)
        self.stopped = threading.Event()
        self.pages = threading.BoundedSemaphore(MAX_PAGES)
        try:
            self._server = _Server((HOST, port), _Handler)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            raise ConfigError(
                f"port {port} cannot be used: {'it is taken' if taken else error.strerror}",
                where="--port",
                fix="choose another, or leave it out",
            ) from error
        self._server.live = self

    @property
    def url(self) -> str:
        """Where the page is, token and all."""
        return f"http://{self.host}/?token={self.token}"

    @property
    def host(self) -> str:
        """The one host and port that requests may name."""
        return f"{HOST}:{self._server.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serve in threads until the context ends."""
        threads = [
            threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True),
            threading.Thread(target=self._read, daemon=True),
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.stopped.set()
            self._server.shutdown()
            self._server.server_close()

    def _read(self) -> None:
        while not self.stopped.wait(EVERY_S):
            self.watched.look()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    live: LiveServer


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = PATIENCE_S
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "tidings", ""

    def do_GET(self) -> None:
        """Answer one request."""
        live, parts = self.server.live, urlsplit(self.path)
        token = parse_qs(parts.query).get("token", [""])[-1]
        self.close_connection = True
        if self.headers.get("Host") != live.host:
            self._say(421, "text/plain", "This server answers to its loopback address alone.")
        elif not secrets.compare_digest(token.encode(), live.token.encode()):
            self._say(403, "text/plain", "The token is missing or wrong: open the printed address.")
        elif parts.path == "/":
            _, run = live.watched.story()
            self._say(200, "text/html", page(live.watched.name, {"runs": [run]}, live=True))
        elif parts.path == "/events":
            self._tell()
        else:
            self._say(404, "text/plain", "There is nothing here.")

    def _say(self, status: int, kind: str, text: str) -> None:
        body = text.encode()
        self._begin(status, kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _begin(self, status: int, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Frame-Options", "DENY")

    def _tell(self) -> None:
        """News until the run ends, the server stops or the page goes away."""
        live = self.server.live
        if not live.pages.acquire(blocking=False):
            self._say(503, "text/plain", f"{MAX_PAGES} pages are open already; close one.")
            return
        try:
            self._begin(200, "text/event-stream")
            self.end_headers()
            self._follow(live)
        except OSError:
            pass  # the page has gone
        finally:
            live.pages.release()

    def _follow(self, live: LiveServer) -> None:
        shape, run = live.watched.story()
        self._event("story", run)
        while not live.stopped.wait(EVERY_S):
            ended = live.watched.ended  # asked before the last step is told
            step = live.watched.step(shape)
            if step is None:
                shape, run = live.watched.story()
                self._event("story", run)
            else:
                self._event("step", step)
            if ended:
                self._event("end", {})
                return

    def _event(self, name: str, value: Any) -> None:
        self.wfile.write(f"event: {name}\ndata: {embedded(value)}\n\n".encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: addresses hold the token."""
