"""Images of a data folder that are read when they are asked for: memory holds those in use, not the whole split.

    images = open_images("records/512", ["train"])  # reads no pixel
    images[np.array([5, 3])]                        # uint8 [2, 512, 512, 1]
    images.where(labels[:, 0] == 1)                 # those alone, still unread

It stands where an array of images would: `len`, `shape` and rows by position.
"""

import concurrent.futures
import functools
import itertools
import os
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from tfcxr.data.pipeline import from_pixels, to_pixels
from tfcxr.data.records import read_dataset_info, shard_paths, split_info
from tfcxr.data.schema import DatasetInfo, record_image
from tfcxr.data.tfrecord import CHECKSUM_BYTES, HEAD_BYTES, LENGTH_BYTES


class StoredImages:
    """Rows of images in shards, in the order of `places`.

    Attributes:
      shape: (images, size, size, 1). dtype: uint8; deeper images are reduced to 8 bits, so that no side of a comparison
        has finer greys.
    """

    ndim = 4
    dtype = np.dtype(np.uint8)

    def __init__(self, shards: Sequence[tuple[pathlib.Path, DatasetInfo]], places: np.ndarray) -> None:
        """`places`: int64 [images, 3], each image's shard, the first byte of its record and the record's bytes."""
        self._shards, self._places = tuple(shards), places

    @property
    def shape(self) -> tuple[int, int, int, int]:
        size = self._shards[0][1].image_size
        return len(self), size, size, 1

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, chosen: int | slice | np.ndarray) -> np.ndarray:
        """Reads images: uint8 [chosen, size, size, 1] of a slice, mask or positions; one, [size, size, 1], of an int.

        Raises:
          ValueError: a damaged record. OSError: a shard that cannot be read.
        """
        if isinstance(chosen, (int, np.integer)):
            return self[np.array([chosen])][0]
        places = self._places[chosen]
        pixels = np.empty([len(places), *self.shape[1:]], np.uint8)
        for number in np.unique(places[:, 0]):
            path, info = self._shards[number]
            with path.open("rb") as file:
                for row in np.flatnonzero(places[:, 0] == number):
                    file.seek(places[row, 1])
                    try:
                        image = record_image(file.read(places[row, 2]), info)
                    except ValueError as error:
                        raise ValueError(f"a record of {path} is damaged: {error}; build the data set again") from error
                    pixels[row, ..., 0] = image if image.dtype == np.uint8 else _eight_bit_greys()[image]
        return pixels

    def where(self, chosen: np.ndarray | slice) -> "StoredImages":
        """The images of a mask, slice or positions, unread."""
        return StoredImages(self._shards, self._places[chosen])


Images = np.ndarray | StoredImages


def open_images(data_dir: str | os.PathLike, splits: Sequence[str]) -> StoredImages:
    """All images of some splits in stored order; looks only where each record begins.

    Raises:
      FileNotFoundError: no data folder, or a shard is missing.
      ValueError: no such split, or a damaged shard.
    """
    info = read_dataset_info(data_dir)
    shards: list[tuple[pathlib.Path, DatasetInfo]] = []
    places: list[np.ndarray] = []
    for split in splits:
        paths = shard_paths(data_dir, info, split)
        for path, shard in zip(map(pathlib.Path, paths), split_info(info, split).shards, strict=True):
            found = _record_places(path)
            if len(found) != shard.images:
                raise ValueError(f"shard {path} is damaged: it holds {len(found)} images, not {shard.images}")
            places.append(np.insert(found, 0, len(shards), axis=1))
            shards.append((path, info))
    return StoredImages(shards, np.concatenate(places))


def join_images(parts: Sequence[StoredImages]) -> StoredImages:
    """The images of several sets, one set after the other."""
    shards: list[tuple[pathlib.Path, DatasetInfo]] = []
    places: list[np.ndarray] = []
    for part in parts:
        places.append(part._places + np.array([len(shards), 0, 0]))
        shards.extend(part._shards)
    return StoredImages(shards, np.concatenate(places))


def read_batches(images: np.ndarray | StoredImages, batch_size: int) -> Iterator[np.ndarray]:
    """All images in order, `batch_size` at a time; the next are read while the last ones are in use."""
    starts = iter(range(0, len(images), batch_size))
    with concurrent.futures.ThreadPoolExecutor(max_workers=1) as reader:
        read = lambda start: reader.submit(lambda: images[start : start + batch_size])  # noqa: E731
        coming = [read(start) for start in itertools.islice(starts, 2)]
        while coming:
            yield coming.pop(0).result()
            coming.extend(read(start) for start in itertools.islice(starts, 1))


def _record_places(path: pathlib.Path) -> np.ndarray:
    """int64 [records, 2]: the first byte of each record of a TFRecord file, and its bytes."""
    places, start, end = [], 0, path.stat().st_size
    with path.open("rb") as file:
        while start < end:
            file.seek(start)
            first, size = start + HEAD_BYTES, int.from_bytes(file.read(LENGTH_BYTES), "little")
            places.append((first, size))
            start = first + size + CHECKSUM_BYTES
    if start != end:
        raise ValueError(f"shard {path} is damaged: its last record is cut off; build the data set again")
    return np.array(places, np.int64).reshape(-1, 2)


@functools.cache
def _eight_bit_greys() -> np.ndarray:
    """uint8 [65536]: what each 16-bit grey is in 8 bits."""
    return to_pixels(from_pixels(tf.constant(np.arange(2**16).astype(np.uint16)))).numpy()
