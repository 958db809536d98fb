"""Time and memory of one training step of any model, at each size of one that grows, and which batch fits a GPU.

    python -m tfcxr.benchmark --measure=stages --model=pggan --set=image_size=1024 --batches=1,2,3

Memory is what TensorFlow's allocator holds for tensors: the model's variables with the optimizers' and the averages,
the batch, and the most that a step needs on top, with every lazy penalty due. Each batch is measured in a process of
its own that runs one operation at a time, as a GPU does; a CPU that runs several at once holds up to a third more. The
program itself comes on top (`process_mib` is the most that the whole process held). The first two batches give
memory = fixed + batch * slope, further ones check it.
"""

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tensorflow as tf
from tqdm import tqdm

from tfcxr import registry
from tfcxr.benchmarks.measurement import Measurement, MeasurementArguments, in_own_process, process_memory_mib
from tfcxr.benchmarks.training_step import LAZY_PENALTIES, random_batch
from tfcxr.config import to_plain
from tfcxr.models import MODELS
from tfcxr.models.base import AdversarialModel
from tfcxr.models.model_config import AdversarialConfig
from tfcxr.training.run_folder import make_model

CARDS = (8, 16, 24, 40, 80)  # GiB
FREE_SHARE = 0.1  # of a card, left for what is not a tensor
GENERATED_BATCHES = (1, 8)
GENERATED_REPEATS = 3
LARGEST_SHOWN = 9999
CARDS_HEADER = "".join(f"{card:>4} GiB" for card in CARDS)
STEP_LINE = (
    "{size:>5}{batch:>7}{milliseconds:>13.1f}{milliseconds_with_penalties:>16.1f}{processor_milliseconds:>14.1f}"
    "{images_per_second:>10.2f}{memory_mib:>8.0f}{process_mib:>13.0f}"
)
FIT_LINE = "{size:>5}{fixed_mib:>11.0f}{mib_per_image:>15.2f}{steepest_mib_per_image:>9.2f}" + 18 * " "
MIB = 2**20
ONEDNN_SWITCH = "TF_ENABLE_ONEDNN_OPTS"


def measure_stages(arguments: MeasurementArguments) -> dict[str, Any]:
    """Measures each size, while its block fades in where there is one, which needs most; then the generator alone.

    Returns:
      "sizes": for each its pixels, the measured batches and what `fit` gives; one of a model that does not grow.
      "generator": a row for each of `GENERATED_BATCHES`; none of a model that enlarges images.

    Raises:
      ValueError: a size that the model does not have, or fewer than two batches.
      ChildProcessError: a batch could not be measured, for want of memory.
    """
    model, sizes = arguments.model, _numbers("sizes", arguments.sizes)
    batches = sorted(set(_numbers("batches", arguments.batches)))
    found = sorted({stage.image_size for stage in arguments.config().stages(1)})
    if unknown := [size for size in sizes if size not in found]:
        raise ValueError(f"there is no stage of {unknown[0]} px; {model} has {', '.join(map(str, found))} px")
    if len(batches) < 2 or batches[0] < 1:
        raise ValueError(f"--batches expects two or more different numbers from 1, got {', '.join(map(str, batches))}")
    _, model_class = registry.find(MODELS, model, "model")
    generated = GENERATED_BATCHES if model_class.kind == "generator" else ()
    measured = []
    with tqdm(total=len(sizes or found) * len(batches) + len(generated), unit="batch", desc="measuring") as bar:

        def measure(what: str, *of: Any) -> dict[str, Any]:
            row = in_own_process(what, *of)
            bar.update()
            return row

        for size in sizes or found:
            rows = [
                measure(f"a step at {size} px with a batch of {batch}", measure_step, arguments, size, batch)
                for batch in batches
            ]
            measured.append({"size": size, "batches": rows} | fit(rows))
        generator = [
            measure(f"the generator with a batch of {batch}", measure_generator, arguments, batch)
            for batch in generated
        ]
    return {"sizes": measured, "generator": generator, "image_size": found[-1], "free_share": FREE_SHARE}


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


def measure_step(arguments: MeasurementArguments, size: int, batch: int) -> dict[str, Any]:
    """In a fresh process: a training step at a size. See `_measure_calls`."""
    model, program = _fresh_model(arguments)
    stages = [stage for stage in model.config.stages(batch) if stage.image_size == size]
    stage = next((stage for stage in stages if stage.is_fading), stages[0])
    model.begin_stage(dataclasses.replace(stage, batch_size=batch))
    data = random_batch(model.config, batch * model.config.batches_per_step, size)
    step = tf.function(model.train_step, autograph=False)

    def call() -> None:
        for value in step(data).values():
            value.numpy()

    first, interval = first_full_step(arguments.config())
    row = _measure_calls(model, call, list(data.values()), batch, arguments.steps_per_size, program, first)
    if interval > 1:
        model.step.assign(first)
        row["milliseconds_with_penalties"] = _milliseconds(call)[0]
    return row


def measure_generator(arguments: MeasurementArguments, batch: int) -> dict[str, Any]:
    """In a fresh process: images of full size by the generator that is exported. See `_measure_calls`."""
    model, program = _fresh_model(arguments)
    z, label = tf.ones([batch, model.config.latent_size]), tf.zeros([batch, model.config.label_count])
    generate = tf.function(model.generate_from_latent, autograph=False)
    return _measure_calls(model, lambda: generate(z, label).numpy(), [z, label], batch, GENERATED_REPEATS, program)


def describe_stages(figures: dict[str, Any]) -> str:
    """Tables of the steps and of the fits to their memory, and lines about the generator."""
    lines = ["   px  batch  ms per step  with penalties  processor ms  images/s     MiB  process MiB  MiB by the fit"]
    for part in figures["sizes"]:
        for row in part["batches"]:
            line = STEP_LINE.format(size=part["size"], **row)
            if "predicted_mib" in row:
                share = row["predicted_mib"] / row["memory_mib"] - 1
                line += f"{row['predicted_mib']:>16.0f} ({share:+.1%})"
            lines.append(line)
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


def _fresh_model(arguments: MeasurementArguments) -> tuple[AdversarialModel, float]:
    """The model, and the MiB that the process held before it."""
    tf.config.threading.set_inter_op_parallelism_threads(1)
    program = process_memory_mib()
    return make_model(arguments.run()), program


def first_full_step(config: AdversarialConfig) -> tuple[int, int]:
    """The first step after a warm-up in which every lazy penalty is due, and how often that is so."""
    settings = to_plain(config)
    interval = math.lcm(*(settings.get(f"{name}_interval", 1) for name in LAZY_PENALTIES))
    return math.ceil(settings.get("warmup_steps", 0) / interval) * interval, interval


def _measure_calls(
    model: AdversarialModel,
    call: Callable[[], Any],
    data: Sequence[tf.Tensor],
    batch: int,
    repeats: int,
    program_mib: float,
    first_step: int = 0,
) -> dict[str, Any]:
    """Memory of the model, `data` and a call at `first_step`, and the median times of the next calls.

    "processor_milliseconds" are of all cores together, and change little with what else the machine does.

    Raises:
      ValueError: TensorFlow counts no memory here.
    """
    variables = _bytes(variable.value for variable in model.checkpoint_variables().values())
    model.step.assign(first_step)
    before = _tensor_memory()["current"]
    tf.config.experimental.reset_memory_stats(_device())
    call()  # traces, and plans the kernels
    # not what is held before the step: a weight that came from an array may share its memory and goes uncounted
    memory = variables + _bytes(data) + _tensor_memory()["peak"] - before
    times = [_milliseconds(call) for _ in range(repeats)]
    milliseconds, of_processor = (statistics.median(column) for column in zip(*times, strict=True))
    return {
        "batch": batch,
        "milliseconds": milliseconds,
        "milliseconds_with_penalties": milliseconds,
        "processor_milliseconds": of_processor,
        "images_per_second": 1000 * batch / milliseconds,
        "memory_mib": memory / MIB,
        "variables_mib": variables / MIB,
        "process_mib": process_memory_mib(),
        "program_mib": program_mib,
    }


def _milliseconds(call: Callable[[], Any]) -> tuple[float, float]:
    """Of the clock, and of the processor's cores."""
    start, start_of_processor = time.perf_counter(), time.process_time()
    call()
    return 1000 * (time.perf_counter() - start), 1000 * (time.process_time() - start_of_processor)


def _tensor_memory() -> dict[str, int]:
    """Bytes that tensors hold now ("current") and held at most since the last reset ("peak")."""
    try:
        return tf.config.experimental.get_memory_info(_device())
    except ValueError as error:
        raise ValueError(
            f"TensorFlow counts a processor's memory only with oneDNN; unset {ONEDNN_SWITCH}, or use a GPU"
        ) from error


def _device() -> str:
    return "GPU:0" if tf.config.list_logical_devices("GPU") else "CPU:0"


def _bytes(tensors: Iterable[tf.Tensor | tf.Variable]) -> int:
    return sum(tensor.shape.num_elements() * tensor.dtype.size for tensor in tensors)


STAGES = Measurement(measure_stages, describe_stages)
