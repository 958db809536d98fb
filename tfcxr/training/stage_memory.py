"""Time and memory of one training step at each size of a model that grows, and which batch fits a GPU.

    python -m tfcxr.benchmark --what=stages --model=pggan --set=image_size=1024 --batches=1,2,3

Memory is what TensorFlow's allocator holds for tensors: the model's variables with the optimizers' and the averages,
the batch, and the most that a step needs on top. Each size is measured in a process of its own that runs one operation
at a time, as a GPU does; a CPU that runs several at once holds up to a third more. The program itself comes on top
(`process_mib` is the whole process). The first two batches give memory = fixed + batch * slope, further ones check it.
"""

import dataclasses
import functools
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tensorflow as tf
from tqdm import tqdm

from tfcxr.config import make_config
from tfcxr.models.base import GAN, AdversarialModel
from tfcxr.training.run_folder import RunConfig, make_model, model_class
from tfcxr.training.throughput import random_batch

CARDS = (8, 16, 24, 40, 80)  # GiB
FREE_SHARE = 0.1  # of a card, left for what is not a tensor
DRAWN_BATCHES = (1, 8)
DRAWS = 3
LARGEST_SHOWN = 9999
MIB = 2**20


def measure_stages(
    run: RunConfig, sizes: Sequence[int] = (), batches: Sequence[int] = (2, 4, 6), steps_each: int = 3
) -> dict[str, Any]:
    """Measures each size while its block fades in, which needs most, and then the whole generator alone.

    Args:
      run: of a model that grows. sizes: pixels, all where empty. batches: at least two. steps_each: timed steps.

    Returns:
      "sizes": for each its pixels, measured batches, what `fit` gives;
      "generator": a line for each of `DRAWN_BATCHES`.

    Raises:
      ValueError: a model of one size, a size that it does not have, fewer than two batches, or no steps.
      ChildProcessError: a size could not be measured, for want of memory.
    """
    config = make_config(model_class(run.model).config_class, run.settings)
    found = sorted({stage.image_size for stage in config.stages(1)})
    if len(found) == 1:
        raise ValueError(f"{run.model} does not grow, it has {found[0]} px alone; measure it by --what=train")
    if unknown := [size for size in sizes if size not in found]:
        raise ValueError(f"there is no stage of {unknown[0]} px; {run.model} has {', '.join(map(str, found))} px")
    batches = sorted(set(batches))
    if len(batches) < 2 or batches[0] < 1 or steps_each < 1:
        raise ValueError(f"expected two or more different batches and at least one step, got {batches}, {steps_each}")
    measured = []
    with tqdm(total=len(sizes or found) + 1, unit="size", desc="measuring") as bar:
        for size in sizes or found:
            rows = _in_own_process(run, size, batches, steps_each)
            measured.append({"size": size, "batches": rows} | fit(rows))
            bar.update()
        drawn = _in_own_process(run, 0, DRAWN_BATCHES, DRAWS)
        bar.update()
    return {"sizes": measured, "generator": drawn, "image_size": found[-1], "free_share": FREE_SHARE}


def fit(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The line through the first two batches' memory, and the largest batch that is safe on each card.

    Each trace orders operations that do not wait for each other in its own way, so memory scatters. The largest batch
    therefore counts with `steepest_mib_an_image`, the most that any measured batch needs beyond the fixed part.

    Adds "predicted_mib" to each row after the second. A batch of 0: none fits; None: any, where memory did not grow.
    """
    first, second = rows[:2]
    slope = (second["memory_mib"] - first["memory_mib"]) / (second["batch"] - first["batch"])
    fixed = first["memory_mib"] - slope * first["batch"]
    for row in rows[2:]:
        row["predicted_mib"] = fixed + slope * row["batch"]
    held = max(fixed, first["variables_mib"])
    steepest = max(slope, *((row["memory_mib"] - held) / row["batch"] for row in rows))
    usable = {card: card * 1024 * (1 - FREE_SHARE) - held for card in CARDS}
    largest = {str(card): max(0, math.floor(mib / steepest)) if steepest > 0 else None for card, mib in usable.items()}
    return {
        "fixed_mib": fixed,
        "mib_an_image": slope,
        "steepest_mib_an_image": steepest,
        "largest_batch": largest,
    }


def measure_size(run: RunConfig, size: int, batches: Sequence[int], steps: int) -> list[dict[str, Any]]:
    """In this process: each batch's step at a size, or with size 0 the generator's images at full size.

    Raises:
      ValueError: TensorFlow counts no memory here.
    """
    rows = []
    program = process_memory_mib()
    model = make_model(run)
    variables = _bytes(variable.value for variable in model.checkpoint_variables().values())
    for batch in batches:
        call, data = (_training_call if size else _drawing_call)(model, size, batch)
        call()  # traces, and plans the kernels
        before = _tensor_memory()["current"]
        tf.config.experimental.reset_memory_stats(_device())
        seconds = []
        for _ in range(steps):
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
        # not what is held before the step: a weight that came from an array may share its memory and goes uncounted
        memory = variables + _bytes(data) + _tensor_memory()["peak"] - before
        rows.append(
            {
                "batch": batch,
                "milliseconds": 1000 * statistics.median(seconds),
                "images_per_second": batch / statistics.median(seconds),
                "memory_mib": memory / MIB,
                "variables_mib": variables / MIB,
                "process_mib": process_memory_mib(),
                "program_mib": program,
            }
        )
    return rows


def process_memory_mib() -> float:
    """The most memory that this process has held."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


def table(report: dict[str, Any]) -> str:
    """What `measure_stages` gave, for people."""
    lines = [f"{'px':>5}{'batch':>7}{'ms a step':>12}{'images/s':>10}{'MiB':>10}{'by the fit':>12}{'process MiB':>13}"]
    for part in report["sizes"]:
        for row in part["batches"]:
            predicted = f"{row['predicted_mib']:.0f}" if "predicted_mib" in row else ""
            lines.append(
                f"{part['size']:>5}{row['batch']:>7}{row['milliseconds']:>12.1f}{row['images_per_second']:>10.2f}"
                f"{row['memory_mib']:>10.0f}{predicted:>12}{row['process_mib']:>13.0f}"
            )
    lines.append(
        "\n   px  fixed MiB  MiB an image  at most  largest batch on" + "".join(f"{card:>6} GiB" for card in CARDS)
    )
    for part in report["sizes"]:
        fits = "".join(f"{_short(batch):>10}" for batch in part["largest_batch"].values())
        lines.append(
            f"{part['size']:>5}{part['fixed_mib']:>11.0f}{part['mib_an_image']:>14.2f}{part['steepest_mib_an_image']:>9.2f}{'':>18}{fits}"
        )
    lines.append(
        f"by a fit of what was measured on this machine, counting with 'at most' and {report['free_share']:.0%} of the "
        "card left free; a GPU's allocator and workspaces differ"
    )
    for row in report["generator"]:
        lines.append(
            f"generator, {report['image_size']} px, batch {row['batch']}: {row['milliseconds']:.1f} ms, "
            f"{row['images_per_second']:.2f} images/s, {row['memory_mib'] - row['variables_mib']:.0f} MiB beside "
            f"the model's {row['variables_mib']:.0f}"
        )
    return "\n".join(lines)


def _short(batch: int | None) -> str:
    return f"> {LARGEST_SHOWN}" if batch is None or batch > LARGEST_SHOWN else str(batch)


def _in_own_process(run: RunConfig, size: int, batches: Sequence[int], steps: int) -> list[dict[str, Any]]:
    request = {"run": dataclasses.asdict(run), "size": size, "batches": list(batches), "steps": steps}
    done = subprocess.run(
        [sys.executable, "-m", "tfcxr.training.stage_memory"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        env=os.environ | {"TF_NUM_INTEROP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    if done.returncode:
        what = f"{size} px" if size else "the generator"
        reason = (done.stderr.strip().splitlines() or [f"killed by signal {-done.returncode}, for want of memory?"])[-1]
        raise ChildProcessError(
            f"{what} could not be measured with batches of {', '.join(map(str, batches))}: {reason}"
        )
    return json.loads(done.stdout.splitlines()[-1])


def _training_call(model: AdversarialModel, size: int, batch: int) -> tuple[Callable[[], None], list[tf.Tensor]]:
    stages = [stage for stage in model.config.stages(batch) if stage.image_size == size]
    stage = next((stage for stage in stages if stage.is_fading), stages[0])
    model.begin_stage(dataclasses.replace(stage, batch_size=batch))
    data = random_batch(model.config, batch * model.config.batches_per_step, size)
    step = tf.function(functools.partial(model.train_step), autograph=False)  # else TensorFlow warns of a new trace

    def call() -> None:
        for value in step(data).values():
            value.numpy()

    return call, list(data.values())


def _drawing_call(model: GAN, size: int, batch: int) -> tuple[Callable[[], None], list[tf.Tensor]]:
    z, label = tf.ones([batch, model.config.latent_size]), tf.zeros([batch, model.config.label_count])
    draw = tf.function(functools.partial(model.generate_from_latent), autograph=False)
    return lambda: draw(z, label).numpy(), [z, label]


def _tensor_memory() -> dict[str, int]:
    """Bytes that tensors hold now ("current") and held at most since the last reset ("peak")."""
    try:
        return tf.config.experimental.get_memory_info(_device())
    except ValueError as error:
        raise ValueError(
            "TensorFlow counts a processor's memory only with oneDNN; unset TF_ENABLE_ONEDNN_OPTS, or use a GPU"
        ) from error


def _device() -> str:
    return "GPU:0" if tf.config.list_logical_devices("GPU") else "CPU:0"


def _bytes(tensors: Iterable[tf.Tensor | tf.Variable]) -> int:
    return sum(tensor.shape.num_elements() * tensor.dtype.size for tensor in tensors)


def _main() -> None:
    request = json.load(sys.stdin)
    run = RunConfig(**request.pop("run"))
    print(json.dumps(measure_size(run, **request)))


if __name__ == "__main__":
    _main()
