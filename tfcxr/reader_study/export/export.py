"""Exports a study: raw answers and readings as CSV, their data dictionary, and one archive of everything.

All of it is made from one copy of the answers, so the files agree even while readers go on.
"""

import contextlib
import dataclasses
import pathlib
import sqlite3
import tempfile

from tfcxr.data.atomic import write_atomically
from tfcxr.reader_study.answers import AnswerStore
from tfcxr.reader_study.design_file import ANSWERS_FILE, read_design, read_key
from tfcxr.reader_study.export.archive import ARCHIVE_FILE, copy_answers, write_archive
from tfcxr.reader_study.export.csv_tables import data_dictionary, table
from tfcxr.reader_study.export.table_columns import answer_columns, reading_columns
from tfcxr.reader_study.readings import readings

ANSWERS_CSV, READINGS_CSV, DICTIONARY_CSV = "answers.csv", "readings.csv", "data_dictionary.csv"


@dataclasses.dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
      answers: raw rows.
      readings: judgements that count.
      archived: names of the files in the archive.
    """

    answers: int
    readings: int
    archived: tuple[str, ...]


def export_study(folder: pathlib.Path, out_dir: pathlib.Path) -> Exported:
    """Writes answers.csv, readings.csv, data_dictionary.csv and study.zip.

    Raises:
      FileNotFoundError: no study, nobody has answered, or an image is missing.
      ValueError: one of the files is in `out_dir` already, no answers yet, or a damaged or changed study.
    """
    for name in (ARCHIVE_FILE, ANSWERS_CSV, READINGS_CSV, DICTIONARY_CSV):
        if (out_dir / name).exists():
            raise ValueError(f"{out_dir / name} exists, and an export is never overwritten; name another --out_dir")
    design = read_design(folder)
    key = read_key(folder, design)
    with tempfile.TemporaryDirectory(prefix="tfcxr_export_") as name:
        copy = pathlib.Path(name) / ANSWERS_FILE
        copy_answers(folder, copy)
        with AnswerStore(copy.parent, design) as store:
            rows = store.rows()
        if not rows:
            raise ValueError(f"{folder} has no answers yet; --preregistration exports its plan")
        _end_logging(copy)
        found = readings(design, key, rows)
        columns_of_answers, columns_of_readings = answer_columns(design), reading_columns()
        tables = {
            ANSWERS_CSV: table(columns_of_answers, rows),
            READINGS_CSV: table(columns_of_readings, found),
            DICTIONARY_CSV: data_dictionary({ANSWERS_CSV: columns_of_answers, READINGS_CSV: columns_of_readings}),
        }
        archived = write_archive(folder, design, out_dir / ARCHIVE_FILE, copy, tables)
    for name, text in tables.items():
        write_atomically(out_dir / name, text)
    return Exported(len(rows), len(found), tuple(archived))


def _end_logging(copy: pathlib.Path) -> None:
    """Makes the file whole without those beside it; `AnswerStore` has turned write-ahead logging on."""
    with contextlib.closing(sqlite3.connect(copy)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
