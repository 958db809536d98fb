"""The commands of `python -m tfrecords_builder`: name -> a function of its arguments, see `tfcxr.command_line`.

A command's module imports what its flags need; what its work needs is imported when it runs, so that --help and a
mistake are answered at once.
"""

from collections.abc import Callable
from typing import Any

from tfcxr.registry import Registry

COMMANDS: Registry[Callable[[Any], None]] = Registry(
    build="tfrecords_builder.commands.build:build",
    convert="tfrecords_builder.commands.convert:convert",
    describe="tfrecords_builder.commands.describe:describe",
    imitate="tfrecords_builder.commands.imitate:imitate",
    inspect="tfrecords_builder.commands.inspect:inspect",
    merge="tfrecords_builder.commands.merge:merge",
    verify="tfrecords_builder.commands.verify:verify",
)
