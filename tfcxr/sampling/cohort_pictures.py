"""A cohort as PNG or DICOM files, for whoever reads no TFRecords.

    write_cohort_pictures("cohorts/acgan", "png", {"seed": 0}, lambda folder: generate_cohort(model, labels, folder))

Its records stand in `unfinished_cohort/` until the pictures are written, so that a command that was killed resumes with
the shards that are finished. The pictures are in `cohorts/acgan/png/`, which appears when all are there.
"""

import os
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

from tfcxr.data.picture_folder import PICTURE_FORMATS, write_pictures
from tfcxr.data.schema import INFO_FILE
from tfcxr.data.unfinished import ResumableWork, resumable_work


def write_cohort_pictures(
    out_dir: str | os.PathLike,
    picture_format: str,
    arguments: dict[str, Any],
    generate: Callable[[pathlib.Path], object],
) -> pathlib.Path:
    """Generates a cohort, and writes it as pictures alone.

    Args:
      picture_format: name in `PICTURE_FORMATS`.
      arguments: JSON values, all that the pictures depend on, with their format.
      generate: writes the cohort's records below a folder, and resumes there.

    Returns:
      the folder of the pictures, see `tfcxr.data.picture_folder`.

    Raises:
      FileExistsError: the pictures are there already, or the folder holds a data set.
      ValueError: it holds an unfinished cohort of other arguments.
      ImportError: pydicom is not installed.
      OSError: the disk is full, or a file may not be written.
    """
    PICTURE_FORMATS[picture_format]  # imported now: what is not installed is said before anything is generated
    folder = pathlib.Path(out_dir) / picture_format
    with resumable_work(out_dir, "cohort", []) as work:
        if folder.exists() and not work.arguments_path.is_file():
            raise FileExistsError(f"{folder} is there already; remove it or choose another --out_dir")
        work.start(arguments)
        records = work.folder / "records"
        if not folder.exists():
            if not any(records.glob(f"*/{INFO_FILE}")):
                _generate(generate, records, work)
            (info_path,) = records.glob(f"*/{INFO_FILE}")
            write_pictures(info_path.parent, folder, picture_format)
        if records.exists():
            shutil.rmtree(records)
    return folder


def _generate(generate: Callable[[pathlib.Path], object], records: pathlib.Path, work: ResumableWork) -> None:
    try:
        generate(records)
    except BaseException:
        if not records.exists():  # a wrong flag: the next command may have others
            work.give_up()
        raise
