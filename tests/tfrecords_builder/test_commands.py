"""The commands beside `build`: which there are, and what `describe` says."""

import pathlib
import re

import pytest

from tfcxr.command_line import flag_names, help_text
from tfrecords_builder.commands import COMMANDS
from tfrecords_builder.commands.describe import DescribeArguments, describe
from tfrecords_builder.datasets import DATASETS


def test_the_flags_that_the_readme_names_are_there():
    known = {name: flag_names(command) for name, command in COMMANDS.items()}
    readme = (pathlib.Path(__file__).parents[2] / "tfrecords_builder" / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^python -m tfrecords_builder (.*(?:\\\n.*)*)", readme, re.MULTILINE)
    assert len(lines) >= 6
    for line in lines:
        word = line.split()[0]
        assert set(re.findall(r"--(\w+)", line)) <= set(known[word if word in COMMANDS else "build"]), line
    flags = set(re.findall(r"`--(\w+)", readme))
    assert len(flags) > 10 and flags <= set().union(*known.values())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_has_a_meaning(name):
    text = help_text(COMMANDS[name])
    assert all(f"  --{flag}\n      " in text for flag in flag_names(COMMANDS[name]))


def test_help_and_an_unknown_command(run_commands):
    told, unknown = run_commands([["verify", "--help"], ["verfy"]])
    assert "--against" in told[1] and "Checks that data folders are whole" in told[1]
    assert unknown[0].startswith("error: unknown command 'verfy'; did you mean 'verify'?")


def test_every_data_set_is_listed_and_described(capsys):
    describe(DescribeArguments())
    listed = capsys.readouterr().out
    assert [line.split()[0] for line in listed.splitlines()] == sorted(DATASETS)
    for name, reader in DATASETS.items():
        describe(DescribeArguments(datasets=(name,)))
        text = capsys.readouterr().out
        assert f"--dataset={name}" in text and reader.licence in text
    describe(DescribeArguments(datasets=("chexpert",)))
    assert "--set uncertain=ignore" in capsys.readouterr().out


def test_an_unknown_data_set_is_named():
    with pytest.raises(ValueError, match="unknown data set 'chexprt'; did you mean 'chexpert'"):
        describe(DescribeArguments(datasets=("chexprt",)))
