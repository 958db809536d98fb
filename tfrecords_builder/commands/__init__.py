"""The commands of `python -m tfrecords_builder`: name -> a function of its arguments, see `tfcxr.command_line`."""

from collections.abc import Callable
from typing import Any

from tfrecords_builder.commands.build import build
from tfrecords_builder.commands.convert import convert
from tfrecords_builder.commands.describe import describe
from tfrecords_builder.commands.inspect import inspect
from tfrecords_builder.commands.merge import merge
from tfrecords_builder.commands.verify import verify

COMMANDS: dict[str, Callable[[Any], None]] = {
    command.__name__: command for command in (build, convert, describe, inspect, merge, verify)
}
