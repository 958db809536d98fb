"""How many images per second the builder writes and merges, beside Beam and bare OpenCV calls."""

import importlib.util
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
from tqdm import tqdm

from tfcxr.benchmarks.measurement import Measurement, MeasurementArguments
from tfcxr.data.records import read_dataset_info
from tfrecords_builder.datasets.phantom import Phantom

RAW_SIZE, STORED_SIZE = 256, 128  # pixels
DRAWN = 32  # pictures that are drawn; the others are further names of their files
FEW, MANY = 2000, 20000  # the start of a build costs seconds whatever its size, so a rate is taken between two sizes
PER_SHARD = 1000


def measure_builder(arguments: MeasurementArguments, workers: int = 2) -> dict[str, Any]:
    """Builds grey JPEGs of 256 px into records of 128 px with CLAHE, merges them, and runs the bare calls on the files.

    Rates are medians over `builder_repeats` rounds, in each of which every variant runs once, so that other work on the
    machine falls on all alike; ratios are medians of the rounds' ratios.

    Returns:
      images per second: "bare" of read, decode, CLAHE, resize and PNG in one thread; "one_worker" as the builder stores
      this size by default (raw), "one_worker_png", and "images_per_second" of `workers` workers (raw); "beam" of Beam's
      DirectRunner with as many processes, where Beam is installed; "merge_one_worker" and "merge" of `workers` workers.
      "ratio_to_bare", "ratio_to_bare_png" of one worker, "ratio_to_one_worker" of all, "beam_ratio" of Beam to as many
      workers, "merge_ratio" of all workers to one.
      "worker_memory_mib", the most that a process of the builder held, Beam's left out.

    Raises:
      ChildProcessError: a command failed, or wrote other bytes than one worker.
    """
    builds = {"one_worker": (1, "raw", "local"), "one_worker_png": (1, "png", "local")}
    builds["images_per_second"] = (workers, "raw", "local")
    merges = {"merge_one_worker": 1, "merge": workers}
    beam = {"beam": (workers, "raw", "beam")} if importlib.util.find_spec("apache_beam") else {}
    rounds: list[dict[str, float]] = []
    memory_mib = 0.0
    steps = arguments.builder_repeats * (1 + 2 * len(builds | beam) + 2 * len(merges))
    with tempfile.TemporaryDirectory() as folder, tqdm(total=steps, desc="builder", unit="runs", disable=None) as bar:
        root = pathlib.Path(folder)
        few, many, other = (
            _write_raw(root / name, count) for name, count in (("few", FEW), ("many", MANY), ("other", FEW))
        )
        _build_seconds(other, root / "out-other", 1, "raw", "local")
        for _ in range(arguments.builder_repeats):
            rates = {"bare": FEW / _bare_seconds(few)}
            bar.update()
            for name, variant in builds.items():
                rates[name] = _build_rate(root, few, many, bar, *variant)
            for name, count in merges.items():
                rates[name] = _merge_rate(root, count, bar)
            if not rounds:
                memory_mib = _children_memory_mib()
            for name, variant in beam.items():
                rates[name] = _build_rate(root, few, many, bar, *variant)
            rounds.append(rates)
    ratio = lambda over, under: statistics.median(rates[over] / rates[under] for rates in rounds)  # noqa: E731
    return {
        **{name: statistics.median(rates[name] for rates in rounds) for name in rounds[0]},
        "ratio_to_bare": ratio("one_worker", "bare"),
        "ratio_to_bare_png": ratio("one_worker_png", "bare"),
        "ratio_to_one_worker": ratio("images_per_second", "one_worker"),
        **({"beam_ratio": ratio("beam", "images_per_second")} if beam else {}),
        "merge_ratio": ratio("merge", "merge_one_worker"),
        "workers": workers,
        "worker_memory_mib": memory_mib,
    }


def describe_builder(figures: dict[str, Any]) -> str:
    """The details of the table's line."""
    beam = f"Beam {figures['beam_ratio']:.2f} of that ({figures['beam']:.1f}); " if "beam" in figures else ""
    return (
        f"{figures['workers']} workers, {figures['ratio_to_one_worker']:.2f} of one worker "
        f"({figures['one_worker']:.1f}; as PNG {figures['one_worker_png']:.1f}); {beam}one worker is "
        f"{figures['ratio_to_bare']:.2f} (as PNG {figures['ratio_to_bare_png']:.2f}) of bare OpenCV calls "
        f"({figures['bare']:.1f}); merge {figures['merge']:.1f}, {figures['merge_ratio']:.2f} of one worker "
        f"({figures['merge_one_worker']:.1f}); a process held at most {figures['worker_memory_mib']:.0f} MiB"
    )


def _write_raw(folder: pathlib.Path, count: int) -> pathlib.Path:
    """A folder of `count` JPEGs, `DRAWN` of them different, whose names no other folder has."""
    (folder / "all").mkdir(parents=True)
    reader = Phantom(images=DRAWN, image_size=RAW_SIZE)
    for number, example in enumerate(reader.examples()):
        first = folder / "all" / f"{folder.name}-{number:06d}.jpg"
        cv2.imwrite(str(first), reader.read_image(example).pixels, [cv2.IMWRITE_JPEG_QUALITY, 92])
        for copy in range(number + DRAWN, count, DRAWN):
            (folder / "all" / f"{folder.name}-{copy:06d}.jpg").hardlink_to(first)
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


def _build_rate(
    root: pathlib.Path, few: pathlib.Path, many: pathlib.Path, bar: tqdm, workers: int, encoding: str, runner: str
) -> float:
    """Images per second between two sizes; what was built stays in `out-few` and `out-many`, the same bytes each time.

    Raises:
      ChildProcessError: the builder failed, or wrote other bytes than before.
    """
    seconds = []
    for raw_dir in (few, many):
        out_dir, earlier = root / f"new-{raw_dir.name}", root / f"out-{raw_dir.name}"
        seconds.append(_build_seconds(raw_dir, out_dir, workers, encoding, runner))
        _keep_if_equal(out_dir / str(STORED_SIZE), earlier if encoding == "raw" else root / f"png-{raw_dir.name}")
        shutil.rmtree(out_dir)
        bar.update()
    return (MANY - FEW) / (seconds[1] - seconds[0])


def _merge_rate(root: pathlib.Path, workers: int, bar: tqdm) -> float:
    """Images per second of a merge between two sizes; raises as `_build_rate` does."""
    seconds = []
    for name in ("few", "many"):
        out_dir = root / f"merged-new-{name}"
        command = ["merge", str(root / "out-other" / str(STORED_SIZE)), str(root / f"out-{name}")]
        command += [f"--out_dir={out_dir}", f"--workers={workers}", f"--shard_images={PER_SHARD}"]
        seconds.append(_seconds(command))
        _keep_if_equal(out_dir, root / f"merged-{name}")
        shutil.rmtree(out_dir, ignore_errors=True)
        bar.update()
    return (MANY - FEW) / (seconds[1] - seconds[0])


def _keep_if_equal(new: pathlib.Path, earlier: pathlib.Path) -> None:
    """Moves a data folder to where an earlier run's is expected; the same shards must be there already if any are."""
    if not earlier.exists():
        new.rename(earlier)
    elif read_dataset_info(new).shards_sha256 != read_dataset_info(earlier).shards_sha256:
        raise ChildProcessError(f"{new} holds other records than {earlier}, expected the same bytes")


def _build_seconds(raw_dir: pathlib.Path, out_dir: pathlib.Path, workers: int, encoding: str, runner: str) -> float:
    words = ["--dataset=image_folder", f"--raw_dir={raw_dir}", f"--out_dir={out_dir}", f"--image_sizes={STORED_SIZE}"]
    words += ["--clahe=before_resize", f"--encoding={encoding}", "--splits=train=1", "--split_by=hash"]
    words += [f"--runner={runner}", f"--workers={workers}", f"--shard_images={PER_SHARD}"]
    return _seconds(words)


def _seconds(words: list[str]) -> float:
    """Runs the builder's command, as its users do."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "tfrecords_builder", *words], capture_output=True, text=True)
    if done.returncode:
        raise ChildProcessError(f"the builder failed: {done.stderr[-500:]}")
    return time.perf_counter() - start


def _children_memory_mib() -> float:
    """The most that a process held that this one, or one of those, started and waited for."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB on Linux
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit / 2**20


BUILDER = Measurement(measure_builder, describe_builder)
