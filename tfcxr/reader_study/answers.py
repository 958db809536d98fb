"""The raw answers of a study: an SQLite file to which rows are only ever added.

Every click is a row: a `change` of an answer, or the `final` one when the reader goes on. Nothing is updated or
deleted; triggers in the file refuse it. Write-ahead logging with full synchronisation keeps what was acknowledged
through `kill -9` and a power cut.
"""

import dataclasses
import datetime
import json
import os
import pathlib
import sqlite3
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal

from tfcxr.reader_study.design_file import ANSWERS_FILE, Design

VERSION = 1
BUSY_SECONDS = 30.0
Event = Literal["change", "final", "consent", "shown", "paused", "viewed"]
SCHEMA = """
CREATE TABLE study (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE answers (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  request TEXT NOT NULL UNIQUE,
  reader TEXT NOT NULL,
  item TEXT NOT NULL,
  event TEXT NOT NULL,
  answer TEXT NOT NULL,
  elapsed_seconds REAL,
  browser_time TEXT NOT NULL,
  server_time TEXT NOT NULL,
  tab TEXT NOT NULL,
  viewport TEXT NOT NULL
) STRICT;
CREATE INDEX of_reader ON answers (reader, item, event);
CREATE UNIQUE INDEX one_final_answer ON answers (reader, item) WHERE event = 'final';
CREATE TRIGGER no_update BEFORE UPDATE ON answers BEGIN SELECT RAISE(ABORT, 'answers are never changed'); END;
CREATE TRIGGER no_delete BEFORE DELETE ON answers BEGIN SELECT RAISE(ABORT, 'answers are never deleted'); END;
"""
COLUMNS = "request, reader, item, event, answer, elapsed_seconds, browser_time, server_time, tab, viewport"


@dataclasses.dataclass(frozen=True)
class Answer:
    """One row.

    Attributes:
      request: unique name that the browser gave the request; sent again, it is stored once.
      reader: key of the reader.
      item: key of the item; "" for an event of none, such as consent.
      event: "change" and "final" carry an answer; "shown", "paused" and "viewed" (zoom, window) tell how it came about.
      answer: grid {"synthetic": [bool per image]}, pair {"real": 0 or 1}, single {"synthetic": bool, "confidence": 1 to
        5, "diagnoses": [str], "marks": [{"x", "y", "width", "height"} as shares of the image]}; all may have "comment".
      elapsed_seconds: since the item was shown, by the browser's monotonic clock without pauses; None where unknown.
      browser_time: of the browser's wall clock, ISO 8601; it may jump, so nothing is computed from it.
      tab: random name of the browser tab.
      viewport: such as {"width": 1920, "height": 1080, "pixel_ratio": 1.0, "zoom": 1.0, "exposure_seconds": 0.5}.
      server_time: when the row was stored, UTC, ISO 8601.
    """

    request: str
    reader: str
    item: str
    event: Event
    answer: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    elapsed_seconds: float | None = None
    browser_time: str = ""
    tab: str = ""
    viewport: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    server_time: str = ""


class AlreadyAnsweredError(ValueError):
    """The item has a final answer, which stays."""


class AnswerStore:
    """The answers of one study; safe to share between threads."""

    def __init__(self, folder: str | os.PathLike, design: Design) -> None:
        """Opens the file, or creates it.

        Raises:
          ValueError: a damaged file, one of another version, or answers to another design.
        """
        self._path = pathlib.Path(folder) / ANSWERS_FILE
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(
                self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._prepare(design)
        except sqlite3.DatabaseError as error:
            raise ValueError(
                f"{self._path} cannot be used ({error}); restore it from a copy, do not delete it"
            ) from error
        self._path.chmod(0o600)

    def add(self, answer: Answer) -> bool:
        """Stores a row; False where the same request is stored already.

        Raises:
          AlreadyAnsweredError: the reader has finished this item.
        """
        row = dataclasses.asdict(answer) | {
            "answer": json.dumps(answer.answer),
            "viewport": json.dumps(answer.viewport),
            "server_time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds"),
        }
        with self._lock, self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            if self._connection.execute("SELECT 1 FROM answers WHERE request = ?", [answer.request]).fetchone():
                return False
            if answer.event in ("change", "final") and self._is_final(answer.reader, answer.item):
                raise AlreadyAnsweredError(f"{answer.item} is answered already; its answer stays as it is")
            places = ", ".join(f":{name.strip()}" for name in COLUMNS.split(","))
            self._connection.execute(f"INSERT INTO answers ({COLUMNS}) VALUES ({places})", row)
        return True

    def finished_items(self, reader: str) -> set[str]:
        """Items that a reader has finished."""
        query = "SELECT item FROM answers WHERE reader = ? AND event = 'final'"
        with self._lock:
            return {item for (item,) in self._connection.execute(query, [reader])}

    def rows(self, reader: str | None = None) -> list[Answer]:
        """All rows in the order in which they were stored, of one reader or of all."""
        where, values = ("WHERE reader = ?", [reader]) if reader is not None else ("", [])
        with self._lock:
            found = self._connection.execute(f"SELECT {COLUMNS} FROM answers {where} ORDER BY id", values).fetchall()
        names = [name.strip() for name in COLUMNS.split(",")]
        return [
            Answer(**(row | {"answer": json.loads(row["answer"]), "viewport": json.loads(row["viewport"])}))
            for row in (dict(zip(names, values, strict=True)) for values in found)
        ]

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> "AnswerStore":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _is_final(self, reader: str, item: str) -> bool:
        query = "SELECT 1 FROM answers WHERE reader = ? AND item = ? AND event = 'final'"
        return self._connection.execute(query, [reader, item]).fetchone() is not None

    def _prepare(self, design: Design) -> None:
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            if not self._connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'study'").fetchone():
                for statement in _statements(SCHEMA):
                    self._connection.execute(statement)
                facts = {"version": str(VERSION), "design_checksum": design.checksum}
                self._connection.executemany("INSERT INTO study VALUES (?, ?)", facts.items())
            found = dict(self._connection.execute("SELECT name, value FROM study"))
        if found.get("version") != str(VERSION):
            raise ValueError(
                f"{self._path} has version {found.get('version')}, this tfcxr reads version {VERSION}; use the tfcxr "
                "that wrote it"
            )
        if found.get("design_checksum") != design.checksum:
            raise ValueError(
                f"{self._path} holds answers to another design than the one beside it; restore that design, or start a "
                "new study in another folder"
            )


def _statements(script: str) -> list[str]:
    """One by one, since executescript would end the transaction."""
    statements, statement = [], ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            statements.append(statement)
            statement = ""
    return statements
