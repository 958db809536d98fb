"""Synthetic chest radiographs, and what they are worth on real patients.

    python -m tfcxr COMMAND --flag=value ...

The commands, in the order in which data pass through them; each has --help:
"""

import importlib
import sys

from tfcxr import command_line
from tfcxr.commands import COMMANDS
from tfcxr.registry import nearest_name


def main(argv: list[str] | None = None) -> None:
    """Runs the command that `argv` names, `sys.argv` where None; without one, lists the commands.

    Raises:
      SystemExit: an unknown command (1), the list (0), or what `command_line.run` raises.
    """
    program, *words = sys.argv if argv is None else argv
    if not words or words[0] in ("-h", "--help", "help"):
        print(__doc__)
        for name in COMMANDS:
            print(f"  {name:<17}{COMMANDS.docstring(name).splitlines()[0]}")
        print("  reader_study     Reader studies: design, serve, report, simulate, export.")
        print("\npython -m tfcxr describe lists models, protocols, checkpoint formats and data sets.")
        return
    name, *words = words
    if name == "reader_study":  # has commands of its own
        importlib.import_module("tfcxr.reader_study.__main__").start([program, *words])
        return
    if name not in COMMANDS:
        sys.exit(f"error: unknown command {name!r}; {nearest_name(name, COMMANDS)}")
    command_line.run(COMMANDS[name], [program, *words])


if __name__ == "__main__":
    main()
