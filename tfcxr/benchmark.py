"""Measures training, reading, generation, serving, optimisation of latents and the building of records on this machine.

The figures come as a table and as JSON.

    python -m tfcxr.benchmark --measure=train,pipeline,generate --model=acgan --image_size=64 --batch_size=16
    python -m tfcxr.benchmark --measure=train --model=all --image_size=64 --batch_size=16
    python -m tfcxr.benchmark --measure=builder,pipeline --image_size=256 --batch_size=64
    python -m tfcxr.benchmark --measure=optimize --saved_model=saved_models/pggan --classifiers=saved_models/densenet
    python -m tfcxr.benchmark --measure=serve --saved_model=saved_models/acgan --clients=200 --seconds=300
    python -m tfcxr.benchmark --measure=onnx --model=acgan --image_size=64 --threads=2
    python -m tfcxr.benchmark --measure=stages --model=pggan --image_size=1024 --sizes=512,1024 --batches=1,2,3

    python -m tfcxr.benchmark --measure=train --model=all --json=now.json --against=then.json

With --model=all each model is measured in a process of its own, so that its memory is its own too; --set must fit all.
Medians on a machine that does other work at the same time say little: its load is printed beside them. MFU is the
share of this machine's peak, measured in the same run and precision, that the convolutions and matrix products of a
training step reach.
"""

import dataclasses
import json
import os
import platform
from typing import Any

from tqdm import tqdm

import tfcxr
from tfcxr import command_line
from tfcxr.benchmarks import MEASUREMENTS
from tfcxr.benchmarks.comparison import compare, read_report
from tfcxr.benchmarks.measurement import MeasurementArguments, in_own_process, process_memory_mib
from tfcxr.command_line import flag
from tfcxr.config import to_plain
from tfcxr.data.atomic import write_atomically
from tfcxr.models import MODELS
from tfcxr.registry import nearest_name
from tfcxr.startup import tensorflow_started

ALL_MODELS = "all"


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchmarkArguments(MeasurementArguments):
    """What is measured and where the figures go.

    Attributes:
      measure: What to measure; builder, stages and serve take minutes.
      model: Name of the model, the file of your own, or all.
      json: File for the figures.
      against: Earlier file of --json, to compare with; what became more than 10 % slower is said.
    """

    measure: tuple[str, ...] = flag(("train", "pipeline", "generate"), choices=MEASUREMENTS)
    model: str = "acgan"
    json: str | None = None
    against: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model not in (*MODELS, ALL_MODELS) and not self.model.endswith(".py"):
            raise ValueError(f"--model={self.model} is unknown; {nearest_name(self.model, (*MODELS, ALL_MODELS))}")


def benchmark(arguments: BenchmarkArguments) -> None:
    """Measures, prints a table and writes `json`.

    Raises:
      FileNotFoundError: no file `against`.
      ValueError: no such setting, or figures that do not compare with those of `against`.
      ChildProcessError: a measurement failed in a process of its own.
    """
    earlier = read_report(arguments.against) if arguments.against else None
    if arguments.model == ALL_MODELS:
        report = {}
        for name in tqdm(MODELS, unit="model", desc="measuring"):
            report[name] = in_own_process(name, measure_all, dataclasses.replace(arguments, model=name))
        text = "\n".join(f"{name}\n{table(of_model)}\n" for name, of_model in report.items())
    else:
        report = measure_all(arguments)
        text = table(report)
    if arguments.json:
        write_atomically(arguments.json, json.dumps(report, indent=2) + "\n")
    print(text)
    if earlier is not None:
        print(compare(report, earlier))


def measure_all(arguments: BenchmarkArguments) -> dict[str, Any]:
    """Facts of the machine, the model's settings, and the figures of each measurement that is asked for."""
    with tensorflow_started():
        machine = describe_machine()
        settings = to_plain(arguments.config())
    figures = {name: MEASUREMENTS[name].measure(arguments) for name in MEASUREMENTS if name in arguments.measure}
    machine |= {"load_at_end": os.getloadavg()[0], "peak_memory_mib": process_memory_mib()}
    sizes = {"batch_size": arguments.batch_size, "generate_batch_size": arguments.generate_batch_size}
    return {"machine": machine, "settings": settings, "sizes": sizes} | figures


def describe_machine() -> dict[str, Any]:
    """What figures depend on beside the code."""
    import keras
    import tensorflow as tf

    devices = [device.name.removeprefix("/device:") for device in tf.config.list_logical_devices()]
    return {
        "processor": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "devices": devices,
        "load_at_start": os.getloadavg()[0],
        "tfcxr": tfcxr.__version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }


def table(report: dict[str, Any]) -> str:
    """A report as text: a line for each rate, then what is a table of its own, then the machine."""
    machine, rates, blocks = report["machine"], [], []
    for name, measurement in MEASUREMENTS.items():
        figures = report.get(name, {})
        if "images_per_second" in figures:
            rates.append(f"{name:<12}{figures['images_per_second']:>10.1f}  {measurement.describe(figures)}")
        elif figures:
            blocks.append(measurement.describe(figures))
    header = [f"{'measured':<12}{'images/s':>10}  details"] if rates else []
    footer = (
        f"peak memory {machine['peak_memory_mib']:.0f} MiB; {machine['cpus']} CPUs, "
        f"load {machine['load_at_start']:.1f} at the start and {machine['load_at_end']:.1f} at the end"
    )
    return "\n".join([*header, *rates, *blocks, footer])


if __name__ == "__main__":
    command_line.run(benchmark)
