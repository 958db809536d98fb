"""What protocols find, as report.json and scores.csv for programs and one self-contained report.html for people.

`report.schema.json` beside this file describes report.json (JSON Schema 2020-12).
"""

import csv
import dataclasses
import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfcxr.config import to_plain
from tfcxr.data.atomic import remove_temporary_files, write_atomically
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.kept import key_of, plain_json, software_versions, write_json
from tfcxr.evaluation.report import html, plots
from tfcxr.evaluation.report.score import Score

VERSION = 1  # of report.json; raise it when a field changes its meaning or place
REPORT_FILE = "report.json"
HTML_FILE = "report.html"
SCORES_FILE = "scores.csv"
TITLE = "Evaluation of synthetic images"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Findings:
    """What one protocol found.

    Attributes:
      title: of its part of the page.
      verdict: sentences that answer its question; the first answers it by itself and stands at the head of the page.
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """What one protocol found of one cohort.

    Attributes:
      protocol: its name.
      cohort: its name; the names of all, with commas between, of a protocol that takes all at once.
      findings: what it found.
      seconds: that it took.
    """

    protocol: str
    cohort: str
    findings: Findings
    seconds: float = 0.0


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


def write_report(
    evaluation: Evaluation,
    answers: Sequence[Answer],
    unanswered: Sequence[str] = (),
    pictures: Mapping[str, np.ndarray] | None = None,
) -> dict[str, Any]:
    """Writes report.html, scores.csv and then report.json; returns the content of the last.

    Args:
      answers: of all protocols.
      unanswered: sentences on protocols that could say nothing of these data.
      pictures: rows of the grid at the head of the page by name, uint8 [images, size, size, 1].
    """
    software, (rows, passports) = software_versions(), _score_rows(answers)
    report = plain_json({
        "version": VERSION,
        "verdict": _together(answers, "verdict"),
        "is_patient_disjoint": not _together(answers, "shared_patients"),
        "unanswered": unanswered,
        "cohorts": list(evaluation.synthetic_dirs),
        "classifier": to_plain(evaluation.classifier),
        "classifier_seeds": evaluation.classifier_seeds,
        "extractors": evaluation.extractors,
        "software": software,
        "protocols": {
            protocol: {
                answer.cohort: {**answer.findings.report(), "seconds": round(answer.seconds, 1)}
                for answer in answers
                if answer.protocol == protocol
            }
            for protocol in dict.fromkeys(answer.protocol for answer in answers)
        },
        "scores": rows,
        "passports": passports,
    })  # fmt: skip
    write_atomically(evaluation.out_dir / HTML_FILE, _page(evaluation, answers, unanswered, pictures or {}))
    write_atomically(evaluation.out_dir / SCORES_FILE, _csv(report["scores"]))
    write_json(evaluation.out_dir / REPORT_FILE, report)
    return report


def _together(answers: Sequence[Answer], name: str) -> list[str]:
    """Sentences of all answers, each once."""
    return list(dict.fromkeys(sentence for answer in answers for sentence in getattr(answer.findings, name)))


def _score_rows(answers: Sequence[Answer]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """All scores, and the passports that they name by key."""
    rows, passports = [], {}
    for answer in answers:
        for score in answer.findings.scores:
            passport = plain_json(score.passport)
            key = key_of(passport)[:16]
            passports[key] = passport
            facts = {field.name: getattr(score, field.name) for field in dataclasses.fields(score)}
            rows.append({"cohort": answer.cohort, "protocol": answer.protocol, **facts, "passport": key})
    return rows, passports


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """One score per line; an empty cell is no value."""
    text = io.StringIO()
    names = ("cohort", "protocol", *(field.name for field in dataclasses.fields(Score) if field.name != "is_headline"))
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _page(
    evaluation: Evaluation,
    answers: Sequence[Answer],
    unanswered: Sequence[str],
    pictures: Mapping[str, np.ndarray],
) -> str:
    cohorts = list(dict.fromkeys(answer.cohort for answer in answers))
    verdicts = {
        cohort: {answer.findings.title: answer.findings.verdict[0] for answer in answers if answer.cohort == cohort}
        for cohort in cohorts
    }
    head = [html.headline_table([(answer.cohort, answer.findings.scores) for answer in answers])]
    if pictures:
        grid = html.picture(plots.image_rows(pictures), ", ".join(pictures))
        head.insert(0, f"{grid}<p class=small>From above: {html.text('; '.join(pictures))}.</p>")
    sections = [
        html.section(
            answer.findings.title if len(cohorts) == 1 else f"{answer.findings.title}: {answer.cohort}",
            answer.findings.introduction,
            [html.sentences(answer.findings.verdict), *answer.findings.parts],
            answer.findings.cohorts,
        )
        for answer in answers
    ]
    versions = ", ".join(f"{name} {version}" for name, version in software_versions().items())
    settings = html.settings_table(to_plain(evaluation.classifier))
    sections.append(f"<h2>Classifier</h2>{settings}<p class=small>{html.text(versions)}</p>")
    notices = [*(f"Not answered. {sentence}" for sentence in unanswered), *_together(answers, "notices")]
    return html.page(TITLE, verdicts, _together(answers, "shared_patients"), head, notices, sections)
