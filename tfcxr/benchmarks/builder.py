"""How many images per second the builder writes, beside the bare OpenCV calls that it cannot do without."""

import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import cv2
import numpy as np

from tfcxr.benchmarks.measurement import Measurement, MeasurementArguments
from tfrecords_builder.datasets.phantom import Phantom

RAW_SIZE, STORED_SIZE = 256, 128  # pixels
DRAWN = 32  # pictures that are drawn; the others are further names of their files
FEW, MANY = 2000, 20000  # the start of a build costs seconds whatever its size, so a rate is taken between two sizes
PER_SHARD = 1000


def measure_builder(arguments: MeasurementArguments, workers: int = 2) -> dict[str, Any]:
    """Builds grey JPEGs of 256 px into records of 128 px with CLAHE, and runs the bare calls on the same files.

    Rates are medians over `builder_repeats` rounds, in each of which every variant runs once, so that other work on the
    machine falls on all alike; ratios are medians of the rounds' ratios.

    Returns:
      images per second: "bare" of read, decode, CLAHE, resize and PNG in one thread; "one_worker" as the builder stores
      this size by default (raw), "one_worker_png", and "images_per_second" of `workers` workers (raw);
      "ratio_to_bare", "ratio_to_bare_png" of one worker, "ratio_to_one_worker" of all;
      "worker_memory_mib", the most that a worker held.
    """
    variants = {"one_worker": (1, "raw"), "one_worker_png": (1, "png"), "images_per_second": (workers, "raw")}
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        few, many = _write_raw(root / "few", FEW), _write_raw(root / "many", MANY)
        for number in range(arguments.builder_repeats):
            rates = {"bare": FEW / _bare_seconds(few)}
            for name, (count, encoding) in variants.items():
                times = []
                for raw_dir in (few, many):
                    out_dir = root / f"out-{number}-{name}-{raw_dir.name}"
                    times.append(_build_seconds(raw_dir, out_dir, count, encoding))
                    shutil.rmtree(out_dir)
                rates[name] = (MANY - FEW) / (times[1] - times[0])
            rounds.append(rates)
    median = lambda values: statistics.median(list(values))  # noqa: E731
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB on Linux
    return {
        **{name: median(rates[name] for rates in rounds) for name in ("bare", *variants)},
        "ratio_to_bare": median(rates["one_worker"] / rates["bare"] for rates in rounds),
        "ratio_to_bare_png": median(rates["one_worker_png"] / rates["bare"] for rates in rounds),
        "ratio_to_one_worker": median(rates["images_per_second"] / rates["one_worker"] for rates in rounds),
        "workers": workers,
        "worker_memory_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit / 2**20,
    }


def describe_builder(figures: dict[str, Any]) -> str:
    """The details of the table's line."""
    return (
        f"{figures['workers']} workers, {figures['ratio_to_one_worker']:.2f} of one worker "
        f"({figures['one_worker']:.1f}; as PNG {figures['one_worker_png']:.1f}); one worker is "
        f"{figures['ratio_to_bare']:.2f} (as PNG {figures['ratio_to_bare_png']:.2f}) of bare OpenCV calls "
        f"({figures['bare']:.1f}); a worker held {figures['worker_memory_mib']:.0f} MiB"
    )


def _write_raw(folder: pathlib.Path, count: int) -> pathlib.Path:
    """A folder of `count` JPEGs, `DRAWN` of them different."""
    (folder / "all").mkdir(parents=True)
    reader = Phantom(images=DRAWN, image_size=RAW_SIZE)
    for number, example in enumerate(reader.examples()):
        first = folder / "all" / f"{number:06d}.jpg"
        cv2.imwrite(str(first), reader.read_image(example).pixels, [cv2.IMWRITE_JPEG_QUALITY, 92])
        for copy in range(number + DRAWN, count, DRAWN):
            (folder / "all" / f"{copy:06d}.jpg").hardlink_to(first)
    return folder


def _bare_seconds(raw_dir: pathlib.Path) -> float:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    start = time.perf_counter()
    for path in sorted((raw_dir / "all").iterdir()):
        image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE)
        assert image is not None  # this benchmark wrote it
        image = cv2.createCLAHE(2.0, (8, 8)).apply(image)
        image = cv2.resize(image, (STORED_SIZE, STORED_SIZE), interpolation=cv2.INTER_AREA)
        cv2.imencode(".png", image)
    seconds = time.perf_counter() - start
    cv2.setNumThreads(threads)
    return seconds


def _build_seconds(raw_dir: pathlib.Path, out_dir: pathlib.Path, workers: int, encoding: str) -> float:
    """Runs the builder's command, as its users do."""
    command = [sys.executable, "-m", "tfrecords_builder", "--dataset=image_folder", f"--raw_dir={raw_dir}"]
    command += [
        f"--out_dir={out_dir}",
        f"--image_sizes={STORED_SIZE}",
        "--clahe=before_resize",
        f"--encoding={encoding}",
    ]
    command += ["--splits=train=1", "--split_by=hash", f"--workers={workers}", f"--shard_images={PER_SHARD}"]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ChildProcessError(f"the builder failed: {done.stderr[-500:]}")
    return time.perf_counter() - start


BUILDER = Measurement(measure_builder, describe_builder)
