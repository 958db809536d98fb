"""Jobs of many images in this process, or in several of this machine: the same results in the same order.

A worker imports what its function needs and no TensorFlow, so it starts in half a second and takes 65 MiB.
"""

import concurrent.futures
import contextlib
import itertools
import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import cv2
from tqdm import tqdm

Job, Result = TypeVar("Job"), TypeVar("Result")
Function = Callable[[Job, Callable[[], object]], Result]  # of a job, and of what to call for each image of it

_POLL_SECONDS = 0.5
IMAGES_WORTH_A_WORKER = 200  # to build, of a millisecond each; a process takes half a second to start
_JOBS_PER_WORKER = 2  # made and waiting at any time, so that memory does not depend on how many there are
_done = None  # in a worker process: the number of images done by all workers, shared with the parent
_is_stopped = None  # in a worker process: not 0 when the parent wants all to stop


def run_jobs(
    function: Function,
    jobs: Iterable[Job],
    job_count: int,
    workers: int,
    bar: tqdm,
    worth_a_worker: int = IMAGES_WORTH_A_WORKER,
) -> list[Result]:
    """Calls a function with each job; returns the results in the order of the jobs.

    Args:
      function: of a job, and of a function to call for each image, which counts it and ends the job if it raises.
        Both functions, the jobs and the results are pickled.
      jobs: each is made when a worker is nearly free for it.
      job_count: how many they are.
      workers: processes; 0 for one per CPU, as far as the images of `bar.total` are worth one.
      bar: counts images.
      worth_a_worker: so many images take longer than a process takes to start.

    Raises:
      ValueError, OSError: the first failure of a job; the others are stopped.
      ChildProcessError: a worker process died.
    """
    worth_starting = min(os.cpu_count() or 1, math.ceil(bar.total / worth_a_worker))
    workers = min(workers or worth_starting, job_count)
    if workers <= 1:
        with _one_opencv_thread():
            return [function(job, bar.update) for job in jobs]
    return _run_in_processes(function, jobs, workers, bar)


@contextlib.contextmanager
def _one_opencv_thread() -> Iterator[None]:
    """One worker is one core's work; for images of this size OpenCV's threads wait more than they do."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _run_in_processes(function: Function, jobs: Iterable[Job], workers: int, bar: tqdm) -> list[Result]:
    # The threads of a caller that has TensorFlow do not survive a fork, so the workers are started afresh.
    context = multiprocessing.get_context("spawn")
    done_images, is_stopped = context.Value("q", 0), context.RawValue("b", 0)
    waiting, results, before = enumerate(jobs), {}, bar.n
    with concurrent.futures.ProcessPoolExecutor(workers, context, _start_worker, (done_images, is_stopped)) as pool:
        pending: dict[concurrent.futures.Future, int] = {}
        try:
            while True:
                for number, job in itertools.islice(waiting, _JOBS_PER_WORKER * workers - len(pending)):
                    pending[pool.submit(function, job, _count_image)] = number
                if not pending:
                    return [results[number] for number in range(len(results))]
                done, _ = concurrent.futures.wait(pending, _POLL_SECONDS, concurrent.futures.FIRST_COMPLETED)
                # Read without its lock: a worker that is killed may hold that for ever.
                bar.update(before + done_images.get_obj().value - bar.n)
                for future in done:
                    results[pending.pop(future)] = future.result()
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
        raise InterruptedError("another job failed")
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
