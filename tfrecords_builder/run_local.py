"""Shard jobs in this process, or in several of this machine."""

import concurrent.futures
import contextlib
import math
import multiprocessing
import os
import pathlib
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool

import cv2
from tqdm import tqdm

from tfrecords_builder.datasets.reader import Reader
from tfrecords_builder.options import BuildOptions
from tfrecords_builder.plan import ShardJob
from tfrecords_builder.shard_writer import ShardResult, write_shard_job

_POLL_SECONDS = 0.5
_IMAGES_WORTH_A_WORKER = 200  # a process takes half a second to start
_done = None  # in a worker process: the number of images done by all workers, shared with the parent
_is_stopped = None  # in a worker process: not 0 when the parent wants all to stop


def run_jobs(
    reader: Reader, options: BuildOptions, out_dir: pathlib.Path, jobs: Sequence[ShardJob]
) -> list[ShardResult]:
    """Writes all shards, with a progress bar; returns one result per job, in their order.

    Raises:
      ValueError, OSError: the first failure of a job; the others are stopped.
      ChildProcessError: a worker process died.
    """
    total = sum(len(job.examples) for job in jobs)
    worth_starting = min(os.cpu_count() or 1, math.ceil(total / _IMAGES_WORTH_A_WORKER))
    workers = min(options.workers or worth_starting, len(jobs))
    with tqdm(total=total, desc=f"{reader.name}", unit=" images", disable=None) as bar:
        if workers <= 1:
            with _one_opencv_thread():
                return [write_shard_job(reader, options, out_dir, job, bar.update) for job in jobs]
        return _run_in_processes(reader, options, out_dir, jobs, workers, bar)


@contextlib.contextmanager
def _one_opencv_thread() -> Iterator[None]:
    """One worker is one core's work; for images of this size OpenCV's threads wait more than they do."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _run_in_processes(
    reader: Reader, options: BuildOptions, out_dir: pathlib.Path, jobs: Sequence[ShardJob], workers: int, bar: tqdm
) -> list[ShardResult]:
    # The threads of a caller that has TensorFlow do not survive a fork, so the workers are started afresh.
    context = multiprocessing.get_context("spawn")
    done_images, is_stopped = context.Value("q", 0), context.RawValue("b", 0)
    with concurrent.futures.ProcessPoolExecutor(workers, context, _start_worker, (done_images, is_stopped)) as pool:
        futures = [pool.submit(write_shard_job, reader, options, out_dir, job, _count_image) for job in jobs]
        try:
            pending = set(futures)
            while pending:
                done, pending = concurrent.futures.wait(pending, _POLL_SECONDS, concurrent.futures.FIRST_EXCEPTION)
                # Read without its lock: a worker that is killed may hold that for ever.
                bar.update(done_images.get_obj().value - bar.n)
                for future in done:
                    future.result()
            return [future.result() for future in futures]
        except BrokenProcessPool as error:
            raise ChildProcessError(
                "a worker process was killed, perhaps for lack of memory; finished shards are kept: "
                "run the same command again, with fewer --workers or smaller --shard_images"
            ) from error
        finally:
            is_stopped.value = 1
            # Waits for the workers, also for one that is still starting while others did all the work: it would find
            # what it shares with this process gone.
            pool.shutdown(cancel_futures=True)


def _count_image() -> None:
    """Called in a worker for each image."""
    if _is_stopped.value:
        raise InterruptedError("the build was stopped")
    with _done.get_lock():
        _done.value += 1


def _start_worker(done_images, is_stopped) -> None:
    global _done, _is_stopped  # a pool hands its workers what they share with the parent in no other way
    _done, _is_stopped = done_images, is_stopped
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which stops the workers
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for jobs for ever."""
    multiprocessing.parent_process().join()
    os._exit(1)
