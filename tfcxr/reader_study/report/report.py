"""What a study found: report.json for programs and one self-contained page, report.html, for people.

The report may be made again at any time, also while readers answer; it says first what is missing.
"""

import dataclasses
import datetime
import hashlib
import importlib.metadata
import json
import math
import os
import pathlib
import platform
from collections.abc import Sequence
from typing import Any

import numpy as np

import tfcxr
from tfcxr.data.atomic import write_atomically
from tfcxr.reader_study.answers import Answer, AnswerStore
from tfcxr.reader_study.design_file import (
    ANSWERS_FILE,
    IMAGES_FOLDER,
    KEY_FILE,
    REPORT_FOLDER,
    Design,
    ImageOrigin,
    read_design,
    read_key,
)
from tfcxr.reader_study.readings import Reading, readings
from tfcxr.reader_study.report.completeness import Completeness, completeness
from tfcxr.reader_study.report.misjudged import JudgedCase, misjudged_cases
from tfcxr.reader_study.report.report_page import page
from tfcxr.reader_study.report.verdict import verdict
from tfcxr.reader_study.statistics.analysis import ANALYSES, Analysis

VERSION = 1  # of report.json; raise it when a field changes its meaning or place
REPORT_FILE, PAGE_FILE = "report.json", "report.html"
PACKAGES = ("numpy", "scipy", "matplotlib")


@dataclasses.dataclass(frozen=True)
class Report:
    """All that a study found.

    Attributes:
      title: of the study.
      written: UTC, ISO 8601.
      verdict: the answer in one sentence.
      missing: one sentence on answers that are not there yet; "" where all are.
      completeness: who has finished what.
      analyses: name -> answer; None for one that this study has nothing for.
      misjudged: images that somebody misjudged.
      readings: all that were analysed.
      damaged_images: image -> what is wrong with its file.
      checksums: of design, key and answers: SHA-256, hexadecimal.
      software: versions.
    """

    title: str
    written: str
    verdict: str
    missing: str
    completeness: Completeness
    analyses: dict[str, Analysis | None]
    misjudged: list[JudgedCase]
    readings: list[Reading]
    damaged_images: dict[str, str]
    checksums: dict[str, str]
    software: dict[str, str]


def write_report(study_dir: str | os.PathLike, with_real_images: bool = False) -> tuple[Report, pathlib.Path]:
    """Analyses the answers of a study and writes report/report.html and report/report.json into its folder.

    Args:
      study_dir: folder of a study, see `design_file`.
      with_real_images: whether the page shows real radiographs, which the terms of their data may forbid to pass on;
        else a grey box stands for each.

    Returns:
      the report and the path of its page.

    Raises:
      FileNotFoundError: no study in the folder, or one without its key.
      ValueError: no finished answer yet, or a file of the study that is damaged or was changed.
    """
    folder = pathlib.Path(study_dir)
    design = read_design(folder)
    key = read_key(folder, design)
    answers = _rows(folder, design)
    if not readings(design, key, answers):
        raise ValueError(
            f"{folder} has no finished answer yet; python -m tfcxr.reader_study serve --study_dir={folder} asks readers"
        )
    report = make_report(folder, design, key, answers)
    page_path = folder / REPORT_FOLDER / PAGE_FILE
    write_atomically(page_path, page(report, folder / IMAGES_FOLDER, key, with_real_images))
    write_atomically(folder / REPORT_FOLDER / REPORT_FILE, json.dumps(content(report), indent=1) + "\n")
    return report, page_path


def make_report(folder: pathlib.Path, design: Design, key: dict[str, ImageOrigin], answers: Sequence[Answer]) -> Report:
    """Runs every analysis of the registry on the answers; writes nothing."""
    found = readings(design, key, answers)
    analyses = {name: ANALYSES[name](found) for name in ANALYSES}
    done = completeness(design, answers)
    rows = json.dumps([dataclasses.asdict(answer) for answer in answers], sort_keys=True).encode()
    software = {"tfcxr": tfcxr.__version__, "python": platform.python_version()}
    return Report(
        title=design.title,
        written=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        verdict=verdict(analyses, done.is_complete),
        missing=done.missing,
        completeness=done,
        analyses=analyses,
        misjudged=misjudged_cases(found),
        readings=found,
        damaged_images=_damaged_images(folder / IMAGES_FOLDER, design),
        checksums={
            "design": design.checksum,
            "key": hashlib.sha256((folder / KEY_FILE).read_bytes()).hexdigest(),
            "answers": hashlib.sha256(rows).hexdigest(),
        },
        software=software | {name: importlib.metadata.version(name) for name in PACKAGES},
    )


def content(report: Report) -> dict[str, Any]:
    """What report.json holds: the report without the single readings, NaN and infinity as null."""
    fields = {
        field.name: getattr(report, field.name) for field in dataclasses.fields(report) if field.name != "readings"
    }
    facts = {"version": VERSION, "is_complete": report.completeness.is_complete, "readings": len(report.readings)}
    return plain(facts | fields)


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: dataclasses as dictionaries, NaN and infinity as None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _rows(folder: pathlib.Path, design: Design) -> list[Answer]:
    """All that is stored; the file is not made where there is none."""
    if not (folder / ANSWERS_FILE).exists():
        return []
    with AnswerStore(folder, design) as store:
        return store.rows()


def _damaged_images(folder: pathlib.Path, design: Design) -> dict[str, str]:
    found = {}
    for image, checksum in design.image_sha256.items():
        path = folder / f"{image}.png"
        if not path.is_file():
            found[image] = "is missing"
        elif hashlib.sha256(path.read_bytes()).hexdigest() != checksum:
            found[image] = "was changed after the study was designed"
    return found
