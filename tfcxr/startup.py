"""Starts TensorFlow without the lines that it writes to descriptor 2 while it is imported."""

import contextlib
import importlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

from absl import logging

# Lines of TensorFlow's C++ about oneDNN, CUDA and the processor. What matters comes back as a Python error.
START_UP_LINE = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog|[IWE]\d{4} \d\d:\d\d:|\d{4}-\d\d-\d\d [\d:.]+: [IWE] "
    rb"|To enable the following instructions: |To turn them off, set the environment variable `TF_"
)


@contextlib.contextmanager
def tensorflow_started() -> Iterator[None]:
    """Imports TensorFlow and Keras, and says so; what the block imports or prints is kept, start-up lines are not."""
    if "tensorflow" in sys.modules:
        yield
        return
    logging.info("starting TensorFlow")
    with _without_start_up_lines():
        importlib.import_module("tensorflow").config.list_physical_devices()
        importlib.import_module("keras")
        yield


def start_tensorflow() -> None:
    """Imports TensorFlow and Keras, for a process of a pool."""
    with tensorflow_started():
        pass


@contextlib.contextmanager
def _without_start_up_lines() -> Iterator[None]:
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)
            written.seek(0)
            for line in written:
                if not START_UP_LINE.match(line):
                    os.write(2, line)
