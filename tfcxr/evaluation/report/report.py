"""What protocols find, written as report.json for programs and one self-contained report.html for people."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from tfcxr.data.atomic import remove_temporary_files, write_atomically
from tfcxr.evaluation.report.page import page, section
from tfcxr.evaluation.report.plain import json_text, plain_json

REPORT_FILE = "report.json"
HTML_FILE = "report.html"


@dataclasses.dataclass(frozen=True)
class Findings:
    """What one protocol found.

    Attributes:
      title: of its part of the page.
      version: of the protocol.
      verdict: sentences that answer its question.
      shared_patients: sentences on patients seen in training and testing alike.
      notices: sentences that a reader must see.
      data: everything else for report.json.
      introduction: HTML of the line below the title.
      parts: HTML of its part of the page.
    """

    title: str
    version: int
    verdict: Sequence[str]
    shared_patients: Sequence[str]
    notices: Sequence[str]
    data: Mapping[str, Any]
    introduction: str
    parts: Sequence[str]

    def report(self) -> dict[str, Any]:
        """Its part of report.json."""
        return plain_json(
            {
                "version": self.version,
                "verdict": self.verdict,
                "is_patient_disjoint": not self.shared_patients,
                "shared_patients": self.shared_patients,
                "notices": self.notices,
                **self.data,
            }
        )


def prepare_folder(out_dir: pathlib.Path, overwrite: bool) -> None:
    """Makes the folder of a report and removes what a killed evaluation left unfinished.

    Raises:
      ValueError: a report is there that may not be replaced.
    """
    if (out_dir / REPORT_FILE).exists() and not overwrite:
        raise ValueError(
            f"{out_dir} already holds a report; choose another --out_dir or set --overwrite, which uses finished "
            "trainings again"
        )
    remove_temporary_files(out_dir)


def write_report(out_dir: pathlib.Path, findings: Mapping[str, Findings]) -> tuple[pathlib.Path, dict[str, Any]]:
    """Writes report.json, with the findings of each protocol, and report.html.

    Returns:
      the path of report.html, and the content of report.json.
    """
    verdict = [sentence for found in findings.values() for sentence in found.verdict]
    shared = list(dict.fromkeys(sentence for found in findings.values() for sentence in found.shared_patients))
    notices = list(dict.fromkeys(sentence for found in findings.values() for sentence in found.notices))
    sections = [section(found.title, found.introduction, found.parts) for found in findings.values()]
    write_atomically(out_dir / HTML_FILE, page("Evaluation of synthetic images", verdict, shared, notices, sections))
    report = {
        "verdict": verdict,
        "is_patient_disjoint": not shared,
        "protocols": {name: found.report() for name, found in findings.items()},
    }
    write_atomically(out_dir / REPORT_FILE, json_text(report))
    return out_dir / HTML_FILE, report
