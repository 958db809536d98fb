"""A split's images in memory, decoded: what training reads with --cache."""

import os
import pathlib
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfcxr.data.decoded_record import decode_record
from tfcxr.data.record_reader import RecordReader
from tfcxr.data.schema import DatasetInfo

_SPARE_BYTES = 1 << 30  # that the training itself needs at least
_BLOCK = 256


class RecordCache:
    """Decoded images and the facts beside them, read once, when the first batch is asked for.

    Args:
      reader: of the records.
      info: of the data set.
      images: how many the reader has.
      facts: which of "label", "view", "sex" and "age" are kept beside the images.

    Raises:
      ValueError: the pixels need more memory than is available.
    """

    def __init__(self, reader: RecordReader, info: DatasetInfo, images: int, facts: Sequence[str]) -> None:
        self._reader, self._info, self._images, self._facts = reader, info, images, tuple(facts)
        self._lock = threading.Lock()
        self._columns: dict[str, np.ndarray] | None = None
        needed, available = images * info.image_size**2 * info.bits // 8, available_memory()
        if available is not None and needed + _SPARE_BYTES > available:
            raise ValueError(
                f"--cache needs {needed / 2**30:.1f} GiB for {images} images of {info.image_size} px and 1 GiB for the "
                f"training, but {available / 2**30:.1f} GiB are available; leave out --cache or build smaller images"
            )

    def batch(self, places: tf.Tensor, count: int) -> dict[str, tf.Tensor]:
        """What `parse_batch` gives of the `count` images at `places` of the reader, int64 [count]."""
        size, bits = self._info.image_size, self._info.bits
        kinds = {"image": tf.uint8 if bits == 8 else tf.uint16, "label": tf.float32, "age": tf.float32}
        shapes = {"image": [size, size, 1], "label": [len(self._info.label_names)]}
        names = ("image", *self._facts)

        def chosen(places: np.ndarray) -> list[np.ndarray]:
            columns = self._loaded()
            return [columns[name][places] for name in names]

        values = tf.numpy_function(chosen, [places], [kinds.get(name, tf.string) for name in names])
        return {
            name: tf.ensure_shape(value, [count, *shapes.get(name, [])])
            for name, value in zip(names, values, strict=True)
        }

    def _loaded(self) -> dict[str, np.ndarray]:
        with self._lock:
            if self._columns is None:
                self._columns = self._load()
            return self._columns

    def _load(self) -> dict[str, np.ndarray]:
        size = self._info.image_size
        images = np.empty([self._images, size, size, 1], np.uint8 if self._info.bits == 8 else np.uint16)

        def load(first: int) -> list[list[object]]:
            places = np.arange(first, min(first + _BLOCK, self._images))
            facts = []
            for place, example in zip(places, self._reader.read(places), strict=True):
                record = decode_record(example, self._info)
                images[place, ..., 0] = record.image
                facts.append([getattr(record, name) for name in self._facts])
            return facts

        facts: list[list[object]] = []
        bar = tqdm(total=self._images, desc="reading into memory", unit=" images", disable=None, delay=2, leave=False)
        with bar, ThreadPoolExecutor(os.cpu_count()) as pool:
            for block in pool.map(load, range(0, self._images, _BLOCK)):
                facts += block
                bar.update(len(block))
        columns = {"image": images}
        for name, values in zip(self._facts, zip(*facts, strict=True), strict=True):
            is_number = name in ("label", "age")
            columns[name] = np.array(values, np.float32) if is_number else np.char.encode(values).astype(object)
        return columns


def available_memory() -> int | None:
    """Bytes that a process can take without others being swapped out; None where the system does not say."""
    try:
        lines = pathlib.Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    (kib,) = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return int(kib) * 1024
