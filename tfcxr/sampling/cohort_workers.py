"""Processes of this machine that make a cohort's records together.

    with started_workers(2, CohortParts(...)) as workers:
        for batch in workers.made(ranges):  # as `map(records.make, ranges)` gives them

Each loads the models and takes the next batch when it is free; batches come back in their order. A worker computes with
as many processor threads as this process would: convolutions and matrix products round differently with another number
(measured with oneDNN, 1 and 2 threads), and the images are to be the same bytes. Each has a GPU of its own as long as
there are enough. A worker ends with its parent.
"""

import contextlib
import dataclasses
import importlib
import multiprocessing
import multiprocessing.connection
import os
import signal
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from absl import logging

from tfcxr.command_line import GIVEN_PLUGINS
from tfcxr.registry import load_plugin
from tfcxr.startup import tensorflow_started

if TYPE_CHECKING:  # a worker chooses its GPU before it imports TensorFlow
    from tfcxr.sampling.cohort_records import CohortBatch, CohortParts

QUEUED = 2  # batches that a worker has, so that it need not wait for the next one
UNWRITTEN = 4  # batches per worker that may be begun or wait for an earlier one: bounds the memory
VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"


def share_gpus() -> None:
    """Lets this process and its workers allocate GPU memory as they need it; call it before TensorFlow starts."""
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")


def visible_gpus(count: int) -> list[str]:
    """Names of the `count` GPUs that this process sees, as CUDA_VISIBLE_DEVICES of a worker takes them."""
    names = os.environ.get(VISIBLE_GPUS, "").split(",")
    return names[:count] if len(names) >= count and all(names) else [str(index) for index in range(count)]


@contextlib.contextmanager
def started_workers(count: int, parts: "CohortParts") -> Iterator["CohortWorkers"]:
    """Starts `count` processes; they are gone when the block ends.

    Raises:
      ChildProcessError: one of them was killed at once.
    """
    gpus = visible_gpus(len(importlib.import_module("tensorflow").config.list_physical_devices("GPU")))
    logging.info("starting %d processes that generate", count)
    context, started = multiprocessing.get_context("spawn"), []
    try:
        for index in range(count):
            here, there = context.Pipe()
            arguments = (there, gpus[index % len(gpus)] if gpus else None, list(GIVEN_PLUGINS))
            process = context.Process(target=_work, args=arguments, name=f"generate-{index}", daemon=True)
            process.start()
            there.close()  # so that `here` ends with the worker
            started.append(_Worker(process, here))
        for worker in started:
            worker.send(parts)
        yield CohortWorkers(started)
    except BaseException:
        for worker in started:
            worker.process.terminate()
        raise
    finally:
        for worker in started:
            worker.connection.close()  # tells it that there is no more to do
            worker.process.join()


class CohortWorkers:
    """Processes that are ready for batches."""

    def __init__(self, started: list["_Worker"]) -> None:
        """See `started_workers`."""
        self._workers = {worker.connection: worker for worker in started}

    def made(self, batches: Iterable[range]) -> Iterator["CohortBatch"]:
        """The records of the images in each range, in order.

        Raises:
          ValueError, OSError: of a worker, see `CohortRecords.make`.
          ChildProcessError: a worker process was killed, or failed otherwise.
        """
        left, results = enumerate(batches), dict[int, Any]()
        begun = taken = 0
        while True:
            while begun - taken < UNWRITTEN * len(self._workers):
                worker = min(self._workers.values(), key=lambda worker: worker.queued)
                if worker.queued == QUEUED or (task := next(left, None)) is None:
                    break
                worker.send(task)
                worker.queued, begun = worker.queued + 1, begun + 1
            if taken == begun:
                return
            if taken in results:
                result = results.pop(taken)
                if isinstance(result, Exception):  # in its turn: earlier shards are finished first, as in one process
                    raise result
                yield result
                taken += 1
                continue
            for connection in multiprocessing.connection.wait(list(self._workers)):
                worker = self._workers[connection]  # type: ignore[index]
                number, result = worker.receive()
                results[number] = result
                worker.queued -= 1


@dataclasses.dataclass
class _Worker:
    """A process, the parent's end of its pipe, and how many batches it has been given and not answered."""

    process: Any
    connection: multiprocessing.connection.Connection
    queued: int = 0

    def send(self, message: Any) -> None:
        try:
            self.connection.send(message)
        except OSError as error:
            raise self._ended() from error

    def receive(self) -> tuple[int, "CohortBatch | Exception"]:
        """The number of a batch, and its records or what is wrong with it."""
        try:
            number, result = self.connection.recv()
        except (EOFError, OSError) as error:
            raise self._ended() from error
        if number is None:  # it could not even begin
            raise result
        return number, result

    def _ended(self) -> ChildProcessError:
        self.process.join()
        status = self.process.exitcode
        reason = (
            f"was killed by signal {-status}, perhaps for want of memory" if status < 0 else "failed, as told above"
        )
        return ChildProcessError(
            f"a worker process {reason}; finished shards are kept: run the same command again, with fewer --workers or "
            "a smaller --batch_size where memory is short"
        )


def _work(connection: multiprocessing.connection.Connection, gpu: str | None, plugins: list[str]) -> None:
    """What a worker process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which stops its workers
    if gpu is not None:
        os.environ[VISIBLE_GPUS] = gpu
    logging.set_verbosity(logging.ERROR)  # the parent has warned of all there is
    with tensorflow_started():
        importlib.import_module("tfcxr.sampling.cohort_records")
    with contextlib.suppress(EOFError, ConnectionError):  # the parent has ended, or wants no more
        try:
            for path in plugins:
                load_plugin(path)
            records = connection.recv().open()
        except (ValueError, OSError) as error:
            connection.send((None, error))
            return
        while True:
            number, numbers = connection.recv()
            try:
                result = records.make(numbers)
            except (ValueError, OSError) as error:
                result = error
            connection.send((number, result))
