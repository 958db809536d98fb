"""The commands by name, of this package and of the builder: `python -m tfcxr NAME`, or `tfcxr NAME`."""

from collections.abc import Callable
from typing import Any

from tfcxr.registry import Registry

COMMANDS: Registry[Callable[[Any], Any]] = Registry(
    build="tfrecords_builder.commands.build:build",
    inspect="tfrecords_builder.commands.inspect:inspect",
    verify="tfrecords_builder.commands.verify:verify",
    merge="tfrecords_builder.commands.merge:merge",
    convert="tfrecords_builder.commands.convert:convert",
    train="tfcxr.train:train",
    export="tfcxr.export:export",
    generate="tfcxr.generate:generate",
    train_classifier="tfcxr.train_classifier:train_classifier",
    evaluate="tfcxr.evaluate:evaluate",
    compare="tfcxr.compare:compare",
    card="tfcxr.card:card",
    embed="tfcxr.embed:embed",
    port="tfcxr.port:port",
    study="tfcxr.study:study",
    benchmark="tfcxr.benchmark:benchmark",
    serve="tfcxr.serve:serve",
    describe="tfcxr.describe:describe",
)
