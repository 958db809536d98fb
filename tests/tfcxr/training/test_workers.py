import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from tfcxr.training.local_workers import free_addresses, run_local_workers
from tfcxr.training.workers import Agreement, Workers, read_workers

TWO = {"worker": ["one:1", "two:1"]}
TRAIN = ["-m", "tfcxr.train", "--model=vanilla_gan", "--batch_size=8", "--set=generator_units=16,16", "--noexport"]
TRAIN += ["--set=precision=float32", "--log_every=2", "--sample_every=4", "--checkpoint_every=4"]


def test_more_workers_than_the_processors_can_carry_are_refused(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(subprocess, "Popen", pytest.fail)
    with pytest.raises(ValueError, match="--local_workers=5 is more than 2 processors can carry; give at most 4, or"):
        run_local_workers(["-c", "pass"], 5)


@pytest.mark.parametrize(
    "cluster, task, expected",
    [
        (TWO, {"type": "worker", "index": 0}, Workers(0, 2, ("one:1", "two:1"))),
        (TWO, {"type": "worker", "index": 1}, Workers(1, 2, ("one:1", "two:1"))),
        ({"chief": ["c:1"]} | TWO, {"type": "chief", "index": 0}, Workers(0, 3, ("c:1", "one:1", "two:1"))),
        ({"chief": ["c:1"]} | TWO, {"type": "worker", "index": 1}, Workers(2, 3, ("c:1", "one:1", "two:1"))),
        ({"worker": ["one:1"]}, {"type": "worker", "index": 0}, Workers()),
        ({}, {}, Workers()),
    ],
)
def test_workers_are_read_from_the_cluster(monkeypatch, cluster, task, expected):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
    assert read_workers() == expected
    assert expected.is_chief == (expected.index == 0)


def test_one_machine_needs_no_cluster(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert read_workers() == Workers()


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "is no cluster in JSON"),
        ("[1]", "is no cluster in JSON"),
        ('{"cluster": 5}', "is no cluster in JSON"),
        (json.dumps({"cluster": TWO | {"ps": ["p:1"]}, "task": {}}), "has tasks 'ps'; all machines train here"),
        (json.dumps({"cluster": TWO}), "does not say which of its 2 workers this is"),
        (json.dumps({"cluster": TWO, "task": {"type": "worker", "index": 2}}), "says that this is worker 2, which"),
        (json.dumps({"cluster": TWO, "task": {"type": "chief", "index": 0}}), "says that this is chief 0, which"),
    ],
)
def test_a_cluster_that_cannot_be_is_refused(monkeypatch, text, message):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match=message):
        read_workers()


@pytest.mark.parametrize("wishes", [(True, False), (False, True), (False, False)])
def test_one_worker_agrees_with_itself(wishes):
    assert Agreement(None, Workers())(*wishes) == wishes


@pytest.fixture
def start(disc_records, tmp_path):
    """Starts a training in a process of its own."""

    def begin(run, *flags, cluster=""):
        words = [sys.executable, *TRAIN, f"--data_dir={disc_records}", f"--run_dir={tmp_path / run}", *flags]
        return subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=os.environ | {"TF_CONFIG": cluster})

    return begin


def checkpoint(folder, step):
    with np.load(folder / "checkpoints" / f"step-{step:08d}.npz") as arrays:
        return {name: arrays[name] for name in arrays.files if arrays[name].dtype.kind == "f"}


def wait_for(path, process, seconds=180):
    end = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None and time.monotonic() < end, process.stderr.read()
        time.sleep(0.1)


def workers_of(process):
    """Process numbers of the local workers, by their index."""
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    found = {}
    for child in children:
        environment = pathlib.Path(f"/proc/{child}/environ").read_text().split("\0")
        cluster = next(line for line in environment if line.startswith("TF_CONFIG="))
        found[json.loads(cluster.partition("=")[2])["task"]["index"]] = int(child)
    return found


def cluster_of_two():
    addresses = free_addresses(2)
    return [json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": k}}) for k in (0, 1)]


@pytest.mark.thorough
def test_workers_of_other_settings_are_refused_by_all(start):
    first, second = cluster_of_two()
    processes = [start("one", "--steps=4", cluster=first), start("one", "--steps=5", cluster=second)]
    for process in processes:
        errors = process.communicate(timeout=180)[1]
        assert process.returncode == 1
        assert "error: worker 1 was started with other settings, data or versions than worker 0; start all" in errors


@pytest.mark.thorough
def test_a_port_that_is_taken_is_named(start):
    cluster, _ = cluster_of_two()
    address = json.loads(cluster)["cluster"]["worker"][0]
    host, _, port = address.rpartition(":")
    with socket.create_server((host, int(port))):
        process = start("one", "--steps=4", cluster=cluster)
        errors = process.communicate(timeout=180)[1]
    assert process.returncode == 1
    assert "error: worker 0 of 2 did not meet the others (Could not start gRPC server); see that all are" in errors
    assert f"that they reach {address}, and that no other process here has its port" in errors


@pytest.mark.thorough
def test_two_workers_end_where_one_does(start, tmp_path):
    flags = ["--steps=4", "--set=normalization=none"]  # batch normalization would see the rows of each worker
    processes = [start("one", *flags), start("two", *flags, "--local_workers=2")]
    for process in processes:
        assert process.wait() == 0, process.stderr.read()
    one, two = checkpoint(tmp_path / "one", 4), checkpoint(tmp_path / "two", 4)
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_allclose(two[name], one[name], rtol=1e-3, atol=2e-5, err_msg=name)
    logs = [[json.loads(line) for line in (tmp_path / run / "metrics.jsonl").open()] for run in ("one", "two")]
    for line_of_one, line_of_two in zip(*logs, strict=True):
        assert line_of_two == pytest.approx(line_of_one, rel=1e-3)


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="finds the workers in /proc")
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_worker_ends_all_and_resuming_gives_the_same_bits(start, tmp_path, killed):
    whole = start("whole", "--steps=12", "--local_workers=2")
    broken = start("broken", "--steps=100000", "--local_workers=2")
    wait_for(tmp_path / "broken" / "checkpoints" / "step-00000008.npz", broken)
    os.kill(workers_of(broken)[killed], signal.SIGKILL)
    errors = broken.communicate(timeout=120)[1]
    assert broken.returncode == 128 + signal.SIGKILL
    assert f"error: worker {1 - killed} of 2 lost another one" in errors, errors
    assert whole.wait() == 0, whole.stderr.read()
    for path in (tmp_path / "broken" / "checkpoints").glob("step-*.npz"):
        if int(path.stem.partition("-")[2]) > 8:
            path.unlink()  # it may have gone on past the last step
    resumed = start("broken", "--steps=12", "--local_workers=2", "--resume")
    assert resumed.wait() == 0, resumed.stderr.read()
    one, other = checkpoint(tmp_path / "whole", 12), checkpoint(tmp_path / "broken", 12)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="finds the workers in /proc")
def test_a_signal_to_any_worker_ends_all_in_order(start, tmp_path):
    process = start("run", "--steps=100000", "--local_workers=2")
    wait_for(tmp_path / "run" / "checkpoints" / "step-00000004.npz", process)
    os.kill(workers_of(process)[1], signal.SIGTERM)
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == 0 and "stopped and saved at step" in errors, errors
