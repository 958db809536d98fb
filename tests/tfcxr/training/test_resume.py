"""Exact resume: runs killed at random moments end with the same bits as one that was never interrupted.

`TFCXR_KILL_SEED`, which a failing test prints, repeats its moments.
"""

import os
import pathlib
import random
import re
import subprocess
import sys
import time

import numpy as np
import pytest

SEED_VARIABLE = "TFCXR_KILL_SEED"
DRIVER = pathlib.Path(__file__).with_name("killed_runs.py")


def run(data_dir, run_dir, *delays):
    command = [sys.executable, str(DRIVER), str(data_dir), str(run_dir), *map(str, delays)]
    started = time.monotonic()
    result = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert result.returncode == 0, result.stderr[-3000:]
    lines = result.stdout.splitlines()
    assert lines[-1] == "finished 0", result.stderr[-3000:]
    return lines[:-1], time.monotonic() - started


@pytest.fixture(scope="module")
def uninterrupted(disc_records, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    _, seconds = run(disc_records, run_dir)
    return run_dir, seconds


def assert_same_run(first: pathlib.Path, second: pathlib.Path):
    names = [path.name for path in sorted((first / "checkpoints").iterdir())]
    assert names == [path.name for path in sorted((second / "checkpoints").iterdir())]
    assert "step-00000051.npz" in names
    for name in names:
        with np.load(first / "checkpoints" / name) as one, np.load(second / "checkpoints" / name) as other:
            assert one.files == other.files
            for entry in one.files:
                np.testing.assert_array_equal(one[entry], other[entry], err_msg=f"{name} {entry}")
    assert (first / "metrics.jsonl").read_bytes() == (second / "metrics.jsonl").read_bytes()
    samples = sorted(path.name for path in (first / "samples").iterdir())
    assert samples == sorted(path.name for path in (second / "samples").iterdir()) != []
    for name in samples:
        assert (first / "samples" / name).read_bytes() == (second / "samples" / name).read_bytes()


@pytest.mark.parametrize(
    "kills", [pytest.param(3, marks=pytest.mark.thorough), pytest.param(10, marks=pytest.mark.slow)]
)
def test_killed_at_random_moments_and_inside_a_checkpoint_write(disc_records, uninterrupted, tmp_path, kills):
    whole, seconds = uninterrupted
    seed = int(os.environ.get(SEED_VARIABLE) or time.time_ns() % 10**9)
    generator = random.Random(seed)
    delays = [f"{generator.uniform(0.05, 1.0) * seconds:.2f}" for _ in range(kills)]
    delays.insert(generator.randrange(1, kills), "checkpoint")
    print(f"{SEED_VARIABLE}={seed}: kills after seconds: {delays}")
    lines, _ = run(disc_records, tmp_path / "run", *delays)
    assert [line.split()[0] for line in lines] == ["killed"] * (kills + 1), "no child was done before it was killed"
    at_checkpoint = lines[delays.index("checkpoint")]
    assert "step-" in at_checkpoint, "this kill must leave a half-written checkpoint"
    assert_same_run(whole, tmp_path / "run")


@pytest.mark.thorough
def test_ctrl_c_saves_and_says_how_to_continue(disc_records, uninterrupted, tmp_path):
    whole, _ = uninterrupted
    run_dir = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, str(DRIVER), str(disc_records), str(run_dir), "ctrl-c"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    output, errors = process.communicate(timeout=400)
    stopped, finished = output.splitlines()
    assert stopped.startswith("ended 0"), errors
    assert finished == "finished 0", errors
    assert re.search(r"stopped and saved at step \d+; continue with: python -m tfcxr.train .*--resume", errors)
    assert_same_run(whole, run_dir)
