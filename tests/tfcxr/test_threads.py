import os
import subprocess
import sys

import pytest

COUNT = """
import collections, os, sys
{before}
from tfcxr import command_line
from tfcxr.command_line import Arguments
import dataclasses
@dataclasses.dataclass(frozen=True, kw_only=True)
class Nothing(Arguments):
    '''Nothing.'''
def command(arguments: Nothing) -> None:
    import cv2, numpy, scipy.linalg, tensorflow as tf, threadpoolctl
    image, kernel = tf.zeros([1, 8, 8, 4]), tf.zeros([3, 3, 4, 4])
    tf.function(lambda: tf.nn.conv2d(image, kernel, 1, "SAME"))()
    names = collections.Counter(open(f"/proc/self/task/{{task}}/comm").read().strip()
                                for task in os.listdir("/proc/self/task"))
    blas = {{pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"}}
    print(*blas, cv2.getNumThreads(), names["tf_Compute"])
command_line.run(command, ["command", *sys.argv[1:]])
"""


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="counts the threads in /proc")
@pytest.mark.parametrize("before", ["", "import cv2, numpy, scipy.linalg"])
@pytest.mark.parametrize("flags, threads", [([], os.cpu_count()), (["--threads=1"], 1), (["--threads=3"], 3)])
def test_threads_of_every_library_are_bounded(before, flags, threads):
    kept = {name: value for name, value in os.environ.items() if "NUM_THREADS" not in name}
    run = [sys.executable, "-c", COUNT.format(before=before), *flags]
    done = subprocess.run(run, env=kept, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", str(threads), str(threads)]


def test_wrong_number_of_threads_is_refused():
    run = [sys.executable, "-m", "tfcxr.describe", "--threads=0"]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 1 and "threads" in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
