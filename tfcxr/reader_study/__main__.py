"""Can people tell real radiographs from synthetic ones, and what do they see?

    python -m tfcxr.reader_study design --real_dir=records/256 --synthetic_dir=cohorts/cgan/256 --out_dir=runs/readers
    python -m tfcxr.reader_study serve --study_dir=runs/readers
    python -m tfcxr.reader_study report --study_dir=runs/readers

The first word names the command; each has --help:
"""

import sys

from tfcxr import command_line
from tfcxr.reader_study.commands import COMMANDS
from tfcxr.registry import nearest_name


def start(argv: list[str]) -> None:
    """Runs the command that `argv` names, as `sys.argv` gives it; without one, lists the commands.

    Raises:
      SystemExit: an unknown command (1), or what `command_line.run` raises.
    """
    program, *words = argv
    if not words or words[0] in ("-h", "--help", "help"):
        print(__doc__)
        for name in COMMANDS:
            print(f"  {name:<10}{COMMANDS.docstring(name).splitlines()[0]}")
        return
    name, *words = words
    if name not in COMMANDS:
        sys.exit(f"error: unknown command {name!r}; {nearest_name(name, COMMANDS)}")
    command_line.run(COMMANDS[name], [program, *words])


if __name__ == "__main__":
    start(sys.argv)
