"""Many command lines of `python -m tfrecords_builder` in one process, because importing TensorFlow takes longer."""

import json
import os
import subprocess
import sys

import pytest

# `flagsaver` removes the flags that a command has defined, so that the next one may define its own.
_DRIVER = """
import contextlib, io, json, sys
from absl.testing import flagsaver
from tfrecords_builder.__main__ import start

results = []
for arguments in json.load(sys.stdin):
    if arguments[:1] == ["without"]:
        sys.modules[arguments[1]] = None
        arguments = arguments[2:]
    sys.argv, output, errors, status = ["tfrecords_builder", *arguments], io.StringIO(), io.StringIO(), 0
    with flagsaver.flagsaver(), contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            start(sys.argv)
        except SystemExit as exit:
            status = exit.code or 0
    results.append([status, output.getvalue(), errors.getvalue()])
json.dump(results, sys.stdout)
"""


@pytest.fixture(scope="session")
def run_commands():
    """A function: argument lists -> [exit status, output, errors] of each.

    A list that begins with "without", NAME runs, with all after it, as if the module NAME were not installed.
    """

    def run(commands):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TF_CPP_MIN_LOG_LEVEL": "3"}
        process = subprocess.run(
            [sys.executable, "-c", _DRIVER], input=json.dumps(commands), capture_output=True, text=True, env=environment
        )
        assert process.returncode == 0, process.stderr
        return json.loads(process.stdout)

    return run
