"""Measures training, reading, generation and the building of records on this machine, as a table and as JSON.

    python -m tfcxr.benchmark --what=train,pipeline,generate --model=acgan --image_size=64 --batch_size=16
    python -m tfcxr.benchmark --what=train --model=all --image_size=64 --batch_size=16
    python -m tfcxr.benchmark --what=builder,pipeline --image_size=256 --batch_size=64
    python -m tfcxr.benchmark --what=stages --model=pggan --image_size=1024 --sizes=512,1024 --batches=1,2,3

With --model=all each model is measured in a process of its own, so that its memory is its own too; --set must fit all.
Medians on a machine that does other work at the same time say little: its load is printed beside them. MFU is the
share of this machine's peak, measured in the same run and precision, that the convolutions and matrix products of a
training step reach.
"""

import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
from typing import Any

import keras
import tensorflow as tf
from absl import flags
from tqdm import tqdm

import tfcxr
from tfcxr import command_line
from tfcxr.benchmarks.builder import measure_builder
from tfcxr.config import make_config, parse_settings, to_plain
from tfcxr.data.atomic import write_atomically
from tfcxr.data.pipeline import find_data_dir
from tfcxr.models import MODELS
from tfcxr.serving.loaded_model import LoadedModel
from tfcxr.serving.saved_model import export_model
from tfcxr.serving.throughput import measure_enhancing, measure_generation
from tfcxr.training import stage_memory, throughput
from tfcxr.training.run_folder import make_model, model_class

MEASUREMENTS = ("train", "pipeline", "generate", "builder", "stages")
ALL_MODELS = "all"
DEFAULT = MEASUREMENTS[:3]  # the builder, whose workers each start a Python of their own, takes minutes

FLAGS = flags.FLAGS
flags.DEFINE_list("what", list(DEFAULT), f"What to measure: {', '.join(MEASUREMENTS)}.")
flags.DEFINE_string("model", "acgan", f"Name of the model, or {ALL_MODELS}.")
flags.DEFINE_integer("image_size", 64, "Pixels.")
flags.DEFINE_integer("batch_size", 16, "Images a training step, and a batch of the pipeline.", lower_bound=1)
flags.DEFINE_integer("draw_batch_size", 64, "Images drawn at once.", lower_bound=1)
flags.DEFINE_integer("repeats", 15, "How many steps and draws are timed.", lower_bound=10)
flags.DEFINE_integer("builder_repeats", 3, "How often the builder is timed.", lower_bound=1)
flags.DEFINE_float("pipeline_seconds", 3.0, "How long the pipeline is read.", lower_bound=0.1)
flags.DEFINE_multi_string("set", [], "Setting of the model, name=value; may be repeated.")
flags.DEFINE_string("data_dir", None, "Data folder to read; without it raw records of noise are made.")
flags.DEFINE_string("split", "train", "Split of --data_dir to read.")
flags.DEFINE_string("saved_model", None, "Exported model to draw from; without it --model is exported untrained.")
flags.DEFINE_list("sizes", [], "Pixels of the stages to measure; all of them by default.")
flags.DEFINE_list("batches", ["2", "4", "6"], "Images a step of each stage: two to fit its memory by, more to check.")
flags.DEFINE_integer("steps_each", 3, "How many steps of each stage are timed.", lower_bound=1)
flags.DEFINE_list("devices", [], "Devices to train on; all GPUs by default.")
flags.DEFINE_string("json", None, "File for the figures.")


def main(argv: list[str]) -> None:
    """Measures what --what names and prints a table."""
    if unknown := [name for name in FLAGS.what if name not in MEASUREMENTS]:
        raise ValueError(f"cannot measure {unknown[0]!r}; {command_line.nearest_name(unknown[0], MEASUREMENTS)}")
    if FLAGS.model == ALL_MODELS:
        _measure_all_models()
        return
    settings = {"image_size": FLAGS.image_size} | parse_settings(FLAGS.set)
    config = make_config(model_class(FLAGS.model).config_class, settings)
    run = throughput.benchmark_run(FLAGS.model, config, FLAGS.batch_size)
    report: dict[str, Any] = {"machine": describe_machine(), "settings": to_plain(config)}
    if "train" in FLAGS.what:
        report["train"] = throughput.measure_training(run, FLAGS.repeats, FLAGS.devices)
    if "pipeline" in FLAGS.what:
        with tempfile.TemporaryDirectory() as folder:
            data_dir = FLAGS.data_dir or throughput.write_noise_records(folder, config)
            data_dir = find_data_dir(data_dir, config.image_size)
            report["pipeline"] = throughput.measure_pipeline(
                data_dir, FLAGS.split, FLAGS.batch_size, FLAGS.pipeline_seconds
            )
    if "generate" in FLAGS.what:
        with tempfile.TemporaryDirectory() as folder:
            path = FLAGS.saved_model or export_model(
                make_model(run), run, pathlib.Path(folder) / run.model, {"step": 0}
            )
            model = LoadedModel(path)
            measure = measure_enhancing if model.description.kind == "super_resolution" else measure_generation
            report["generate"] = measure(model, FLAGS.draw_batch_size, FLAGS.repeats)
    if "builder" in FLAGS.what:
        report["builder"] = measure_builder(repeats=FLAGS.builder_repeats)
    if "stages" in FLAGS.what:
        sizes, batches = (_numbers(name) for name in ("sizes", "batches"))
        report["stages"] = stage_memory.measure_stages(run, sizes, batches, FLAGS.steps_each)
    report["machine"]["load_at_end"] = os.getloadavg()[0]
    report["machine"]["peak_memory_mib"] = stage_memory.process_memory_mib()
    if FLAGS.json:
        write_atomically(FLAGS.json, json.dumps(report, indent=2) + "\n")
    print(table(report))


def _measure_all_models() -> None:
    """Runs this command once a model, prints one line for each and writes all figures to --json.

    Raises:
      SystemExit: a model could not be measured; what it said stands on the terminal.
    """
    reports = {}
    flags_of_all = [flag for flag in sys.argv[1:] if not flag.lstrip("-").startswith(("model=", "json="))]
    for name in tqdm(MODELS, unit="model", desc="measuring"):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "report.json"
            command = [sys.executable, "-m", "tfcxr.benchmark", *flags_of_all, f"--model={name}", f"--json={path}"]
            done = subprocess.run(command, stdout=subprocess.DEVNULL)
            if done.returncode:
                raise SystemExit(f"error: {name} could not be measured, see above")
            reports[name] = json.loads(path.read_text(encoding="utf-8"))
    if FLAGS.json:
        write_atomically(FLAGS.json, json.dumps(reports, indent=2) + "\n")
    for name, report in reports.items():
        print(f"{name}\n{table(report)}\n")


def describe_machine() -> dict[str, Any]:
    """What figures depend on beside the code."""
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


def _numbers(name: str) -> list[int]:
    values = FLAGS[name].value
    if wrong := [value for value in values if not value.strip().isdigit()]:
        raise ValueError(f"--{name} expects whole numbers with commas between, got {wrong[0]!r}")
    return [int(value) for value in values]


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    machine = report["machine"]
    lines = [f"{'measured':<12}{'images/s':>10}  details"]
    for name in MEASUREMENTS[:-1]:
        if name not in report:
            continue
        figures = report[name]
        details = f"batch {figures['batch_size']}" if "batch_size" in figures else ""
        if name == "train":
            details += (
                f", {figures['precision']}, {figures['milliseconds_per_step']:.1f} ms a step, "
                f"{figures['flops_per_step'] / 1e9:.1f} GFLOP a step, MFU {figures['mfu']:.2f} "
                f"of {figures['peak_flops_per_second'] / 1e9:.0f} GFLOP/s"
            )
            if figures["operations_of_unknown_shape"]:
                details += f" (not counted: {', '.join(figures['operations_of_unknown_shape'])})"
        if name == "generate":
            details += f", a single image {figures['milliseconds_per_single_image']:.1f} ms"
            if "from_pixels" in figures:
                details += f", {figures['from_pixels']} to {figures['to_pixels']} px"
        if name == "builder":
            details = (
                f"{figures['workers']} workers, {figures['ratio_to_one_worker']:.2f} of one worker "
                f"({figures['one_worker']:.1f}; as PNG {figures['one_worker_png']:.1f}); one worker is "
                f"{figures['ratio_to_bare']:.2f} (as PNG {figures['ratio_to_bare_png']:.2f}) of bare OpenCV calls "
                f"({figures['bare']:.1f}); a worker held {figures['worker_memory_mib']:.0f} MiB"
            )
        lines.append(f"{name:<12}{figures['images_per_second']:>10.1f}  {details}")
    if "stages" in report:
        lines = (lines if len(lines) > 1 else []) + [stage_memory.table(report["stages"])]
    lines.append(
        f"peak memory {machine['peak_memory_mib']:.0f} MiB; {machine['cpus']} CPUs, "
        f"load {machine['load_at_start']:.1f} at the start and {machine['load_at_end']:.1f} at the end"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    command_line.run_main(main)
