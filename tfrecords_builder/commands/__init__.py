"""The commands of `python -m tfrecords_builder NAME`; a new one is one file here and one line in `COMMANDS`.

A command is a module with `define_flags()` and `main(arguments)`, `arguments` being what stands beside the flags.
"""

from types import ModuleType

from tfrecords_builder.commands import build, convert, describe, inspect, merge, verify

COMMANDS: dict[str, ModuleType] = {
    "build": build,
    "convert": convert,
    "describe": describe,
    "inspect": inspect,
    "merge": merge,
    "verify": verify,
}
