"""How many processor threads a command computes with.

BLAS computes in one thread: in the small products and decompositions of an evaluation several threads spend their time
waiting for each other, beside another busy process for minutes. Everything else takes all cores, or `--threads`.
"""

import importlib
import os
import sys

import threadpoolctl

BLAS = "OPENBLAS_NUM_THREADS"
OTHERS = ("OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


def bound_threads(threads: int | None = None) -> None:
    """Bounds the threads of this process and of those that it starts; what the environment says already stays.

    Call it before TensorFlow is imported, which reads its bound then.

    Args:
      threads: of TensorFlow, OpenCV and scikit-learn; all cores where None.
    """
    os.environ.setdefault(BLAS, "1")
    if threads is not None:
        os.environ.update(dict.fromkeys(OTHERS, str(threads)))
        if "cv2" in sys.modules:  # has read its variable
            importlib.import_module("cv2").setNumThreads(threads)
    if "numpy" in sys.modules and os.environ[BLAS].isdecimal():
        threadpoolctl.threadpool_limits(int(os.environ[BLAS]), user_api="blas")
