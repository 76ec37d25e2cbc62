"""How fast the nodes of a graph agree, by linear algebra on its mixing matrices, dense and exact.

After the rounds 1..t the models are W_t ... W_1 x. What is not yet agreed upon of them is as large as
x times the spectral norm of (I - 11^T/n) W_t ... W_1, or less; where all W are doubly stochastic that
is ||W_t ... W_1 - 11^T/n||.
"""

from __future__ import annotations

import numpy as np

from .graphs.links import FloatArray

AGREED = 1e-10
EXACT = 1e-14


def spectral_gap(W: FloatArray) -> float:
    """1 minus the second largest modulus of the eigenvalues of a stochastic W (N, N).

    The larger, the faster the nodes agree; 1 for one node, 0 for a graph in pieces.
    """
    if len(W) == 1:
        return 1.0
    symmetric = np.array_equal(W, W.T)
    eigenvalues = np.linalg.eigvalsh(W) if symmetric else np.linalg.eigvals(W)
    return float(1.0 - np.sort(np.abs(eigenvalues))[-2])


def disagreement(M: FloatArray) -> float:
    """The spectral norm of (I - 11^T/n) M, M (N, N): how much is not agreed upon after M."""
    return float(np.linalg.norm(M - M.mean(axis=0), ord=2))
