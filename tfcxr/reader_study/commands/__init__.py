"""The commands of `python -m tfcxr.reader_study`: name -> a function of its arguments, see `tfcxr.command_line`."""

from collections.abc import Callable
from typing import Any

from tfcxr.registry import Registry

COMMANDS: Registry[Callable[[Any], Any]] = Registry(
    design="tfcxr.reader_study.commands.design:design",
    serve="tfcxr.reader_study.commands.serve:serve",
    report="tfcxr.reader_study.commands.report:report",
    simulate="tfcxr.reader_study.commands.simulate:simulate",
    export="tfcxr.reader_study.commands.export:export",
)
