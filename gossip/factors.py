"""A grid vector as a row of matrices, each the exact product of two factors of few-bit integers.

Every matrix of a *layout* is sum_r 2^s_r u_r v_r^T, with levels from -7 to 7 in u_r and v_r and a
power of two for each r. What no factors pay for is a matrix of one column, which v holds the 1 of.
All factors of a vector lie in one row of integers: for each matrix its exponents s (rank,), then u
(rank, rows), then v (rank, columns).

The product is taken in float64 and yet is exact, in whatever order a machine adds it up: it is a
sum of at most 64 integers below 2^37.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np

from .grid import LARGEST, SMALLEST, GridOverflow, GridVector

LEVELS = 7
MOST_RANK = 64
MOST_SHIFT = 31
MOST_MATRICES = 4096
_TILE = 2**13  # values of a product that are made at once


class Matrix(NamedTuple):
    """Where a matrix (rows, columns) stands in a vector: behind the one before it."""

    rows: int
    columns: int
    rank: int

    @property
    def values(self) -> int:
        """How many coordinates of the vector it is."""
        return self.rows * self.columns

    @property
    def numbers(self) -> int:
        """How many integers its factors are."""
        return self.rank * (1 + self.rows + self.columns)


Layout: TypeAlias = tuple[Matrix, ...]


@lru_cache(maxsize=16)
def layout_of(shapes: Sequence[tuple[int, ...]], rank: int) -> Layout:
    """How a model whose parameters have these ``shapes`` is cut into matrices.

    A parameter of two or more axes is a matrix whose rows its first axis counts, as in PowerSGD
    (Vogels, Karimireddy, Jaggi 2019), if its factors are at most half as many numbers as it has;
    what lies between such matrices is one column.
    """
    layout: list[Matrix] = []
    for shape in shapes:
        values = math.prod(shape)
        if not values:
            continue
        rows = shape[0] if len(shape) > 1 else values
        columns = values // rows
        if 2 * rank * (rows + columns) <= values:
            layout.append(Matrix(rows, columns, rank))
        elif layout and layout[-1].columns == 1:
            layout[-1] = Matrix(layout[-1].rows + values, 1, 1)
        else:
            layout.append(Matrix(values, 1, 1))
    return tuple(layout)


def numbers_of(layout: Layout) -> int:
    """How many integers the factors of a vector are, F."""
    return sum(matrix.numbers for matrix in layout)


def values_of(layout: Layout) -> int:
    """How many coordinates a vector has, P."""
    return sum(matrix.values for matrix in layout)


class Factors(NamedTuple):
    """Views of a matrix's integers: (..., rank), (..., rank, rows), (..., rank, columns)."""

    exponents: GridVector
    left: GridVector
    right: GridVector


def factors_of(numbers: GridVector, layout: Layout) -> Iterator[Factors]:
    """The factors of each matrix, as views of ``numbers`` (..., F)."""
    at = 0
    for matrix in layout:
        left = at + matrix.rank
        right = left + matrix.rank * matrix.rows
        end = at + matrix.numbers
        shape = (*numbers.shape[:-1], matrix.rank)
        yield Factors(
            numbers[..., at:left],
            numbers[..., left:right].reshape(*shape, matrix.rows),
            numbers[..., right:end].reshape(*shape, matrix.columns),
        )
        at = end


def matrices_of(v: GridVector, layout: Layout) -> Iterator[GridVector]:
    """The matrices (..., rows, columns), as views of ``v`` (..., P)."""
    at = 0
    for matrix in layout:
        part = v[..., at : at + matrix.values]
        yield part.reshape(*v.shape[:-1], matrix.rows, matrix.columns)
        at += matrix.values


def product(numbers: GridVector, layout: Layout) -> GridVector:
    """The vectors (..., P) that the factors ``numbers`` (..., F) stand for.

    Takes a fixed amount of scratch memory for each vector. Raises GridOverflow when a coordinate
    does not fit int32.
    """
    v: GridVector = np.empty((*numbers.shape[:-1], values_of(layout)), dtype=np.int32)
    for matrix, factors, out in zip(
        layout, factors_of(numbers, layout), matrices_of(v, layout), strict=True
    ):
        wide = min(matrix.columns, _TILE)
        high = _TILE // wide
        for top in range(0, matrix.rows, high):
            rows = slice(top, top + high)
            levels = factors.left[..., rows].astype(np.float64)
            left = np.ldexp(levels, factors.exponents[..., None]).swapaxes(-1, -2)
            for start in range(0, matrix.columns, wide):
                columns = slice(start, start + wide)
                exact = left @ factors.right[..., columns].astype(np.float64)
                if exact.min(initial=0) < SMALLEST or exact.max(initial=0) > LARGEST:
                    raise GridOverflow("a product of factors leaves the grid's int32 range")
                out[..., rows, columns] = exact
    return v
