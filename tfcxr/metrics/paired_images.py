"""Reads images as a stream and compares them in pairs, a chunk at a time: the plumbing of `pairwise_similarity`."""

import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from tfcxr.metrics.structural_similarity import SimilarityMeasure

Images = np.ndarray | Iterable[np.ndarray]
"""[images, height, width, channels] of any real dtype; or batches of it, which are read once."""


def stream_images(images: Images, count: int, name: str) -> Iterator[np.ndarray]:
    """The first `count` images [height, width, channels], checked one by one; no batch is read that is not needed.

    Raises:
      ValueError: while it is read: count below 1, too few images, other shapes, or values that are not finite.
    """
    if count < 1:
        raise ValueError(f"the {name} set needs one image or more, got N = {count}")
    read, shape = 0, None
    for batch in [images] if isinstance(images, np.ndarray) else images:
        batch = np.asarray(batch)
        if batch.ndim != 4 or shape not in (None, batch.shape[1:]):
            wanted = "[N, H, W, C]" if shape is None else f"of shape {shape}"
            raise ValueError(f"expected images {wanted} as the {name} set, got an array of shape {batch.shape}")
        shape = batch.shape[1:]
        for image in batch[: count - read]:
            if not np.isfinite(image).all():
                raise ValueError(f"image {read} of the {name} set has values that are not finite")
            read += 1
            yield image
        if read == count:
            return
    raise ValueError(f"{count} images of the {name} set were asked for, but it holds {read}")


def hold_images(images: Images, count: int, name: str) -> np.ndarray:
    """The first `count` images in one array; raises what `stream_images` does."""
    return np.stack(list(stream_images(images, count, name)))


def compare_matched(
    first: Iterator[np.ndarray], second: Iterator[np.ndarray], measure: SimilarityMeasure
) -> np.ndarray:
    """Similarity of each image with the one at its place, of two streams of one length: float64 [images].

    Raises:
      ValueError: images of different shapes, or too small.
    """
    values = []
    for one, other in zip(_chunks(first, measure), _chunks(second, measure), strict=True):
        _check_alike(one, other)
        values.append(measure.compare(measure.prepare(one), measure.prepare(other)))
    return np.concatenate(values)


def compare_crossed(
    first: Iterator[np.ndarray], second: np.ndarray, measure: SimilarityMeasure, is_within: bool = False
) -> np.ndarray:
    """Similarity of every image of a stream with every one of an array, float64 [first, second].

    Args:
      is_within: both are the same images; then only pairs above the diagonal are compared, the rest is NaN.

    Raises:
      ValueError: images of different shapes, or too small.
    """
    blocks, done = [], 0
    for chunk in _chunks(first, measure):
        _check_alike(chunk, second)
        prepared, size = measure.prepare(chunk), len(chunk)
        block = np.full([size, len(second)], np.nan)
        for start in range(done if is_within else 0, len(second), size):
            others = measure.prepare(second[start : start + size])
            stop = start + len(others[0].values)
            for row in range(size):
                begin = max(start, done + row + 1) if is_within else start
                if begin < stop:
                    one = [level.rows(slice(row, row + 1)) for level in prepared]
                    rest = [level.rows(slice(begin - start, None)) for level in others]
                    block[row, begin:stop] = measure.compare(one, rest)
        blocks.append(block)
        done += size
    return np.concatenate(blocks)


def _chunks(images: Iterator[np.ndarray], measure: SimilarityMeasure) -> Iterator[np.ndarray]:
    for image in images:
        more = itertools.islice(images, measure.chunk_images(image.shape) - 1)
        yield np.stack([image, *more])


def _check_alike(first: np.ndarray, second: np.ndarray) -> None:
    if first.shape[1:] != second.shape[1:]:
        raise ValueError(f"expected sets of images of one shape, got {first.shape[1:]} and {second.shape[1:]}")
