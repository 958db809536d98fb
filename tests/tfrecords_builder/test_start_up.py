"""What the commands import, and that nothing but their own lines reaches the terminal. Each runs in a process."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

TENSORFLOW = {"tensorflow", "keras", "torch", "jax"}
HEAVY = TENSORFLOW | {"sklearn", "scipy", "iterstrat", "matplotlib", "pydicom", "apache_beam"}
# Python runs it at the start of every process, the workers' too: at its end, a file tells what was imported.
WITNESS = """
import atexit, json, multiprocessing, os, pathlib, sys
def witness():
    resident = [line for line in open("/proc/self/status") if line.startswith("VmHWM")][0].split()[1]
    found = {"modules": list(sys.modules), "resident_mib": int(resident) / 1024}
    found["is_worker"] = multiprocessing.parent_process() is not None
    (pathlib.Path(__file__).parent / f"{os.getpid()}.json").write_text(json.dumps(found))
atexit.register(witness)
"""


@pytest.fixture
def run(tmp_path):
    """A function: words of a command line -> the finished process, and what each of its processes imported."""
    (tmp_path / "witness").mkdir()
    (tmp_path / "witness" / "sitecustomize.py").write_text(WITNESS)
    paths = [str(tmp_path / "witness"), str(pathlib.Path(__file__).parents[2])]
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}

    def run_command(*words):
        for file in (tmp_path / "witness").glob("*.json"):
            file.unlink()
        done = subprocess.run(
            [sys.executable, "-m", "tfrecords_builder", *words],
            env=environment | {"PYTHONPATH": os.pathsep.join(paths)},
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        return done, [json.loads(file.read_text()) for file in (tmp_path / "witness").glob("*.json")]

    return run_command


@pytest.mark.thorough
def test_data_are_built_and_looked_after_without_tensorflow(run, tmp_path):
    small = ("--dataset=phantom", "--image_sizes=32", "--set=image_size=32", "--split_by=hash")
    built, processes = run(*small, "--out_dir=a", "--set=images=120", "--workers=2")
    assert built.returncode == 0, built.stderr
    workers = [process for process in processes if process["is_worker"]]
    assert len(workers) == 2 and len(processes) > 2
    for process in processes:
        assert not TENSORFLOW & set(process["modules"])
    for worker in workers:
        assert not HEAVY & set(worker["modules"])
        assert worker["resident_mib"] < 250
    other, _ = run(*small, "--out_dir=b", "--set=images=20", "--set=seed=1")
    assert other.returncode == 0, other.stderr
    merge = ("merge", "a/32", "b/32", "--out_dir=c", "--workers=2")
    convert = ("convert", "a/32", "--to=png", "--out_dir=d")
    for words in (("verify", "a", "--against=b"), ("inspect", "a"), merge, convert):
        done, processes = run(*words)
        assert processes and not any(TENSORFLOW & set(process["modules"]) for process in processes), words
        for worker in (process for process in processes if process["is_worker"]):
            assert not HEAVY & set(worker["modules"]) and worker["resident_mib"] < 250, words
        assert "Traceback" not in done.stderr
        lines = [*built.stderr.splitlines(), *done.stderr.splitlines()]
        assert all(line.startswith(("info: ", "warning: ", "error: ")) for line in lines), lines


@pytest.mark.thorough
@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["verify", "--help"],
        ["inspect", "--help"],
        ["merge", "--help"],
        ["convert", "--help"],
        ["describe"],
        ["describe", "nih_chestxray14"],
        ["--dataset=phantom", "--imge_sizes=64"],
        ["--dataset=nhi", "--out_dir=x"],
        ["verfy"],
    ],
    ids=" ".join,
)
def test_help_and_mistakes_are_answered_at_once(run, words):
    done, (process,) = run(*words)
    assert not HEAVY & set(process["modules"])
    assert done.returncode == ("--help" not in words and words[0] != "describe")
    assert done.stderr.count("\n") == done.returncode
