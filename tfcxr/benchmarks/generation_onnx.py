"""How fast an exported generator is beside ONNX Runtime: the same network, batch and threads, by turns.

    python -m tfcxr.benchmark --measure=onnx --model=acgan --image_size=64 --threads=2

It needs the extra `onnx`. Both turn float32 z and labels into float32 images, which are compared number by number
first. ONNX Runtime gets the bare network and the whole batch at once; the export computes in the chunks that make a
picture the same in any batch. Beside other work the ratio of processor times says more than that of seconds.
"""

import dataclasses
import importlib
import os
import pathlib
import tempfile
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf

from tfcxr.benchmarks.measurement import WARM_UP, Measurement, MeasurementArguments
from tfcxr.models.base import AdversarialModel
from tfcxr.precision import graphs_in, has_bfloat16
from tfcxr.serving.loaded_model import LoadedModel
from tfcxr.serving.saved_model import export_model
from tfcxr.training.run_folder import make_model, model_class

OPSET = 18
LARGEST_DIFFERENCE = 1e-3  # as a share of the largest value; a network that was converted wrongly is off by far more
RESAMPLES = 2000
OURS, THEIRS, BFLOAT16 = "images_per_second", "images_per_second_onnx", "images_per_second_bfloat16"


def measure_onnx(arguments: MeasurementArguments) -> dict[str, Any]:
    """Times requests of `generate_batch_size` images to an untrained export of `model` and to ONNX Runtime, by turns.

    Returns:
      images_per_second of the export in float32, images_per_second_onnx, and images_per_second_bfloat16 of the export
      where the processor has it (medians); ratio, the median over rounds of the export's speed over ONNX Runtime's,
      ratio_interval, its 95 % interval by the bootstrap, and processor_ratio, the same of processor time;
      ratio_bfloat16; largest_difference of the images, as a share of the largest value; rounds, batch_size, threads,
      and the version of onnxruntime.

    Raises:
      ImportError: the extra `onnx` is not installed.
      ValueError: --saved_model, a model that generates no images from z, or a network that was converted wrongly.
    """
    if arguments.saved_model is not None:
        raise ValueError("--measure=onnx converts --model, untrained; leave --saved_model out, weights change no speed")
    run = dataclasses.replace(arguments, settings=(*arguments.settings, "precision=float32")).run()
    if model_class(run.model).kind != "generator":
        raise ValueError(f"--measure=onnx compares models that generate images from z; {run.model} enlarges images")
    onnxruntime, converter = _import("onnxruntime"), _import("tf2onnx.convert")
    model, rows = make_model(run), arguments.generate_batch_size
    width = model.config.label_width
    inputs = {
        "z": np.random.default_rng(0).standard_normal([rows, model.config.latent_size]).astype(np.float32),
        "label": np.eye(max(width, 1), width, dtype=np.float32)[np.arange(rows) % max(width, 1)],
    }
    threads = _threads()
    with tempfile.TemporaryDirectory() as folder:
        saved = export_model(model, run, pathlib.Path(folder) / "model", {"step": 0})
        export = LoadedModel(saved)
        path = pathlib.Path(folder) / "model.onnx"
        _convert(converter, model, path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        feed = {found.name: inputs[found.name.partition(":")[0]] for found in session.get_inputs()}
        candidates: dict[str, Callable[[], np.ndarray]] = {
            OURS: lambda: export.call("generate_from_latent", **inputs)["image"],
            THEIRS: lambda: session.run(None, feed)[0],
        }
        images = candidates[OURS]()
        difference = float(np.abs(images - candidates[THEIRS]()).max() / np.abs(images).max())
        if not difference < LARGEST_DIFFERENCE:
            raise ValueError(
                f"ONNX Runtime makes other images of {run.model}: they differ by up to {difference:.2g} of the largest "
                f"value, expected less than {LARGEST_DIFFERENCE:g}; tf2onnx converted the network wrongly"
            )
        if has_bfloat16():
            with graphs_in("bfloat16"):
                lower = LoadedModel(saved)
                candidates[BFLOAT16] = lambda: lower.call("generate_from_latent", **inputs)["image"]
                candidates[BFLOAT16]()
        times = time_by_turns(candidates, arguments.repeats)
    figures: dict[str, Any] = {name: float(rows / np.median(of_rounds[:, 0])) for name, of_rounds in times.items()}
    ratios = {name: times[THEIRS] / of_rounds for name, of_rounds in times.items()}
    ratio, processor_ratio = np.median(ratios[OURS], axis=0).tolist()
    figures |= {"ratio": ratio, "ratio_interval": interval(ratios[OURS][:, 0]), "processor_ratio": processor_ratio}
    if BFLOAT16 in ratios:
        figures["ratio_bfloat16"] = float(np.median(ratios[BFLOAT16][:, 0]))
    facts = {"batch_size": rows, "threads": threads, "onnxruntime": onnxruntime.__version__}
    return figures | {"largest_difference": difference, "rounds": arguments.repeats} | facts


def describe_onnx(figures: dict[str, Any]) -> str:
    """The details of the table's line."""
    low, high = figures["ratio_interval"]
    lower = ""
    if BFLOAT16 in figures:
        lower = f"; in bfloat16 {figures[BFLOAT16]:.1f}, {figures['ratio_bfloat16']:.2f} times"
    return (
        f"batch {figures['batch_size']}, {figures['threads']} threads; ONNX Runtime {figures['onnxruntime']} "
        f"{figures[THEIRS]:.1f}: {figures['ratio']:.2f} ({low:.2f}-{high:.2f}) times, by processor time "
        f"{figures['processor_ratio']:.2f}{lower}; images differ by at most {figures['largest_difference']:.1g}"
    )


def time_by_turns(candidates: dict[str, Callable[[], Any]], rounds: int) -> dict[str, np.ndarray]:
    """Seconds and seconds of processor time of each candidate, float64 [rounds, 2]; who comes first alternates."""
    for candidate in candidates.values():
        for _ in range(WARM_UP):
            candidate()
    times = {name: np.zeros([rounds, 2]) for name in candidates}
    for index in range(rounds):
        for name in list(candidates)[:: 1 if index % 2 else -1]:
            start = time.perf_counter(), time.process_time()
            candidates[name]()
            times[name][index] = np.subtract((time.perf_counter(), time.process_time()), start)
    return times


def interval(values: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of the median, by the percentile bootstrap (Efron 1979)."""
    drawn = np.random.default_rng(0).choice(values, [RESAMPLES, len(values)])
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return float(low), float(high)


def _convert(converter: ModuleType, model: AdversarialModel, path: pathlib.Path) -> None:
    """Writes the network alone, of any number of rows."""
    specs = [
        tf.TensorSpec([None, model.config.latent_size], tf.float32, "z"),
        tf.TensorSpec([None, model.config.label_width], tf.float32, "label"),
    ]
    network = tf.function(lambda z, label: model.generate_from_latent(z, label), specs, autograph=False)
    converter.from_function(network, input_signature=specs, opset=OPSET, output_path=str(path))


def _threads() -> int:
    """What --threads or the environment bounds TensorFlow to, or all cores."""
    given = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    return int(given) if given.isdecimal() and int(given) else os.cpu_count() or 1


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"--measure=onnx needs {name.partition('.')[0]} ({error}); install the extra: pip install 'tfcxr[onnx]'"
        ) from error


ONNX = Measurement(measure_onnx, describe_onnx)
