"""The commands beside `build`: which there are, and what `describe` says."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from tfrecords_builder.commands import COMMANDS, describe
from tfrecords_builder.datasets import DATASETS

# Flags are global: those of two commands cannot be defined at once, and other tests of this process have their own.
FLAGS_SCRIPT = """
import json
from absl import flags
from absl.testing import flagsaver
from tfrecords_builder.commands import COMMANDS

names = {}
for name, command in COMMANDS.items():
    with flagsaver.flagsaver():
        command.define_flags()
        names[name] = list(flags.FLAGS.flag_values_dict())
print(json.dumps(names))
"""


def test_the_flags_that_the_readme_names_are_there():
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", FLAGS_SCRIPT], capture_output=True, text=True, env=environment)
    known = json.loads(done.stdout)
    readme = (pathlib.Path(__file__).parents[2] / "tfrecords_builder" / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^python -m tfrecords_builder (.*(?:\\\n.*)*)", readme, re.MULTILINE)
    assert len(lines) >= 6
    for line in lines:
        word = line.split()[0]
        assert set(re.findall(r"--(\w+)", line)) <= set(known[word if word in COMMANDS else "build"]), line
    flags = set(re.findall(r"`--(\w+)", readme))
    assert len(flags) > 10 and flags <= set().union(*known.values())


def test_help_and_an_unknown_command(run_commands):
    told, unknown = run_commands([["verify", "--helpfull"], ["verfy"]])
    assert "--against" in told[1] and COMMANDS["verify"].__doc__.splitlines()[0] in told[1]
    assert unknown[0] == 1 and "error: unknown command 'verfy'; did you mean 'verify'?" in unknown[2]


def test_every_data_set_is_listed_and_described(capsys):
    describe.main([])
    listed = capsys.readouterr().out
    assert [line.split()[0] for line in listed.splitlines()] == sorted(DATASETS)
    for name, reader in DATASETS.items():
        describe.main([name])
        text = capsys.readouterr().out
        assert f"--dataset={name}" in text and reader.licence in text
    describe.main(["chexpert"])
    assert "--set uncertain=ignore" in capsys.readouterr().out


def test_an_unknown_data_set_is_named():
    with pytest.raises(ValueError, match="unknown data set 'chexprt'; did you mean 'chexpert'"):
        describe.main(["chexprt"])
