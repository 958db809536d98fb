"""Exports a study as CSV tables and one archive; or, before it starts, its pre-registration.

    python -m tfcxr.reader_study export --study_dir=runs/readers --out_dir=runs/readers_export
    python -m tfcxr.reader_study export --study_dir=runs/readers --out_dir=runs/readers_export --preregistration

The first writes answers.csv (every raw row), readings.csv, data_dictionary.csv and study.zip. Text that a spreadsheet
would run as a formula has an apostrophe in front. The readers' links are never exported.
"""

import dataclasses
import pathlib

from absl import logging

from tfcxr.command_line import Arguments
from tfcxr.reader_study.export.archive import ARCHIVE_FILE
from tfcxr.reader_study.export.export import export_study
from tfcxr.reader_study.export.preregistration import write_preregistration


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportArguments(Arguments):
    """What is exported.

    Attributes:
      study_dir: Folder of the study.
      out_dir: Folder for the files; nothing in it is overwritten.
      preregistration: Write preregistration.md alone: design and planned analysis, before the first answer.
    """

    study_dir: str
    out_dir: str
    preregistration: bool = False


def export(arguments: ExportArguments) -> None:
    """Writes the files and prints where they are.

    Raises:
      FileNotFoundError: no study, a part of it is missing, or nobody has answered.
      ValueError: a file is there already, a damaged or changed study, or no answers yet.
    """
    folder, out_dir = pathlib.Path(arguments.study_dir), pathlib.Path(arguments.out_dir)
    if arguments.preregistration:
        path, answers = write_preregistration(folder, out_dir)
        if answers:
            logging.warning("%d rows of answers were stored before; the text says that it comes after them", answers)
        print(f"{path} is written; deposit it where its date is kept, such as osf.io")
        return
    exported = export_study(folder, out_dir)
    print(
        f"{out_dir}: {exported.answers} raw rows, {exported.readings} readings, and {ARCHIVE_FILE} of "
        f"{len(exported.archived)} files; it has the key and all images, so pass it on as the data-use terms of the "
        "real ones allow"
    )
