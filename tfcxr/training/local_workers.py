"""Several workers on this machine, to try what several machines will do."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from tfcxr.threads import OTHERS

POLL_SECONDS = 0.2
WORKERS_PER_PROCESSOR = 2  # more of them wait for each other, and each takes a gigabyte
GRACE_SECONDS = 60.0  # for the others, when one worker has failed


def run_local_workers(words: Sequence[str], count: int) -> int:
    """Runs `python WORDS` as `count` workers that train together, each with its share of the processor's threads.

    A signal that this process gets goes to the chief, which ends all of them in order. When one fails, the others
    notice by themselves; those that have not after a minute are ended.

    Returns:
      the exit status of the first worker that failed, 128 + N where signal N ended it; 0 where none failed.

    Raises:
      ValueError: more workers than this machine's processors can carry.
    """
    processors = os.cpu_count() or 1
    if count > (most := max(2, WORKERS_PER_PROCESSOR * processors)):
        raise ValueError(
            f"--local_workers={count} is more than {processors} processors can carry; give at most {most}, or use "
            "several machines by TF_CONFIG"
        )
    addresses = free_addresses(count)
    threads = dict.fromkeys(OTHERS, str(max(1, processors // count)))
    workers = []
    for index in range(count):
        cluster = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        environment = threads | os.environ | {"TF_CONFIG": json.dumps(cluster)}
        workers.append(subprocess.Popen([sys.executable, *words], env=environment))

    def pass_on(number: int, frame: Any) -> None:
        workers[0].send_signal(signal.SIGTERM)

    before = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, pass_on),
        signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),  # the terminal tells the workers too
    }
    failed, since = 0, time.monotonic()
    try:
        while any(worker.poll() is None for worker in workers):
            time.sleep(POLL_SECONDS)
            statuses = [worker.poll() for worker in workers]
            if not failed:
                failed, since = next((status for status in statuses if status), 0), time.monotonic()
            elif time.monotonic() - since > GRACE_SECONDS:
                for worker in workers:
                    worker.kill()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    failed = failed or next((worker.returncode for worker in workers if worker.returncode), 0)
    return 128 - failed if failed < 0 else failed


def free_addresses(count: int) -> list[str]:
    """Addresses of this machine that nothing listens at."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return addresses
