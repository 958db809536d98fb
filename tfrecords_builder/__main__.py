"""Turns radiograph collections into TFRecords, and looks after what was built.

  python -m tfrecords_builder --dataset=phantom --out_dir=runs/phantom --image_sizes=64
  python -m tfrecords_builder verify runs/phantom
  python -m tfrecords_builder inspect runs/phantom

The first word names the command (`COMMANDS` in tfrecords_builder/commands); without one it is `build`.
"""

import sys

from absl import flags

from tfcxr.command_line import nearest_name, run_main
from tfrecords_builder.commands import COMMANDS


def start(argv: list[str]) -> None:
    """Runs the command that `argv` names, as `sys.argv` gives it."""
    name, rest = ("build", argv[1:]) if len(argv) < 2 or argv[1].startswith("-") else (argv[1], argv[2:])
    if name not in COMMANDS:
        print(f"error: unknown command {name!r}; {nearest_name(name, COMMANDS)}", file=sys.stderr)
        sys.exit(1)
    command = COMMANDS[name]
    command.define_flags()
    flags.adopt_module_key_flags(command)
    sys.modules["__main__"].__doc__ = command.__doc__  # what --help prints
    run_main(lambda arguments: command.main(arguments[1:]), [argv[0], *rest], takes_arguments=True)


if __name__ == "__main__":
    start(sys.argv)
