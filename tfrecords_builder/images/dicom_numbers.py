"""Words of pixels -> the numbers that a DICOM file stores in them: which of their bits, and with a sign or without.

The header says so (BitsStored, HighBit, PixelRepresentation), and is followed unless the picture contradicts it. A
number read with too few bits, or with the wrong sign, wraps around: beside a bright pixel stands a black one, all along
a contour. So where two readings differ, the pairs of neighbours that are half the range apart are counted in both.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Reading(NamedTuple):
    """How a word is read.

    Attributes:
      bits: of the number.
      high_bit: where its highest bit stands in the word.
      is_signed: whether it is a two's complement.
    """

    bits: int
    high_bit: int
    is_signed: bool

    @property
    def lowest(self) -> int:
        """The lowest number that there can be."""
        return -(2 ** (self.bits - 1)) if self.is_signed else 0

    @property
    def highest(self) -> int:
        """The highest number that there can be."""
        return self.lowest + 2**self.bits - 1

    def numbers(self, words: np.ndarray) -> np.ndarray:
        """Unsigned words -> numbers, int32 of the same shape."""
        numbers = (words.astype(np.int32) >> (self.high_bit + 1 - self.bits)) & (2**self.bits - 1)
        return np.where(numbers > self.highest, numbers - 2**self.bits, numbers) if self.is_signed else numbers


def occurring(words: np.ndarray) -> np.ndarray:
    """The words that a picture has, each once and in order, int64 [number of different words]."""
    occurs = np.zeros(2 ** (8 * words.itemsize), bool)
    occurs[words.ravel()] = True
    return np.flatnonzero(occurs)


def choose_reading(words: np.ndarray, found: np.ndarray, readings: Sequence[Reading]) -> Reading:
    """The first reading, which is the declared one, unless another shows less than half of its jumps.

    Args:
      words: uint8 or uint16 [height, width].
      found: see `occurring`.
    """
    declared, *others = readings
    for other in others:
        if np.array_equal(declared.numbers(found), other.numbers(found)):
            continue
        half = 2 ** (min(declared.bits, other.bits) - 1)
        if 2 * _jumps(words, other, half) < _jumps(words, declared, half):
            return other
    return declared


def aligned(found: np.ndarray, declared: Reading) -> Reading:
    """The declared reading, or that of the low bits where nothing stands in the high ones that it declares."""
    shift = declared.high_bit + 1 - declared.bits
    if shift and (found < 2**declared.bits).all() and (found & (2**shift - 1)).any():
        return declared._replace(high_bit=declared.bits - 1)
    return declared


def _jumps(words: np.ndarray, reading: Reading, half: int) -> int:
    """How many pairs of neighbours in a row are more than half the range apart."""
    return int((np.abs(np.diff(reading.numbers(words), axis=1)) > half).sum())
