"""Calls a command several times, as a user would, importing TensorFlow once: forked_commands.py MODULE < calls.json

Standard input holds a JSON list of argument lists. Each call runs in a child forked after the import and before
TensorFlow starts. Standard output gets a JSON list of {"status", "errors"}.
"""

import importlib
import json
import os
import sys
import tempfile

from tfcxr import command_line


def call(main, arguments: list[str]) -> dict:
    with tempfile.TemporaryFile() as errors:
        child = os.fork()
        if child == 0:
            os.dup2(errors.fileno(), 2)
            os.dup2(errors.fileno(), 1)
            sys.argv = ["command", *arguments]
            command_line.run_main(main)
            os._exit(0)  # command_line.run does not come back
        _, status = os.waitpid(child, 0)
        errors.seek(0)
        return {"status": os.waitstatus_to_exitcode(status), "errors": errors.read().decode(errors="replace")}


if __name__ == "__main__":
    command_main = importlib.import_module(sys.argv[1]).main
    print(json.dumps([call(command_main, arguments) for arguments in json.load(sys.stdin)]))
