"""Processes that share jobs: order, memory, failures, and what they import."""

import functools
import textwrap

import pytest
from tqdm import tqdm

from tfrecords_builder.worker_pool import run_jobs

FUNCTIONS = """
    import os, pathlib, signal, sys, time

    def double(folder, job, on_image):
        on_image()
        time.sleep(0.02 * (job % 3))  # they end in another order than they began
        (pathlib.Path(folder) / str(job)).touch()
        return 2 * job

    def fail(job, on_image):
        if job == 1:
            raise OSError(28, "No space left on device", "somewhere")
        for _ in range(500):
            on_image()
            time.sleep(0.02)

    def kill(number, job, on_image):
        if job == 1:
            os.kill(os.getpid(), number)
        time.sleep(0.05)

    def look(job, on_image):
        import tfrecords_builder.datasets.image_folder, tfrecords_builder.datasets.phantom
        import tfrecords_builder.inspect.merge_shard, tfrecords_builder.inspect.merge_table
        import tfrecords_builder.shard_writer
        (peak,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
        return [name for name in ("tensorflow", "keras", "torch", "jax") if name in sys.modules], int(peak.split()[1])
"""


@pytest.fixture
def functions(tmp_path, monkeypatch):
    """Functions of jobs, in a module that worker processes can import."""
    (tmp_path / "job_functions.py").write_text(textwrap.dedent(FUNCTIONS))
    monkeypatch.syspath_prepend(tmp_path)
    import job_functions

    return job_functions


@pytest.mark.parametrize("workers", [1, 2])
def test_results_are_in_order_and_jobs_are_made_when_they_are_needed(functions, tmp_path, workers):
    done = tmp_path / "done"
    done.mkdir()

    def jobs():
        for number in range(20):
            assert len(list(done.iterdir())) > number - 4
            yield number

    with tqdm(total=20, disable=True) as bar:
        found = run_jobs(functools.partial(functions.double, str(done)), jobs(), 20, workers, bar)
    assert found == [2 * number for number in range(20)]


def test_a_failure_stops_the_others_and_keeps_its_file_name(functions):
    with tqdm(total=10, disable=True) as bar, pytest.raises(OSError, match="No space left on device: 'somewhere'"):
        run_jobs(functions.fail, range(10), 10, 2, bar)


@pytest.mark.parametrize("number", [9, 11, 15], ids=["SIGKILL", "SIGSEGV", "SIGTERM"])
def test_a_worker_that_a_signal_kills_is_told(functions, number):
    message = "a worker process was killed, perhaps for lack of memory; finished shards are kept: run the same command"
    with tqdm(total=10, disable=True) as bar, pytest.raises(ChildProcessError, match=message):
        run_jobs(functools.partial(functions.kill, number), range(10), 10, 2, bar)


def test_a_worker_imports_no_tensorflow_and_is_small(functions):
    with tqdm(total=2, disable=True) as bar:
        for modules, peak_kib in run_jobs(functions.look, range(2), 2, 2, bar):
            assert modules == [] and peak_kib < 250 * 1024
