import logging
import re
import socket
import subprocess
import sys

import pytest

from tfcxr.training.local_workers import free_addresses
from tfcxr.training.meeting import absent_workers, waiting_for_others
from tfcxr.training.workers import Workers

WAIT = """
import sys, time
from tfcxr import command_line
from tfcxr.training.meeting import waiting_for_others
from tfcxr.training.workers import Workers

with waiting_for_others(Workers(0, 2, tuple(sys.argv[1:])), wait_seconds=0.5, say_seconds=0.2):
    time.sleep(60)
"""


@pytest.mark.thorough
def test_a_worker_that_never_comes_is_named_and_ends_the_wait():
    addresses = free_addresses(2)
    ended = subprocess.run([sys.executable, "-c", WAIT, *addresses], capture_output=True, text=True, timeout=50)
    assert ended.returncode == 1
    assert re.search(rf"worker 0 of 2 has waited \d s; absent: worker 1 at {addresses[1]}\n", ended.stderr)
    assert f"minutes for the other workers; absent: worker 1 at {addresses[1]}. Start all of them" in ended.stderr


def test_those_that_have_come_are_not_named():
    addresses = free_addresses(3)
    host, _, port = addresses[2].rpartition(":")
    with socket.create_server((host, int(port))):
        assert absent_workers(Workers(0, 3, tuple(addresses))) == [f"worker 1 at {addresses[1]}"]
    assert absent_workers(Workers(1, 2, ("nowhere.invalid:1", "me:1"))) == ["worker 0 at nowhere.invalid:1"]
    assert absent_workers(Workers(1, 2, ("no port", "me:1"))) == ["worker 0 at no port"]


def test_nothing_is_said_once_they_have_met(caplog):
    with caplog.at_level(logging.INFO), waiting_for_others(Workers(), wait_seconds=0.0, say_seconds=5.0):
        pass
    assert not caplog.records
