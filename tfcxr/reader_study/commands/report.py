"""Analyses the answers of a reader study: a page for people and report.json for programs.

    python -m tfcxr.reader_study report --study_dir=runs/readers

It may run at any time, also while readers answer, and writes report/report.html and report/report.json into the folder.
"""

import dataclasses

from tfcxr import command_line
from tfcxr.reader_study.design_file import read_design, read_key


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportArguments(command_line.Arguments):
    """What is reported.

    Attributes:
      study_dir: Folder of the study, as `design` wrote it.
      with_real_images: Show real radiographs in the page, which then falls under the terms of their data; else a grey
        box stands for each.
    """

    study_dir: str
    with_real_images: bool = False


def report(arguments: ReportArguments) -> None:
    """Writes the report and prints its verdict.

    Raises:
      FileNotFoundError: no study in the folder, or one without its key.
      ValueError: no finished answer yet, or a file of the study that is damaged or was changed.
    """
    read_key(arguments.study_dir, read_design(arguments.study_dir))  # a wrong folder is said before the slow imports
    from tfcxr.reader_study.report.report import write_report  # SciPy and matplotlib

    made, path = write_report(arguments.study_dir, arguments.with_real_images)
    print("\n".join(filter(None, (made.completeness.simulated, made.missing, made.verdict))))
    print(f"report: {path}")
