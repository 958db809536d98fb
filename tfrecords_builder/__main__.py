"""Turns radiograph collections into TFRecords, and looks after what was built.

  python -m tfrecords_builder --dataset=phantom --out_dir=runs/phantom --image_sizes=64
  python -m tfrecords_builder verify runs/phantom
  python -m tfrecords_builder inspect runs/phantom

The first word names the command (`COMMANDS` in tfrecords_builder/commands); without one it is `build`.
"""

import sys

from tfcxr import command_line
from tfcxr.registry import nearest_name
from tfrecords_builder.commands import COMMANDS


def start(argv: list[str]) -> None:
    """Runs the command that `argv` names, as `sys.argv` gives it."""
    name, words = ("build", argv[1:]) if len(argv) < 2 or argv[1].startswith("-") else (argv[1], argv[2:])
    if name not in COMMANDS:
        sys.exit(f"error: unknown command {name!r}; {nearest_name(name, COMMANDS)}")
    command_line.run(COMMANDS[name], [argv[0], *words])


if __name__ == "__main__":
    start(sys.argv)
