"""Images a second in training, reading and generation."""

import itertools
import math
import os
import pathlib
import statistics
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcxr.config import to_plain
from tfcxr.data.pipeline import training_batches
from tfcxr.data.records import shard_name, write_dataset_info, write_shard
from tfcxr.data.schema import DatasetInfo, Record, SplitInfo, default_encoding, encode_record
from tfcxr.models.model_config import GANConfig
from tfcxr.training.flop_count import count_flops, peak_flops_per_second
from tfcxr.training.loop import train
from tfcxr.training.run_folder import RunConfig, make_model
from tfcxr.training.strategy import make_strategy

LAZY_PENALTIES = ("r1", "path_length")  # each with a setting `<name>_interval`
MINIMUM_PIECES = 5  # timed pieces, however long one is
WARM_UP = 3  # steps, batches or draws that are not timed
NOISE_IMAGES = 4096
NOISE_SHARDS = 4


def benchmark_run(model: str, config: GANConfig, batch_size: int) -> RunConfig:
    """A run of made-up labels that is never trained."""
    label_names = tuple(f"label_{index}" for index in range(config.label_count))
    data = {"name": "random numbers", "split": "train", "notice": "Untrained: a benchmark's model."}
    return RunConfig(model, to_plain(config), label_names, seed=0, batch_size=batch_size, steps=0, data=data)


def measure_training(run: RunConfig, repeats: int = 15, devices: list[str] | None = None) -> dict[str, Any]:
    """Times the training loop itself on one random batch in memory.

    Lazy penalties make steps differ, so a timed piece is as many steps as their intervals' least common multiple.
    Images a second count the real images that the critic sees.

    Returns:
      images_per_second and milliseconds_per_step (medians), flops_per_step, peak_flops_per_second and mfu.
    """
    strategy = make_strategy(devices)
    with strategy.scope():
        model = make_model(run)
    intervals = {name: run.settings.get(f"{name}_interval", 1) for name in LAZY_PENALTIES}
    interval = math.lcm(*intervals.values())
    images = run.batch_size * model.config.batches_per_step
    batch = random_batch(model.config, images)
    step = tf.function(model.train_step, autograph=False).get_concrete_function(batch)
    flops, unknown = count_flops(step, {name: 1 / steps for name, steps in intervals.items()})
    dtype = "bfloat16" if model.config.precision == "mixed_bfloat16" else "float32"
    peak = peak_flops_per_second(dtype)
    clock = _StepClock()
    warm_up = WARM_UP + -WARM_UP % interval
    pieces = max(MINIMUM_PIECES, math.ceil(repeats / interval))
    train(model, tf.data.Dataset.from_tensors(batch).repeat(), 0, warm_up + pieces * interval, [clock], strategy)
    times = clock.times[warm_up - 1 :: interval]
    seconds = statistics.median(after - before for before, after in itertools.pairwise(times)) / interval
    peak = max(peak, peak_flops_per_second(dtype))
    return {
        "images_per_second": images / seconds,
        "milliseconds_per_step": 1000 * seconds,
        "timed_steps": pieces * interval,
        "batch_size": run.batch_size,
        "precision": model.config.precision,
        "flops_per_step": flops,
        "operations_of_unknown_shape": unknown,
        "peak_flops_per_second": peak,
        "mfu": flops / seconds / peak,
    }


def measure_pipeline(data_dir: str | os.PathLike, split: str, batch_size: int, seconds: float) -> dict[str, Any]:
    """Reads training batches for so many seconds."""
    batches = iter(training_batches(data_dir, split, batch_size, seed=0))
    for _ in range(WARM_UP):
        next(batches)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        next(batches)
        count += 1
    rate = count * batch_size / (time.perf_counter() - start)
    return {"images_per_second": rate, "batch_size": batch_size, "timed_batches": count}


def random_batch(config: GANConfig, batch_size: int, image_size: int = 0) -> dict[str, tf.Tensor]:
    """One batch as the pipeline gives it, of uniform noise; `image_size` 0 is the configuration's."""
    random = np.random.default_rng(0)
    size, labels = image_size or config.image_size, config.label_count
    drawn = random.integers(max(labels, 1), size=batch_size)
    label = (
        np.eye(labels)[drawn] if config.is_single_label and labels else random.integers(2, size=(batch_size, labels))
    )
    return {
        "image": tf.constant(random.uniform(-1, 1, [batch_size, size, size, 1]), tf.float32),
        "label": tf.constant(label, tf.float32),
        "label_mask": tf.ones([batch_size, labels]),
    }


def write_noise_records(folder: str | os.PathLike, config: GANConfig) -> pathlib.Path:
    """Writes a data folder of noise images, stored as the builder stores that size."""
    random, size = np.random.default_rng(0), config.image_size
    names = tuple(f"label_{index}" for index in range(config.label_count))
    encoding, of_shard = default_encoding(size), NOISE_IMAGES // NOISE_SHARDS
    shards = []
    for shard in range(NOISE_SHARDS):
        examples = (
            encode_record(
                Record(random.integers(256, size=(size, size), dtype=np.uint8), key, (0.0,) * len(names), key), encoding
            )
            for key in (f"{shard}-{index}" for index in range(of_shard))
        )
        shards.append(write_shard(pathlib.Path(folder) / shard_name("train", shard, NOISE_SHARDS), examples))
    labels = {name: {"positive": 0, "negative": NOISE_IMAGES, "unknown": 0} for name in names}
    info = DatasetInfo(
        name="noise",
        label_names=names,
        is_single_label=False,
        image_size=size,
        bits=8,
        encoding=encoding,
        splits={"train": SplitInfo(NOISE_IMAGES, NOISE_IMAGES, labels, tuple(shards))},
        images_read=NOISE_IMAGES,
        images_written=NOISE_IMAGES,
        rejected={},
        preprocessing={},
        source={},
        is_synthetic=True,
        notice="Noise, not radiographs.",
    )
    write_dataset_info(folder, info)
    return pathlib.Path(folder)


class _StepClock(keras.callbacks.Callback):
    """The time at which each step ended."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.times.append(time.perf_counter())
