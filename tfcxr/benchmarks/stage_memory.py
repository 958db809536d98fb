"""Time and memory of one training step at each size of a model that grows, and which batch fits a GPU.

    python -m tfcxr.benchmark --measure=stages --model=pggan --set=image_size=1024 --batches=1,2,3

Memory is what TensorFlow's allocator holds for tensors: the model's variables with the optimizers' and the averages,
the batch, and the most that a step needs on top. Each size is measured in a process of its own that runs one operation
at a time, as a GPU does; a CPU that runs several at once holds up to a third more. The program itself comes on top
(`process_mib` is the whole process). The first two batches give memory = fixed + batch * slope, further ones check it.
"""

import dataclasses
import functools
import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tensorflow as tf
from tqdm import tqdm

from tfcxr.benchmarks.measurement import Measurement, MeasurementArguments, in_own_process, process_memory_mib
from tfcxr.benchmarks.training_step import random_batch
from tfcxr.models.base import GAN, AdversarialModel
from tfcxr.training.run_folder import make_model

CARDS = (8, 16, 24, 40, 80)  # GiB
FREE_SHARE = 0.1  # of a card, left for what is not a tensor
GENERATED_BATCHES = (1, 8)
GENERATED_REPEATS = 3
LARGEST_SHOWN = 9999
CARDS_HEADER = "".join(f"{card:>4} GiB" for card in CARDS)
STEP_LINE = "{size:>5}{batch:>7}{milliseconds:>13.1f}{images_per_second:>10.2f}{memory_mib:>8.0f}{process_mib:>13.0f}"
FIT_LINE = "{size:>5}{fixed_mib:>11.0f}{mib_per_image:>15.2f}{steepest_mib_per_image:>9.2f}" + 18 * " "
MIB = 2**20


def measure_stages(arguments: MeasurementArguments) -> dict[str, Any]:
    """Measures each size while its block fades in, which needs most, and then the whole generator alone.

    Returns:
      "sizes": for each its pixels, the measured batches and what `fit` gives;
      "generator": a row for each of `GENERATED_BATCHES`.

    Raises:
      ValueError: a model of one size, a size that it does not have, or fewer than two batches.
      ChildProcessError: a size could not be measured, for want of memory.
    """
    model, sizes = arguments.model, _numbers("sizes", arguments.sizes)
    batches = sorted(set(_numbers("batches", arguments.batches)))
    found = sorted({stage.image_size for stage in arguments.config().stages(1)})
    if len(found) == 1:
        raise ValueError(f"{model} does not grow, it has {found[0]} px alone; measure it by --measure=train")
    if unknown := [size for size in sizes if size not in found]:
        raise ValueError(f"there is no stage of {unknown[0]} px; {model} has {', '.join(map(str, found))} px")
    if len(batches) < 2 or batches[0] < 1:
        raise ValueError(f"--batches expects two or more different numbers from 1, got {', '.join(map(str, batches))}")
    measured, of = [], f"with batches of {', '.join(map(str, batches))}"
    with tqdm(total=len(sizes or found) + 1, unit="size", desc="measuring") as bar:
        for size in sizes or found:
            rows = in_own_process(f"{size} px {of}", measure_size, arguments, size, batches, arguments.steps_per_size)
            measured.append({"size": size, "batches": rows} | fit(rows))
            bar.update()
        generated = in_own_process("the generator", measure_size, arguments, 0, GENERATED_BATCHES, GENERATED_REPEATS)
        bar.update()
    return {"sizes": measured, "generator": generated, "image_size": found[-1], "free_share": FREE_SHARE}


def fit(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The line through the first two batches' memory, and the largest batch that is safe on each card.

    Each trace orders operations that do not wait for each other in its own way, so memory scatters. The largest batch
    therefore counts with `steepest_mib_per_image`, the most that any measured batch needs beyond the fixed part.

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
        "mib_per_image": slope,
        "steepest_mib_per_image": steepest,
        "largest_batch": largest,
    }


def measure_size(
    arguments: MeasurementArguments, size: int, batches: Sequence[int], steps: int
) -> list[dict[str, Any]]:
    """In a fresh process: each batch's step at a size, or with size 0 the generator's images at full size.

    Raises:
      ValueError: TensorFlow counts no memory here.
    """
    tf.config.threading.set_inter_op_parallelism_threads(1)
    rows = []
    program = process_memory_mib()
    model = make_model(arguments.run())
    variables = _bytes(variable.value for variable in model.checkpoint_variables().values())
    for batch in batches:
        call, data = (_training_call if size else _generation_call)(model, size, batch)
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


def describe_stages(figures: dict[str, Any]) -> str:
    """Tables of the steps and of the fits to their memory, and lines about the generator."""
    lines = ["   px  batch  ms per step  images/s     MiB  process MiB  MiB by the fit"]
    for part in figures["sizes"]:
        for row in part["batches"]:
            predicted = f"{row['predicted_mib']:>16.0f}" if "predicted_mib" in row else ""
            lines.append(STEP_LINE.format(size=part["size"], **row) + predicted)
    lines.append("\n   px  fixed MiB  MiB per image  at most  largest batch on" + CARDS_HEADER)
    for part in figures["sizes"]:
        lines.append(
            FIT_LINE.format_map(part) + "".join(f"{_short(batch):>8}" for batch in part["largest_batch"].values())
        )
    lines.append(
        "by a fit of what was measured on this machine, counting with 'at most' and "
        f"{figures['free_share']:.0%} of the card left free; a GPU's allocator and workspaces differ"
    )
    lines += [
        f"generator, {figures['image_size']} px, batch {row['batch']}: {row['milliseconds']:.1f} ms, "
        f"{row['images_per_second']:.2f} images/s, {row['memory_mib'] - row['variables_mib']:.0f} MiB beside "
        f"the model's {row['variables_mib']:.0f}"
        for row in figures["generator"]
    ]
    return "\n".join(lines)


def _numbers(name: str, values: Sequence[str]) -> list[int]:
    if wrong := [value for value in values if not value.strip().isdigit()]:
        raise ValueError(f"--{name} expects whole numbers with commas between, got {wrong[0]!r}")
    return [int(value) for value in values]


def _short(batch: int | None) -> str:
    return f"> {LARGEST_SHOWN}" if batch is None or batch > LARGEST_SHOWN else str(batch)


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


def _generation_call(model: GAN, size: int, batch: int) -> tuple[Callable[[], None], list[tf.Tensor]]:
    z, label = tf.ones([batch, model.config.latent_size]), tf.zeros([batch, model.config.label_count])
    generate = tf.function(functools.partial(model.generate_from_latent), autograph=False)
    return lambda: generate(z, label).numpy(), [z, label]


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


STAGES = Measurement(measure_stages, describe_stages)
