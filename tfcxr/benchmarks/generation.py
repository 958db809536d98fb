"""How fast an exported model generates or enlarges images."""

import contextlib
import pathlib
import statistics
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from tfcxr.benchmarks.measurement import WARM_UP, Measurement, MeasurementArguments
from tfcxr.serving.loaded_model import LoadedModel
from tfcxr.serving.saved_model import export_model
from tfcxr.training.run_folder import make_model


def measure_generation(arguments: MeasurementArguments) -> dict[str, Any]:
    """Times requests of `generate_batch_size` images and of single ones: of `saved_model`, or of an untrained export.

    The labels of a request are one class after the other, so that as many images as classes are one of each; the gate
    of a cascade searches for each image.

    Returns:
      images_per_second, milliseconds_per_batch and milliseconds_per_single_image (medians), batch_size and
      timed_requests; for super-resolution also from_pixels and to_pixels.
    """
    with exported_model(arguments) as path:
        return _measure(LoadedModel(path), arguments.generate_batch_size, arguments.repeats)


@contextlib.contextmanager
def exported_model(arguments: MeasurementArguments) -> Iterator[str | pathlib.Path]:
    """The folder of `saved_model`, or of an untrained export that is there for a while."""
    if arguments.saved_model is not None:
        yield arguments.saved_model
        return
    with tempfile.TemporaryDirectory() as folder:
        run = arguments.run()
        yield export_model(make_model(run), run, pathlib.Path(folder) / run.model, {"step": 0})


def describe_generation(figures: dict[str, Any]) -> str:
    """The details of the table's line."""
    sizes = f", {figures['from_pixels']} to {figures['to_pixels']} px" if "from_pixels" in figures else ""
    return f"batch {figures['batch_size']}, a single image {figures['milliseconds_per_single_image']:.1f} ms{sizes}"


def _measure(model: LoadedModel, batch_size: int, repeats: int) -> dict[str, Any]:
    description = model.description
    figures: dict[str, Any] = {"batch_size": batch_size, "timed_requests": repeats}
    if description.kind == "super_resolution":
        size = description.image_size // description.scale
        shape = [batch_size, size, size, description.channels]
        images = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
        figures |= {"from_pixels": size, "to_pixels": description.image_size}

        def request(rows: int, index: int) -> None:
            model.super_resolve(images[:rows])

    else:
        classes = len(description.label_names)

        def request(rows: int, index: int) -> None:
            seeds = np.arange(index * rows, (index + 1) * rows)
            model.generate(seeds, np.eye(max(classes, 1), classes, dtype=np.float32)[seeds % max(classes, 1)])

    for name, rows in (("milliseconds_per_batch", batch_size), ("milliseconds_per_single_image", 1)):
        seconds = []
        for index in range(WARM_UP + repeats):
            start = time.perf_counter()
            request(rows, index)
            seconds.append(time.perf_counter() - start)
        figures[name] = 1000 * statistics.median(seconds[WARM_UP:])
    return {"images_per_second": 1000 * batch_size / figures["milliseconds_per_batch"]} | figures


GENERATE = Measurement(measure_generation, describe_generation)
