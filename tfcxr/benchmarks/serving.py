"""How fast `python -m tfcxr.serve` answers: batches beside the model alone, single images, many clients.

    python -m tfcxr.benchmark --measure=serve --saved_model=saved_models/acgan
    python -m tfcxr.benchmark --measure=serve --saved_model=saved_models/acgan --clients=200 --seconds=300

The server runs in a process of its own; the clients, which share this machine with it, are threads of this one.
"""

import collections
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from tfcxr.benchmarks.generation import exported_model
from tfcxr.benchmarks.measurement import WARM_UP, Measurement, MeasurementArguments
from tfcxr.benchmarks.server_process import MODEL, ServerProcess, running_server
from tfcxr.serving.client import Client
from tfcxr.serving.client_error import PASSING, ClientError
from tfcxr.serving.loaded_model import LoadedModel

ROUNDS = 3  # of both ways in turn: the machine's load is the same for both
IN_FLIGHT = 3  # requests at once: while one is computed, another is sent
SINGLE_IMAGES = 10  # timed per protocol, times `repeats`
BUSY_SECONDS = 0.1  # that a client waits when the server refused it
SETTLED = 0.1  # share of the load after which all clients are connected


def measure_serving(arguments: MeasurementArguments) -> dict[str, Any]:
    """Times a generator's server.

    Returns:
      batch_size; images_per_second without and over gRPC, and their ratio; milliseconds of single images over both
      protocols; with `clients` also the load's answers by status, milliseconds, and the server's memory.

    Raises:
      ValueError: a model that generates nothing.
      ChildProcessError: the server did not start.
    """
    with exported_model(arguments) as path:
        model = LoadedModel(path)
        if not model.has("generate"):
            raise ValueError(f"--measure=serve needs a generator or cascade, {path} is a {model.description.kind}")
        with running_server(model.path) as server:
            figures = {
                "saved_model": model.description.version_name,
                **_measure_batches(model, server, arguments.generate_batch_size, arguments.repeats),
                "single_image_milliseconds": {
                    address.partition(":")[0] if "://" in address else "grpc": _measure_single(
                        model, address, arguments.repeats * SINGLE_IMAGES
                    )
                    for address in (server.grpc_address, server.rest_address)
                },
            }
            if arguments.clients:
                figures["load"] = _measure_load(model, server, arguments.clients, arguments.seconds)
    return figures


def describe_serving(figures: dict[str, Any]) -> str:
    """A line per figure."""
    lines = [
        f"serving {figures['saved_model']}: {figures['grpc_images_per_second']:.1f} images/s over gRPC in batches of "
        f"{figures['batch_size']}, {figures['generate_images_per_second']:.1f} without a server, ratio "
        f"{figures['ratio']:.2f}"
    ]
    for protocol, times in figures["single_image_milliseconds"].items():
        lines.append(f"a single image over {protocol}: {_times(times)}")
    if load := figures.get("load"):
        answers = ", ".join(f"{count} {status}" for status, count in load["answers"].items())
        memory = load["server_memory_mib"]
        lines += [
            f"{load['clients']} clients for {load['seconds']:.0f} s: {answers}; {_times(load['milliseconds'])}",
            f"memory of the server: {memory['start']:.0f} MiB before, {memory['settled']:.0f} after a tenth of the "
            f"time, {memory['end']:.0f} at the end",
        ]
    return "\n".join(lines)


def _times(times: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f} ms" for name, value in times.items())


def _measure_batches(model: LoadedModel, server: ServerProcess, rows: int, repeats: int) -> dict[str, Any]:
    seconds = {"generate": 0.0, "grpc": 0.0}
    with Client(server.grpc_address) as client, ThreadPoolExecutor(IN_FLIGHT) as pool:

        def draw(index: int) -> None:
            client.predict(MODEL, _inputs(model, index * rows, rows))

        def timed(way: str, first: int, count: int) -> None:
            begun = time.perf_counter()
            if way == "generate":
                for index in range(first, first + count):
                    model.call("generate", **_inputs(model, index * rows, rows))
            else:
                list(pool.map(draw, range(first, first + count)))
            seconds[way] += time.perf_counter() - begun

        for way in seconds:
            timed(way, 0, WARM_UP)
        seconds = dict.fromkeys(seconds, 0.0)
        for number in range(ROUNDS):
            for way in seconds:
                timed(way, WARM_UP + number * repeats, repeats)
    rates = {way: ROUNDS * repeats * rows / spent for way, spent in seconds.items()}
    return {
        "batch_size": rows,
        "timed_requests": ROUNDS * repeats,
        "generate_images_per_second": rates["generate"],
        "grpc_images_per_second": rates["grpc"],
        "ratio": rates["grpc"] / rates["generate"],
    }


def _measure_single(model: LoadedModel, address: str, repeats: int) -> dict[str, float]:
    spent = []
    with Client(address) as client:
        for seed in range(WARM_UP + repeats):
            begun = time.perf_counter()
            client.predict(MODEL, _inputs(model, seed, 1))
            spent.append(time.perf_counter() - begun)
    return _percentiles(spent[WARM_UP:], (50, 95))


def _measure_load(model: LoadedModel, server: ServerProcess, clients: int, seconds: float) -> dict[str, Any]:
    """Every client asks for one image after the other, half of the clients over gRPC and half over REST."""
    answers: collections.Counter[str] = collections.Counter()
    spent: list[float] = []
    lock, ends = threading.Lock(), threading.Event()

    def ask(number: int) -> None:
        seed = number * 2**32
        with Client(server.rest_address if number % 2 else server.grpc_address, retries=0) as client:
            while not ends.is_set():
                seed, status, begun = seed + 1, "OK", time.perf_counter()
                try:
                    client.predict(MODEL, _inputs(model, seed, 1))
                except ClientError as error:
                    status = error.code
                took = time.perf_counter() - begun
                with lock:
                    answers[status] += 1
                    if status == "OK":
                        spent.append(took)
                if status in PASSING:
                    ends.wait(BUSY_SECONDS)

    memory = {"start": server.memory_mib()}
    threads = [threading.Thread(target=ask, args=[number]) for number in range(clients)]
    for thread in threads:
        thread.start()
    time.sleep(seconds * SETTLED)
    memory["settled"] = server.memory_mib()
    time.sleep(seconds * (1 - SETTLED))
    ends.set()
    for thread in threads:
        thread.join()
    memory["end"] = server.memory_mib()
    return {
        "clients": clients,
        "seconds": seconds,
        "answers": dict(answers.most_common()),
        "milliseconds": _percentiles(spent, (50, 95, 99)),
        "server_memory_mib": memory,
    }


def _inputs(model: LoadedModel, first_seed: int, rows: int) -> dict[str, np.ndarray]:
    """The labels are one class after the other."""
    seeds = np.arange(first_seed, first_seed + rows, dtype=np.int64)
    classes = len(model.description.label_names)
    if not classes:
        return {"seed": seeds}
    return {"seed": seeds, "label": np.eye(classes, dtype=np.float32)[seeds % classes]}


def _percentiles(seconds: list[float], percents: tuple[int, ...]) -> dict[str, float]:
    """Milliseconds, NaN where nothing was timed."""
    if len(seconds) < 2:
        return {f"p{percent}": float("nan") for percent in percents}
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {f"p{percent}": 1000 * cuts[percent - 1] for percent in percents}


SERVE = Measurement(measure_serving, describe_serving)
