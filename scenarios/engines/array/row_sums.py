"""Sums of rows by torch where it is installed: one pass over memory instead of one a neighbour."""

from __future__ import annotations

from collections.abc import Callable

from ....gossip.block_mixing import RowSums, Sources, row_sums
from ....gossip.grid import FloatVector

__all__ = ["fast_row_sums"]


def _fast() -> Callable[[Sources], RowSums]:
    try:
        import torch
    except ImportError:
        return row_sums

    def by_torch(sources: Sources) -> RowSums:
        """As ``block_mixing.row_sums``: it adds in the order given, beginning with 0."""
        rows, each = sources.shape
        flat = torch.from_numpy(sources.reshape(-1))
        begins = torch.arange(0, rows * each, each)

        def sums(block: FloatVector) -> FloatVector:
            # torch.nn.functional makes the same call, after checks as long as the sums
            total = torch.embedding_bag(torch.from_numpy(block), flat, begins, mode=0)[0]
            found: FloatVector = total.numpy()
            return found

        return sums

    return by_torch


fast_row_sums = _fast()
