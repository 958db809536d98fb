"""What protocols find, written as report.json for programs and one self-contained report.html for people."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfcxr.config import to_plain
from tfcxr.data.atomic import remove_temporary_files, write_atomically
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.kept import plain_json, software_versions, write_json
from tfcxr.evaluation.report import html
from tfcxr.evaluation.report.score import Score

REPORT_FILE = "report.json"
HTML_FILE = "report.html"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Findings:
    """What one protocol found.

    Attributes:
      title: of its part of the page.
      verdict: sentences that answer its question; the first is bold and answers it by itself.
      data: numbers and facts for report.json.
      introduction: HTML of the line below the title.
      parts: HTML of its part of the page.
      cohorts: facts of the cohorts by role; None where there was none.
      shared_patients: sentences on patients seen in training and testing alike.
      notices: sentences that a reader must see.
      scores: its numbers, one by one.
      nearest_pairs: for the grid at the head of the page: synthetic images, and the training image nearest to each;
        both uint8 [pairs, size, size, 1], or None.
    """

    title: str
    verdict: Sequence[str]
    data: Mapping[str, Any]
    introduction: str
    parts: Sequence[str]
    cohorts: Mapping[str, Mapping[str, Any] | None] = dataclasses.field(default_factory=dict)
    shared_patients: Sequence[str] = ()
    notices: Sequence[str] = ()
    scores: Sequence[Score] = ()
    nearest_pairs: tuple[np.ndarray, np.ndarray] | None = None

    def report(self) -> dict[str, Any]:
        """Its part of report.json."""
        names = ("verdict", "shared_patients", "notices", "cohorts")
        facts = {name: getattr(self, name) for name in names} | {"is_patient_disjoint": not self.shared_patients}
        return plain_json({**facts, **self.data})


def prepare_folder(out_dir: pathlib.Path, overwrite: bool) -> None:
    """Removes what a killed evaluation left unfinished.

    Raises:
      ValueError: a report is there that may not be replaced.
    """
    if (out_dir / REPORT_FILE).exists() and not overwrite:
        raise ValueError(
            f"{out_dir} already holds a report; choose another --out_dir or set --overwrite, which uses finished "
            "trainings again"
        )
    remove_temporary_files(out_dir)


def write_report(evaluation: Evaluation, findings: Mapping[str, Findings]) -> dict[str, Any]:
    """Writes report.html, then report.json with the findings of each protocol; returns the latter's content."""
    together = {
        name: list(dict.fromkeys(sentence for found in findings.values() for sentence in getattr(found, name)))
        for name in ("verdict", "shared_patients", "notices")
    }
    classifier, software = to_plain(evaluation.classifier), software_versions()
    sections = [
        html.section(found.title, found.introduction, found.parts, found.cohorts) for found in findings.values()
    ]
    versions = ", ".join(f"{name} {version}" for name, version in software.items())
    sections.append(f"<h2>Classifier</h2>{html.settings_table(classifier)}<p class=small>{html.text(versions)}</p>")
    verdicts = {found.title: found.verdict for found in findings.values()}
    page = html.page(
        "Evaluation of synthetic images", verdicts, together["shared_patients"], together["notices"], sections
    )
    write_atomically(evaluation.out_dir / HTML_FILE, page)
    report = {
        "verdict": together["verdict"],
        "is_patient_disjoint": not together["shared_patients"],
        "classifier": classifier,
        "classifier_seeds": evaluation.classifier_seeds,
        "software": software,
        "protocols": {name: found.report() for name, found in findings.items()},
    }
    write_json(evaluation.out_dir / REPORT_FILE, report)
    return plain_json(report)
