"""Serves a peer's health and metrics over HTTP: ``GET /health`` and ``GET /metrics``.

It runs in the peer's own event loop, answers one request a connection, and holds no more than a
few connections for a few seconds, so whoever asks cannot hold up the peer.
"""

from __future__ import annotations

import errno
import json
from collections.abc import AsyncIterable, Callable

import anyio
from anyio.abc import SocketStream, TaskStatus

from ..crypto.errors import TransportError
from .metrics import CONTENT_TYPE, Metrics

MAX_REQUEST_BYTES = 8192
MAX_CONNECTIONS = 8
PATIENCE_S = 5.0  # for a request to come in and its answer to go out
Answer = tuple[int, str, str]  # status, content type, body
_REASONS = {
    200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed",
    503: "Service Unavailable",
}  # fmt: skip


async def serve(
    metrics: Metrics,
    place: tuple[str, int],
    *,
    task_status: TaskStatus[int] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Answer until cancelled; ``started`` gets the port.

    Raises TransportError when the address cannot be used.
    """
    host, port = place
    try:
        listener = await anyio.create_tcp_listener(local_host=host, local_port=port)
    except OSError as error:
        what = "the port is in use" if error.errno == errno.EADDRINUSE else str(error.strerror)
        raise TransportError(
            f"metrics cannot be served: {what}",
            where=f"{host}:{port}",
            fix="choose another address for metrics.listen in peer.toml",
        ) from error
    async with listener:
        task_status.started(listener.extra(anyio.abc.SocketAttribute.local_port))
        at_work = 0

        async def take(stream: SocketStream) -> None:
            nonlocal at_work
            async with stream:
                if at_work >= MAX_CONNECTIONS:
                    return
                at_work += 1
                try:
                    with anyio.move_on_after(PATIENCE_S):
                        await _answer(stream, metrics)
                except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                    pass  # whoever asked has gone
                finally:
                    at_work -= 1

        await listener.serve(take)


async def _answer(stream: SocketStream, metrics: Metrics) -> None:
    head = await _head(stream)
    if head is None:
        return
    line = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    method, path = (line[0], line[1]) if len(line) == 3 else ("", "")
    status, kind, body = _found(method, path.partition("?")[0], metrics)
    content = body.encode()
    lines = [
        f"HTTP/1.1 {status} {_REASONS[status]}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(content)}",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    answer = "\r\n".join((*lines, "", "")).encode()
    await stream.send(answer if method == "HEAD" else answer + content)


async def _head(stream: AsyncIterable[bytes]) -> bytes | None:
    """The request's line and fields; None when it is over-long or ends too early."""
    head = b""
    async for part in stream:
        head += part
        if b"\r\n\r\n" in head:
            return head
        if len(head) > MAX_REQUEST_BYTES:
            return None
    return None


def _found(method: str, path: str, metrics: Metrics) -> Answer:
    pages: dict[str, Callable[[Metrics], Answer]] = {"/health": _health, "/metrics": _metrics}
    if not method:
        return 400, "text/plain", "this is not HTTP\n"
    if method not in ("GET", "HEAD"):
        return 405, "text/plain", "only GET and HEAD\n"
    page = pages.get(path)
    return page(metrics) if page else (404, "text/plain", "there are /health and /metrics\n")


def _health(metrics: Metrics) -> Answer:
    is_well, told = metrics.health()
    return 200 if is_well else 503, "application/json", json.dumps(told) + "\n"


def _metrics(metrics: Metrics) -> Answer:
    return 200, CONTENT_TYPE, metrics.text()
