"""Reads report.json, of this version only."""

import json
import os
import pathlib
from typing import Any

from tfcxr.evaluation.report.report import REPORT_FILE, VERSION


def read_report(path: str | os.PathLike) -> tuple[pathlib.Path, dict[str, Any]]:
    """The path and the content of a report.json, which may be given as its folder.

    Raises:
      FileNotFoundError: no such file.
      ValueError: a file that is no report, or one of another version.
    """
    path = pathlib.Path(path)
    path = path / REPORT_FILE if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"report {path} does not exist; python -m tfcxr.evaluate writes one")
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no report of python -m tfcxr.evaluate: {error}") from error
    if not isinstance(report, dict) or "protocols" not in report:
        raise ValueError(f"{path} is no report of python -m tfcxr.evaluate: it holds no protocols")
    if report.get("version") != VERSION:
        raise ValueError(
            f"{path} is a report of version {report.get('version', 'unknown')}, expected {VERSION}; evaluate again "
            "with --overwrite, which uses finished trainings again"
        )
    return path, report
