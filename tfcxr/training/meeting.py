"""What is said while several workers wait for each other, and when they have waited long enough."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator

from absl import logging

from tfcxr.training.workers import Workers

WAIT_SECONDS = 15 * 60.0
SAY_SECONDS = 30.0
_CONNECT_SECONDS = 3.0


@contextlib.contextmanager
def waiting_for_others(
    workers: Workers, wait_seconds: float = WAIT_SECONDS, say_seconds: float = SAY_SECONDS
) -> Iterator[None]:
    """Names the workers that have not come, every half minute, while the block waits for them.

    After `wait_seconds` the process is ended with status 1: TensorFlow waits where no exception reaches it, and nothing
    has been begun yet.
    """
    has_met = threading.Event()

    def watch() -> None:
        start = time.monotonic()
        while not has_met.wait(say_seconds):
            waited = time.monotonic() - start
            absent = ", ".join(absent_workers(workers)) or "none by its port"
            if waited >= wait_seconds:
                logging.error(
                    "waited %.0f minutes for the other workers; absent: %s. Start all of them with the same TF_CONFIG "
                    "within that time, where they reach each other",
                    *(waited / 60, absent),
                )
                logging.flush()
                os._exit(1)
            logging.warning(
                "worker %d of %d has waited %.0f s; absent: %s", workers.index, workers.count, waited, absent
            )

    thread = threading.Thread(target=watch, name="waiting for others", daemon=True)
    thread.start()
    try:
        yield
    finally:
        has_met.set()
        thread.join()


def absent_workers(workers: Workers) -> list[str]:
    """The others that nothing answers for, such as "worker 1 at host:2222"."""
    return [
        f"worker {index} at {address}"
        for index, address in enumerate(workers.addresses)
        if index != workers.index and not _answers(address)
    ]


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS):
            return True
    except (OSError, ValueError):
        return False
