"""Several cohorts of train on synthetic, test on real in one table: what each teaches about each label.

This is the form of table 2 of Segal, Rubin, Rubin, Pantanowitz 2021: embedded, class generated and real images, by AUC.
A label is in the table where the test patients and all trainings have it and lack it; the others are named. The mean
is over the labels of the table, so that all columns have the same ones, with an interval by patient.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.label_checks import MIN_PATIENTS, listed
from tfcxr.evaluation.metrics import metrics_of
from tfcxr.evaluation.metrics.classification import patient_resamples, percentile_interval
from tfcxr.evaluation.metrics.metric import LabelScore
from tfcxr.evaluation.protocols.tstr_arms import ARMS
from tfcxr.evaluation.protocols.tstr_scores import BOOTSTRAP_SEED
from tfcxr.evaluation.report import html
from tfcxr.evaluation.report.report import Findings
from tfcxr.evaluation.report.score import Score
from tfcxr.evaluation.scores import label_rows, score_labels, score_text

PREDICTIONS_FOLDER = "predictions"


@dataclasses.dataclass(frozen=True)
class Column:
    """One kind of training images.

    Attributes:
      name: the cohort, with the arm where that is not "synthetic"; "real".
      cohort: in whose findings it stands.
      arm: of `ARMS`.
      images: that were trained on.
      positives: of these, by label.
    """

    name: str
    cohort: str
    arm: str
    images: int
    positives: Mapping[str, int]


def side_by_side(evaluation: Evaluation, settings: Any, findings: Mapping[str, Findings]) -> Findings:
    """One table per test set of what `tstr` found of several cohorts, from the predictions that it kept."""
    columns = _columns(findings)
    first = next(iter(findings.values()))
    tables = {
        split: _table(evaluation, columns, split, test, settings.bootstrap_resamples)
        for split, test in first.data["tests"].items()
    }
    return Findings(
        title="Cohorts side by side",
        verdict=[sentence for split, table in tables.items() for sentence in _sentences(split, table)],
        data={"columns": [column.name for column in columns], "tests": tables},
        introduction="Trained on each cohort and on real images, tested on the same real patients.",
        parts=[_page_part(split, table) for split, table in tables.items()],
        shared_patients=list(dict.fromkeys(said for found in findings.values() for said in found.shared_patients)),
        scores=_scores(tables, first.data["tests"], len(columns)),
    )


def _columns(findings: Mapping[str, Findings]) -> list[Column]:
    """Every arm of every cohort, and then real images once for each number of them."""
    columns, real = [], {}
    for cohort, found in findings.items():
        sides = {side: found.cohorts[side] or {} for side in ("synthetic", "real")}
        for arm in next(iter(found.data["tests"].values()))["arms"]:
            parts = [sides[side] for side in (("synthetic", "real") if arm == "pretrained" else ARMS[arm])]
            positives = {name: sum(part["positives"][name] for part in parts) for name in found.data["label_names"]}
            name = cohort if arm == "synthetic" else arm if arm == "real" else f"{cohort}, {arm}"
            column = Column(name, cohort, arm, sum(part["images"] for part in parts), positives)
            if arm == "real":
                real.setdefault(column.images, column)
            else:
                columns.append(column)
    if len(real) > 1:
        real = {images: dataclasses.replace(one, name=f"real, {images} images") for images, one in real.items()}
    return [*columns, *real.values()]


def _table(
    evaluation: Evaluation, columns: Sequence[Column], split: str, test: Mapping[str, Any], resamples: int
) -> dict[str, Any]:
    """By label and column {"mean", "interval"}; the same of their "mean", and of its "gain" over the first column."""
    metric = metrics_of(LabelScore)[0]
    kept = {}
    for column in columns:
        with np.load(evaluation.out_dir / PREDICTIONS_FOLDER / f"{column.cohort}-{split}.npz") as arrays:
            kept[column.name] = {name: arrays[name] for name in ("labels", "patients", "label_names", column.arm)}
    known = next(iter(kept.values()))
    names, labels = known["label_names"].tolist(), known["labels"]
    weights = np.concatenate([
        np.ones([1, len(labels)], np.float32), patient_resamples(known["patients"], resamples, BOOTSTRAP_SEED)
    ])  # fmt: skip
    missing = {name: _missing(name, labels[:, index], known["patients"], columns) for index, name in enumerate(names)}
    scored = score_labels(names, evaluation.real_info.is_single_label)
    places = [place for place in scored if not missing[names[place]]]
    rows = {  # [labels, 1 + resamples], means over seeds
        column.name: np.mean([
            label_rows(metric, labels, probability, places, weights) for probability in kept[column.name][column.arm]
        ], axis=0)
        for column in columns
        if places
    }  # fmt: skip
    means = {name: values.mean(axis=0) for name, values in rows.items()}
    gains = {name: values - means[columns[0].name] for name, values in means.items()}
    return {
        "images": test["images"],
        "real": next((column.name for column in columns if column.arm == "real"), ""),
        "training_images": {column.name: column.images for column in columns},
        "labels": {
            names[place]: {
                "positives": int((labels[:, place] == 1).sum()),
                "scores": {name: _summary(values[index]) for name, values in rows.items()},
            }
            for index, place in enumerate(places)
        },
        "mean": {name: _summary(values) for name, values in means.items()},
        "gain": {name: _summary(values) for name, values in gains.items()},
        "not_scored": {names[place]: missing[names[place]] for place in scored if missing[names[place]]},
    }


def _missing(name: str, labels: np.ndarray, patients: np.ndarray, columns: Sequence[Column]) -> str:
    """What a label lacks to be in the table; "" where nothing."""
    for value, has in ((1, "with"), (0, "without")):
        count = len(np.unique(patients[labels == value]))
        if count < MIN_PATIENTS:
            return f"{count} test patients {has} it, at least {MIN_PATIENTS} are needed"
    without = [column.name for column in columns if not 0 < column.positives[name] < column.images]
    return f"{listed(without)} cannot teach it" if without else ""


def _summary(values: np.ndarray) -> dict[str, Any]:
    return {"mean": float(values[0]), "interval": list(percentile_interval(values[1:]))}


def _sentences(split: str, table: Mapping[str, Any]) -> list[str]:
    """The means of all columns, and the labels that are left out."""
    title, count = metrics_of(LabelScore)[0].title, len(table["labels"])
    said = [f"Nothing can be said on real patients of {split}: no label can be taught by all and tested."]
    if count:
        of_what = f"mean {title} over {count} labels" if count > 1 else f"{title} of {next(iter(table['labels']))}"
        means = ", ".join(f"{name} {score_text(summary)}" for name, summary in table["mean"].items())
        said = [f"On real patients of {split}, {of_what}: {means}."]
    if table["not_scored"]:
        said.append(f"Not in the table: {'; '.join(f'{name} ({why})' for name, why in table['not_scored'].items())}.")
    return said


def _page_part(split: str, table: Mapping[str, Any]) -> str:
    metric = metrics_of(LabelScore)[0]
    columns, cells = table["training_images"], lambda scores: [html.estimate(scores[name]) for name in scores]
    rows = [[html.text(label), str(row["positives"]), *cells(row["scores"])] for label, row in table["labels"].items()]
    rows += [["<strong>mean</strong>", "", *cells(table["mean"])]]
    rows += [[f"mean less {html.text(next(iter(columns)))}", "", *cells(table["gain"])]]
    header = [html.metric_header(metric), "positive"]
    header += [f"{html.text(name)} <span class=interval>{images} images</span>" for name, images in columns.items()]
    caption = f"{table['images']} test images; 95 % intervals by patient, the same resamples in all columns"
    return f"<h2>Real patients of {html.text(split)}</h2>{html.table(header, rows, caption) if columns else ''}"


def _scores(tables: Mapping[str, Mapping[str, Any]], tests: Mapping[str, Any], columns: int) -> list[Score]:
    """The means, which stand in no cohort's own scores."""
    metric = metrics_of(LabelScore)[0]
    return [
        Score(
            metric=f"common_{metric.name}",
            value=summary["mean"],
            low=summary["interval"][0],
            high=summary["interval"][1],
            of_real=table["mean"].get(table["real"], {}).get("mean", float("nan")),
            images=table["images"],
            better=metric.better,
            subject=name,
            split=split,
            passport={"labels": list(table["labels"]), "test": tests[split]["sha256"], "columns": columns},
        )
        for split, table in tables.items()
        for name, summary in table["mean"].items()
    ]
