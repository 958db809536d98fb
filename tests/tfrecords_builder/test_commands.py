"""The commands beside `build`: which there are, and what `describe` says."""

import pytest

from tfrecords_builder.commands import COMMANDS, describe
from tfrecords_builder.datasets import DATASETS


def test_an_unknown_command_and_help(run_commands):
    unknown, help_ = run_commands([["verfy"], ["verify", "--help"]])
    assert unknown[0] == 1 and "error: unknown command 'verfy'; did you mean 'verify'?" in unknown[2]
    assert "--against" in help_[1] and COMMANDS["verify"].__doc__.splitlines()[0] in help_[1]


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
