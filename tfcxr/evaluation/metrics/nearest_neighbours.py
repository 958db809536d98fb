"""Nearest neighbours between sets of features, by Euclidean distance, a block in memory at a time."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

BLOCK_VALUES = 2**24  # of a block of distances, float32


class Nearest(NamedTuple):
    """The nearest row of another set.

    Attributes:
      distance: float64 [rows].
      index: int64 [rows], which row of the other set.
    """

    distance: np.ndarray
    index: np.ndarray


def nearest(rows: np.ndarray, others: np.ndarray) -> Nearest:
    """The nearest of `others` [others, features] for each of `rows` [rows, features]."""
    index = np.empty(len(rows), np.int64)
    for block, squares in squared_distances(rows, others):
        index[block] = squares.argmin(axis=1)
    difference = (
        rows.astype(np.float64) - others[index]
    )  # the block's squares are rounded, copies are not quite 0 there
    return Nearest(np.sqrt(np.square(difference).sum(axis=1)), index)


def radii(rows: np.ndarray, *neighbours: int) -> np.ndarray:
    """Squared distances of each row to its first, third ... nearest other row: float32 [neighbours, rows]."""
    found = np.empty([len(neighbours), len(rows)], np.float32)
    for block, squares in squared_distances(rows, rows):
        # the row itself is the 0th
        found[:, block] = np.partition(squares, neighbours, axis=1)[:, neighbours].T
    return found


def squared_distances(rows: np.ndarray, others: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yields (slice of rows, their squared distances to all `others`, float32 [block, others]), in order."""
    centre = others.mean(axis=0, dtype=np.float64)
    rows, others = ((side - centre).astype(np.float32) for side in (rows, others))
    squares_of_others = np.square(others).sum(axis=1)
    size = max(1, BLOCK_VALUES // len(others))
    for start in range(0, len(rows), size):
        block = slice(start, min(start + size, len(rows)))
        part = rows[block]
        squares = np.square(part).sum(axis=1)[:, None] + squares_of_others - 2.0 * (part @ others.T)
        yield block, np.maximum(squares, 0.0)
