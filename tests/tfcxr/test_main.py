"""`python -m tfcxr`: the commands by name, and how soon each says its first word."""

import importlib
import subprocess
import sys

import pytest

from tfcxr.__main__ import main
from tfcxr.commands import COMMANDS

WITHOUT_TENSORFLOW = """
import sys
from tfcxr.__main__ import main
try:
    main(["tfcxr", *sys.argv[1:]])
except SystemExit as end:
    assert "tensorflow" not in sys.modules, "TensorFlow was imported"
    raise
assert "tensorflow" not in sys.modules, "TensorFlow was imported"
"""


def run_without_tensorflow(*words):
    return subprocess.run([sys.executable, "-c", WITHOUT_TENSORFLOW, *words], capture_output=True, text=True)


def test_every_command_is_listed(capsys):
    main(["tfcxr"])
    printed = capsys.readouterr().out
    assert all(f"\n  {name} " in printed for name in COMMANDS)
    assert "Trains a GAN and exports its generator." in printed


@pytest.mark.parametrize("name", COMMANDS)
def test_a_name_is_the_command_of_its_module(name):
    command = COMMANDS[name]
    assert command.__name__ == name
    assert importlib.import_module(command.__module__).__doc__


@pytest.mark.thorough
@pytest.mark.parametrize("name", COMMANDS)
def test_help_and_a_wrong_flag_come_before_tensorflow(name):
    shown = run_without_tensorflow(name, "--help")
    assert shown.returncode == 0 and "Flags:" in shown.stdout and not shown.stderr
    wrong = run_without_tensorflow(name, "--nonsense=1")
    assert wrong.returncode == 1 and wrong.stderr.startswith("error: Unknown command line flag 'nonsense'")
    assert wrong.stderr.count("\n") == 1


@pytest.mark.thorough
def test_a_wrong_name_of_a_choice_comes_before_tensorflow():
    for words, nearest in (
        (("train", "--model=agcan"), "acgan"),
        (("evaluate", "--synthetic_dir=a", "--real_dir=b", "--out_dir=c", "--protocols=tsrt"), "tstr"),
        (("evaluate", "--synthetic_dir=a", "--real_dir=b", "--out_dir=c", "--classifier=vg16"), "vgg16"),
        (("port", "--checkpoint=a", "--out_dir=b", "--format=cxr_pgan"), "cxr_pggan"),
        (("benchmark", "--measure=trian"), "train"),
        (("benchmark", "--model=agcan"), "acgan"),
        (("describe", "cgn"), "cgan"),
        (("trian",), "train"),
    ):
        done = run_without_tensorflow(*words)
        assert done.returncode == 1 and f"did you mean {nearest!r}?" in done.stderr, words


def test_a_missing_folder_comes_before_tensorflow():
    cohort = ["--synthetic_dir=none", "--out_dir=x"]
    for words, flag in (
        (["train"], "--data_dir"),
        (["evaluate", "--real_dir=none", *cohort], "--real_dir"),
        (["evaluate", "--real_dir=none", *cohort], "--test_dir"),
        (["generate", "--saved_model=none", "--out_dir=x"], "--like"),
    ):
        done = run_without_tensorflow(*words, f"{flag}=none")
        assert done.returncode == 1 and "error: data folder none does not exist" in done.stderr, words


def test_the_list_of_names_needs_no_tensorflow():
    listed = run_without_tensorflow("describe")
    assert listed.returncode == 0 and not listed.stderr
    assert all(name in listed.stdout for name in ("acgan", "tstr", "vgg16", "cxr_pggan", "pipeline"))


@pytest.mark.thorough
def test_the_first_line_of_a_model_comes_before_tensorflow():
    command = [sys.executable, "-m", "tfcxr", "describe", "cgan"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith("--model=cgan: CGAN: both networks are told the label")
        printed, logged = process.communicate()
    assert "--set=latent_size=100\n      length of z." in printed
    assert logged == "info: starting TensorFlow\n"
