"""How fast an extractor of the evaluation turns images into features."""

import dataclasses
import pathlib
import tempfile
import time
from typing import Any

import keras
import numpy as np

from tfcxr.backbones.frozen_network import PRECISIONS, FrozenNetwork, open_frozen_network
from tfcxr.benchmarks.measurement import WARM_UP, Measurement, MeasurementArguments
from tfcxr.precision import has_bfloat16

BATCHES = 4  # of one timed call


def measure_features(arguments: MeasurementArguments) -> dict[str, Any]:
    """Times images of `image_size` through `extractor`, or through an untrained Inception-v3 at its 299 px.

    Returns:
      images_per_second in float32; images_per_second_bfloat16 where the processor has it, and bfloat16_error, the
      largest difference as a share of the largest feature; batch_size, input_size and features.
    """
    size, batch = arguments.image_size, arguments.generate_batch_size
    images = np.random.default_rng(0).integers(256, size=[batch * BATCHES, size, size, 1], dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.extractor or _untrained_inception(pathlib.Path(folder))
        precisions = PRECISIONS if has_bfloat16() and ":precision=" not in path else PRECISIONS[:1]
        networks = {name: open_frozen_network(f"{path}:precision={name}") for name in precisions}
    pixels = (networks["float32"].passport["input_size"] or size) ** 2 * batch
    networks = {
        name: dataclasses.replace(network, batch_pixels=pixels, graphs={}) for name, network in networks.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    found = {}
    for _ in range(max(arguments.repeats // 5, 2)):  # interleaved: the machine's load is the same for both
        for name, network in networks.items():
            found[name], time_taken = _timed(network, images)
            seconds[name].append(time_taken)
    rate = {name: len(images) / min(times) for name, times in seconds.items()}
    figures = {"images_per_second": rate["float32"], "batch_size": batch, "features": found["float32"].shape[1]}
    figures["input_size"] = networks["float32"].passport["input_size"]
    if "bfloat16" in rate:
        error = np.abs(found["bfloat16"] - found["float32"]).max() / np.abs(found["float32"]).max()
        figures |= {"images_per_second_bfloat16": rate["bfloat16"], "bfloat16_error": float(error)}
    return figures


def describe_features(figures: dict[str, Any]) -> str:
    """The details of the table's line."""
    said = f"batch {figures['batch_size']}, {figures['input_size']} px, {figures['features']} features"
    if "images_per_second_bfloat16" not in figures:
        return said
    fast, error = figures["images_per_second_bfloat16"], figures["bfloat16_error"]
    return f"{said}; bfloat16 {fast:.1f} images/s, largest difference {error:.2%}"


def _untrained_inception(folder: pathlib.Path) -> str:
    path = folder / "untrained_inception_v3.keras"
    keras.applications.InceptionV3(weights=None, include_top=False, pooling="avg", input_shape=(299, 299, 3)).save(path)
    return str(path)


def _timed(network: FrozenNetwork, images: np.ndarray) -> tuple[np.ndarray, float]:
    network.features(images[:WARM_UP])
    start = time.perf_counter()
    features = network.features(images)
    return features, time.perf_counter() - start


FEATURES = Measurement(measure_features, describe_features)
