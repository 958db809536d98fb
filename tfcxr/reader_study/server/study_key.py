"""The study key: a passphrase that every browser gives once, before the consent page.

A reader's link alone does not open a study that other machines reach: links travel by mail and end up in histories.
"""

import hashlib
import hmac
import os
import pathlib
import stat
import threading
import time
from collections.abc import Callable

from absl import logging

COOKIE = "tfcxr_study_key"
MIN_CHARACTERS = 8
MAX_CHARACTERS = 1000
TRIES = 10  # wrong ones of an address before it has to wait
TRY_SECONDS = 600.0
MAX_ADDRESSES = 10_000
ITERATIONS = 200_000


class StudyKey:
    """Compares keys and cookies in constant time, and counts wrong keys; safe to share between threads."""

    def __init__(self, key: str, salt: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Keeps a hash of the key, and what a browser is given for it.

        Args:
          key: the passphrase.
          salt: the design's checksum, so that the cookie of one study opens no other.
          clock: seconds that only grow.
        """
        self._hash = _hashed(key)
        # slow on purpose, so that a stolen cookie does not give the passphrase away
        self.cookie = hashlib.pbkdf2_hmac("sha256", key.encode(), salt.encode(), ITERATIONS).hex()
        self._clock = clock
        self._lock = threading.Lock()
        self._wrong: dict[str, list[float]] = {}

    def has_cookie(self, cookie: str) -> bool:
        """Whether a browser gave the key before."""
        return hmac.compare_digest(cookie.encode(), self.cookie.encode())

    def seconds_to_wait(self, address: str) -> float:
        """How long an address has to wait before its next try, 0 for not at all."""
        now = self._clock()
        with self._lock:
            recent = [moment for moment in self._wrong.get(address, ()) if now - moment < TRY_SECONDS]
            return max(recent[-TRIES] + TRY_SECONDS - now, 0.0) if len(recent) >= TRIES else 0.0

    def is_right(self, key: str, address: str) -> bool:
        """Whether this is the key; a wrong one counts against the address."""
        if hmac.compare_digest(_hashed(key), self._hash):
            return True
        now = self._clock()
        with self._lock:
            self._wrong.setdefault(address, []).append(now)
            self._wrong[address] = self._wrong[address][-TRIES:]
            if len(self._wrong) > MAX_ADDRESSES:
                self._wrong = {who: when for who, when in self._wrong.items() if now - when[-1] < TRY_SECONDS}
        return False


def read_study_key(path: str | os.PathLike) -> str:
    """The passphrase in a file.

    Raises:
      FileNotFoundError: no such file.
      ValueError: a passphrase that is too short or too long.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"--study_key_file={path} does not exist; expected a file that holds the study key")
    if path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        logging.warning("others may read %s; chmod 600 keeps the study key to yourself", path)
    key = path.read_text(encoding="utf-8").strip()
    if not MIN_CHARACTERS <= len(key) <= MAX_CHARACTERS:
        raise ValueError(
            f"the study key in {path} has {len(key)} characters; expected {MIN_CHARACTERS} to {MAX_CHARACTERS}, such "
            "as four words"
        )
    return key


def _hashed(key: str) -> bytes:
    """Of one length whatever the key's."""
    return hashlib.sha256(key.encode()).digest()
