"""How fast training batches are read from records."""

import os
import pathlib
import tempfile
import time
from typing import Any

import numpy as np
import tensorflow as tf

from tfcxr.benchmarks.measurement import WARM_UP, Measurement, MeasurementArguments
from tfcxr.data.pipeline import find_data_dir, training_batches
from tfcxr.data.records import shard_name, write_dataset_info, write_shard
from tfcxr.data.schema import DatasetInfo, Record, SplitInfo, default_encoding, encode_record

NOISE_IMAGES = 4096
NOISE_SHARDS = 4


def measure_pipeline(arguments: MeasurementArguments) -> dict[str, Any]:
    """Reads training batches for `pipeline_seconds`, then as long from memory; of noise where there is no `data_dir`.

    Returns:
      images_per_second, cached_images_per_second as with --cache, and batch_size.
    """
    run = arguments.run()
    size = run.settings["image_size"]
    with tempfile.TemporaryDirectory() as folder:
        data_dir = arguments.data_dir or write_noise_records(folder, size, run.label_names)
        data_dir = find_data_dir(data_dir, size)
        splits, seconds = ",".join(arguments.splits), arguments.pipeline_seconds
        read, cached = (
            _rate(training_batches(data_dir, splits, run.batch_size, seed=0, cache=cache), run.batch_size, seconds)
            for cache in (False, True)
        )
    return {"images_per_second": read, "cached_images_per_second": cached, "batch_size": run.batch_size}


def _rate(dataset: tf.data.Dataset, batch_size: int, seconds: float) -> float:
    batches = iter(dataset)
    for _ in range(WARM_UP):
        next(batches)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        next(batches)
        count += 1
    return count * batch_size / (time.perf_counter() - start)


def write_noise_records(folder: str | os.PathLike, image_size: int, label_names: tuple[str, ...]) -> pathlib.Path:
    """Writes a data folder of noise images, encoded as the builder encodes images of that size."""
    random, encoding, folder = np.random.default_rng(0), default_encoding(image_size), pathlib.Path(folder)

    def example(key: str) -> bytes:
        pixels = random.integers(256, size=(image_size, image_size), dtype=np.uint8)
        return encode_record(Record(pixels, key, (0.0,) * len(label_names), key), encoding)

    shards = tuple(
        write_shard(
            folder / shard_name("train", shard, NOISE_SHARDS),
            (example(f"{shard}-{index}") for index in range(NOISE_IMAGES // NOISE_SHARDS)),
        )
        for shard in range(NOISE_SHARDS)
    )
    labels = {name: {"positive": 0, "negative": NOISE_IMAGES, "unknown": 0} for name in label_names}
    info = DatasetInfo(
        name="noise",
        label_names=label_names,
        is_single_label=False,
        image_size=image_size,
        bits=8,
        encoding=encoding,
        splits={"train": SplitInfo(NOISE_IMAGES, NOISE_IMAGES, labels, shards)},
        images_read=NOISE_IMAGES,
        images_written=NOISE_IMAGES,
        rejected={},
        preprocessing={},
        source={},
        is_synthetic=True,
        notice="Noise, not radiographs.",
    )
    write_dataset_info(folder, info)
    return folder


PIPELINE = Measurement(measure_pipeline, "batch {batch_size}; {cached_images_per_second:.0f} with --cache".format_map)
