"""How fast a model trains: images per second, and what share of the machine's peak its step reaches."""

import itertools
import math
import statistics
import time
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcxr.benchmarks.flop_count import count_flops, peak_flops_per_second
from tfcxr.benchmarks.measurement import WARM_UP, Measurement, MeasurementArguments
from tfcxr.models.model_config import AdversarialConfig
from tfcxr.training.loop import train
from tfcxr.training.run_folder import make_model
from tfcxr.training.step_logs import require_finite
from tfcxr.training.strategy import make_strategy

LAZY_PENALTIES = ("r1", "path_length", "penalty")  # each with a setting `<name>_interval`
MINIMUM_PIECES = 5  # timed pieces, however long one is


def measure_training(arguments: MeasurementArguments) -> dict[str, Any]:
    """Times the training loop itself on one random batch in memory.

    Lazy penalties make steps differ, so a timed piece is as many steps as their intervals' least common multiple.
    Images per second count the real images that the discriminator sees.

    Returns:
      images_per_second and milliseconds_per_step (medians), flops_per_step, peak_flops_per_second and mfu.
    """
    run = arguments.run()
    strategy = make_strategy(list(arguments.devices))
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
    warm_up = WARM_UP + -WARM_UP % interval
    pieces = max(MINIMUM_PIECES, math.ceil(arguments.repeats / interval))
    clock = _StepClock(warm_up, interval)
    train(model, tf.data.Dataset.from_tensors(batch).repeat(), 0, warm_up + pieces * interval, [clock], strategy)
    seconds = statistics.median(after - before for before, after in itertools.pairwise(clock.times)) / interval
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


def describe_training(figures: dict[str, Any]) -> str:
    """The details of the table's line."""
    unknown = ", ".join(figures["operations_of_unknown_shape"])
    return (
        f"batch {figures['batch_size']}, {figures['precision']}, {figures['milliseconds_per_step']:.1f} ms per step, "
        f"{figures['flops_per_step'] / 1e9:.1f} GFLOP per step, MFU {figures['mfu']:.2f} "
        f"of {figures['peak_flops_per_second'] / 1e9:.0f} GFLOP/s" + (f" (not counted: {unknown})" if unknown else "")
    )


def random_batch(config: AdversarialConfig, batch_size: int, image_size: int = 0) -> dict[str, tf.Tensor]:
    """One batch as the pipeline gives it, of uniform noise; `image_size` 0 is the configuration's."""
    random = np.random.default_rng(0)
    size, labels = image_size or config.image_size, config.label_count
    positive = random.integers(max(labels, 1), size=batch_size)
    is_exclusive = config.is_single_label and labels
    label = np.eye(labels)[positive] if is_exclusive else random.integers(2, size=(batch_size, labels))
    return {
        "image": tf.constant(random.uniform(-1, 1, [batch_size, size, size, 1]), tf.float32),
        "label": tf.constant(label, tf.float32),
        "label_mask": tf.ones([batch_size, labels]),
    }


class _StepClock(keras.callbacks.Callback):
    """The times at which the warm-up and each `interval` of steps behind it ended."""

    def __init__(self, warm_up: int, interval: int) -> None:
        super().__init__()
        self._warm_up, self._interval = warm_up, interval
        self.times: list[float] = []

    def on_train_batch_end(self, step: int, logs: Mapping[str, float]) -> None:
        if step >= self._warm_up and step % self._interval == 0:
            require_finite(logs)  # waits for the device
            self.times.append(time.perf_counter())


TRAIN = Measurement(measure_training, describe_training)
