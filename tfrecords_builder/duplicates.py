"""Images that occur more than once: the same content, found by hash, and nearly the same picture, by perceptual hash.

The perceptual hash is that of Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010,
section 3.2.2, with 256 bits: the signs of the 16x16 lowest frequencies of a 32x32 reduction. Measured on 2,234
radiographs (experiments/README.md): JPEG at quality 60, half the size, brighter, or another gamma changes at most 18
bits, local contrast (CLAHE) up to 37; the nearest two different patients differ by 48.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np
from tqdm import tqdm

from tfrecords_builder.datasets.reader import Notice, RawExample

NEAR_BITS = 24  # of 256; at most this many differ between near duplicates
MAX_NEAR_IMAGES = 400_000  # every pair is compared, which takes minutes here and hours at ten times as many
HASH_BYTES = 32
CONTENT_BYTES = 16
_REDUCED, _FREQUENCIES = 32, 16
_COSINES = np.cos(np.pi / _REDUCED * np.outer(np.arange(_FREQUENCIES), np.arange(_REDUCED) + 0.5)).astype(np.float32)
_BLOCK = 4096  # images compared with as many others at once, 64 MiB


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """Image `second` is a duplicate of `first`, both by position; `bits` of their perceptual hashes differ."""

    first: int
    second: int
    bits: int = 0


def duplicate_notices(
    examples: Sequence[RawExample], splits: Sequence[str], contents: np.ndarray, hashes: np.ndarray
) -> list[Notice]:
    """What to report of images that were written although another one is the same, or nearly so.

    Args:
      examples, splits: one per image.
      contents, hashes: uint8 [images, CONTENT_BYTES] and [images, HASH_BYTES].

    Returns:
      notices of the kinds "duplicate", "duplicate_across_splits", "duplicate_other_labels", "near_duplicate" and
      "near_duplicate_across_splits", each at the later of two images.
    """
    notices = []
    equal = content_pairs(contents)
    near = near_pairs(hashes, [pair.second for pair in equal]) if len(hashes) <= MAX_NEAR_IMAGES else ()
    for kind, pairs in (("duplicate", equal), ("near_duplicate", near)):
        for pair in pairs:
            first, second = examples[pair.first], examples[pair.second]
            is_across = splits[pair.first] != splits[pair.second]
            detail = f"of {first.key} in {splits[pair.first]}" + (f", {pair.bits} bits differ" if pair.bits else "")
            notices.append(Notice(second.key, f"{kind}_across_splits" if is_across else kind, detail))
            if kind == "duplicate" and repr(first.label) != repr(second.label):
                notices.append(Notice(second.key, "duplicate_other_labels", detail))
    return notices


def perceptual_hash(pixels: np.ndarray) -> bytes:
    """256 bits of a picture, uint8 or uint16 [height, width], that small changes leave nearly as they are."""
    if min(pixels.shape) >= 8 * _REDUCED:  # halving is the fastest reduction there is
        pixels = cv2.resize(pixels, (pixels.shape[1] // 2, pixels.shape[0] // 2), interpolation=cv2.INTER_AREA)
    reduced = cv2.resize(pixels, (_REDUCED, _REDUCED), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = _COSINES @ reduced @ _COSINES.T  # the low frequencies alone, five times faster than a whole transform
    return np.packbits(low > 0).tobytes()


def content_pairs(contents: np.ndarray) -> list[Pair]:
    """Each later image whose content equals an earlier one's, with the first of its kind.

    Sorted, not looked up in a dictionary, which takes ten times the memory.

    Args:
      contents: uint8 [images, CONTENT_BYTES], digests; zeros equal nothing.
    """
    words = contents.view("<u8")
    order = np.lexsort(words.T)  # equal ones stay in their order
    before, after = words[order[:-1]], words[order[1:]]
    is_equal = np.zeros(len(order), bool)  # to the one before
    is_equal[1:] = (before == after).all(axis=1) & after.any(axis=1)
    first_place = np.maximum.accumulate(np.where(is_equal, 0, np.arange(len(order))))
    pairs = np.stack([order[first_place[is_equal]], order[is_equal]], axis=1)
    return [Pair(first, second) for first, second in pairs[np.argsort(pairs[:, 1])].tolist()]


def near_pairs(hashes: np.ndarray, is_left_out: Iterable[int] = ()) -> Iterator[Pair]:
    """Each image whose perceptual hash is within `NEAR_BITS` of an earlier one's, with the nearest such image.

    Args:
      hashes: uint8 [images, HASH_BYTES].
      is_left_out: positions not looked at, such as those of content duplicates.
    """
    is_looked_at = np.ones(len(hashes), bool)
    is_looked_at[list(is_left_out)] = False
    positions = np.flatnonzero(is_looked_at)
    if len(positions) < 2:
        return
    packed = hashes[positions]
    signs = lambda rows: np.unpackbits(rows, axis=1).astype(np.float32) * 2 - 1  # noqa: E731
    starts = range(0, len(packed), _BLOCK)
    for start in tqdm(starts, desc="comparing pictures", unit=" blocks", disable=None if len(starts) > 1 else True):
        rows = signs(packed[start : start + _BLOCK])
        nearest, bits = np.zeros(len(rows), np.int64), np.full(len(rows), 8 * HASH_BYTES)
        for earlier in range(0, start + 1, _BLOCK):
            distance = (8 * HASH_BYTES - rows @ signs(packed[earlier : earlier + _BLOCK]).T) / 2
            if earlier == start:  # only with those before itself
                distance[np.triu_indices(len(rows))] = 8 * HASH_BYTES
            closest = distance.argmin(axis=1)
            closest_bits = distance[np.arange(len(rows)), closest].astype(np.int64)
            is_nearer = closest_bits < bits
            nearest[is_nearer], bits[is_nearer] = closest[is_nearer] + earlier, closest_bits[is_nearer]
        for row in np.flatnonzero(bits <= NEAR_BITS):
            yield Pair(int(positions[nearest[row]]), int(positions[start + row]), int(bits[row]))
