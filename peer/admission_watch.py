"""Noticing, while a peer runs, that its owner has put a newer admission into its folder."""

from __future__ import annotations

import logging

import anyio

from ..crypto.errors import TidingsError
from .folder import PeerFolder
from .node import Node

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0


async def watch_admission(folder: PeerFolder, node: Node) -> None:
    """Tell ``node`` of each newer bulletin that `tidings peer join` stores; until cancelled."""
    seen = _stamp(folder)
    while True:
        await anyio.sleep(LOOK_EVERY_S)
        now = _stamp(folder)
        if now != seen:
            seen = now
            try:
                bulletin = folder.admission().bulletin
            except TidingsError as error:  # `join` stores none such, but an owner may copy files
                logger.warning("the admission in the peer's folder cannot be used: %s", error)
            else:
                await node.tell(bulletin)


def _stamp(folder: PeerFolder) -> tuple[int, int] | None:
    try:
        status = folder.admission_file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino
