"""Command lines of `python -m tfrecords_builder`, one after the other in this process."""

import contextlib
import io
import sys

import pytest
from absl import logging

from tfrecords_builder.__main__ import start


@pytest.fixture(scope="session")
def run_commands():
    """A function: argument lists -> [exit status, output, errors] of each.

    A list that begins with "without", NAME runs as if the module NAME were not installed.
    """

    def run(commands):
        return [run_one(list(arguments)) for arguments in commands]

    def run_one(arguments):
        output, errors, status = io.StringIO(), io.StringIO(), 0
        logger = logging.get_absl_logger()
        before = logger.handlers, logger.propagate, logging.get_verbosity()
        with pytest.MonkeyPatch.context() as patch:
            if arguments[:1] == ["without"]:
                patch.setitem(sys.modules, arguments[1], None)
                arguments = arguments[2:]
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
                try:
                    start(["tfrecords_builder", *arguments])
                except SystemExit as end:
                    status = end.code or 0
        logger.handlers, logger.propagate = before[:2]
        logging.set_verbosity(before[2])
        return [status, output.getvalue(), errors.getvalue()]

    return run
