"""Lines up the scores of several reports, and refuses pairs that do not measure the same thing.

Two scores compare where they are of one name and their passports (extractor, real images, settings, number of images)
are equal. Where both reports kept their classifiers' predictions for the same test patients, the difference is tested
by a paired bootstrap: both sides are scored on the same resampled patients, so what is hard for both cancels out.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfcxr.command_line import name_and_path
from tfcxr.evaluation.metrics import METRICS
from tfcxr.evaluation.metrics.classification import patient_resamples, percentile_interval, two_sided_p
from tfcxr.evaluation.metrics.metric import Estimate, LabelScore
from tfcxr.evaluation.report.report_file import read_report
from tfcxr.evaluation.scores import score_labels

RESAMPLES = 1000
SEED = 0
NAMED_BY = ("protocol", "metric", "subject", "extractor", "split", "label", "group")


@dataclasses.dataclass(frozen=True)
class Column:
    """One cohort of one report.

    Attributes:
      name: in the table.
      cohort: as the report calls it.
      folder: of the report.
      report: content of report.json.
    """

    name: str
    cohort: str
    folder: pathlib.Path
    report: Mapping[str, Any]

    def scores(self) -> dict[tuple[str, ...], Mapping[str, Any]]:
        """Rows of the report's scores by what they measure."""
        rows = (row for row in self.report["scores"] if row["cohort"] == self.cohort)
        return {tuple(row[field] for field in NAMED_BY): row for row in rows}


@dataclasses.dataclass(frozen=True)
class Line:
    """One score in two columns.

    Attributes:
      name: values of `NAMED_BY`.
      first: row of the first column's report.
      second: row of another column's.
      refusal: why the two do not compare; "" where they do.
      difference: second - first by a paired bootstrap of test patients, None without predictions of both.
      p: two-sided, of no difference; NaN without a test.
    """

    name: tuple[str, ...]
    first: Mapping[str, Any]
    second: Mapping[str, Any]
    refusal: str = ""
    difference: Estimate | None = None
    p: float = float("nan")


def read_columns(given: Sequence[str]) -> list[Column]:
    """The cohorts of reports that are given as PATH or NAME=PATH, where a path is a report.json or its folder.

    Raises:
      FileNotFoundError: no such report.
      ValueError: a file that is no report, or one of another version.
    """
    columns: list[Column] = []
    for text in given:
        name, path_text = name_and_path(text)
        path, report = read_report(path_text)
        cohorts = report["cohorts"]
        name = name or path.resolve().parent.name
        columns += [Column(name if len(cohorts) == 1 else f"{name}/{c}", c, path.parent, report) for c in cohorts]
    names = [column.name for column in columns]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two reports are called {twice[0]!r}; give each as NAME=PATH")
    if len(columns) < 2:
        raise ValueError(f"expected two reports or more, or one of several cohorts, got {', '.join(names) or 'none'}")
    return columns


def line_up(first: Column, second: Column) -> list[Line]:
    """Every score that both have, in the first one's order."""
    of_first, of_second = first.scores(), second.scores()
    lines = []
    for name, row in of_first.items():
        if name not in of_second:
            continue
        other = of_second[name]
        if refusal := passport_difference(*(_passport(c, r) for c, r in ((first, row), (second, other)))):
            lines.append(Line(name, row, other, refusal))
            continue
        difference, p = _paired_bootstrap(first, second, row)
        lines.append(Line(name, row, other, "", difference, p))
    return lines


def _passport(column: Column, row: Mapping[str, Any]) -> dict[str, Any]:
    return {"images": row["images"], **column.report["passports"][row["passport"]]}


def passport_difference(first: Any, second: Any, field: str = "") -> str:
    """The first field in which two passports differ, with both values; "" where they are equal."""
    if isinstance(first, dict) and isinstance(second, dict):
        for name in dict.fromkeys([*first, *second]):
            inner = f"{field}.{name}" if field else name
            if said := passport_difference(first.get(name), second.get(name), inner):
                return said
        return ""
    return "" if first == second else f"{field} is {_short(first)} and {_short(second)}"


def _short(value: Any) -> str:
    text = "unknown" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _paired_bootstrap(first: Column, second: Column, row: Mapping[str, Any]) -> tuple[Estimate | None, float]:
    """Of a `LabelScore` over all labels and patients, where both reports kept predictions for the same patients."""
    metric = METRICS.get(row["metric"])
    if not isinstance(metric, LabelScore) or row["label"] or row["group"]:
        return None, float("nan")
    kept = [predictions(column.folder, column.cohort, row["split"]) for column in (first, second)]
    if any(side is None or row["subject"] not in side for side in kept):
        return None, float("nan")
    sides = [side for side in kept if side is not None]
    if not all(
        np.array_equal(sides[0][name], sides[1][name], equal_nan=name == "labels") for name in ("labels", "patients")
    ):
        return None, float("nan")
    is_single_label = first.report["protocols"][row["protocol"]][first.cohort]["is_single_label"]
    labels, patients = sides[0]["labels"], sides[0]["patients"]
    weights = np.concatenate([np.ones([1, len(labels)], np.float32), patient_resamples(patients, RESAMPLES, SEED)])
    of_first, of_second = (
        _mean_scores(metric, labels, side[row["subject"]], is_single_label, weights) for side in sides
    )
    differences = of_second - of_first
    if not np.isfinite(differences[1:]).any():
        return None, float("nan")
    difference = Estimate(float(differences[0]), *percentile_interval(differences[1:]))
    return difference, two_sided_p(differences[1:])


def predictions(folder: pathlib.Path, cohort: str, split: str) -> dict[str, np.ndarray] | None:
    """What `tstr` kept beside its report: "labels" float [images, labels], "patients" int [images], and by arm float
    [seeds, images, labels]; None where nothing is kept."""
    path = folder / "predictions" / f"{cohort}-{split}.npz"
    if not path.is_file():
        return None
    with np.load(path) as arrays:
        return dict(arrays)


def _mean_scores(
    metric: LabelScore, labels: np.ndarray, probabilities: np.ndarray, is_single_label: bool, weights: np.ndarray
) -> np.ndarray:
    """Mean over labels and seeds, float64 [rows of weights]."""
    rows = []
    for column in score_labels(range(labels.shape[1]), is_single_label):
        known = ~np.isnan(labels[:, column])
        for probability in probabilities:
            rows.append(metric.score(labels[known, column] == 1, probability[known, column], weights[:, known]))
    scores = np.stack(rows)
    return scores[np.isfinite(scores[:, 0])].mean(axis=0)
