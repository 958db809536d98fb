"""The page of synthetic-train/real-test: scores by arm, diversity, curves and pictures."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfcxr.data.stored_images import StoredImages
from tfcxr.protocols.plots import ARM_COLOURS, curves_plot, roc_plot, sample_grid
from tfcxr.protocols.report_page import cohort_table, page, picture, settings_table, software_text, table, text
from tfcxr.protocols.scores import score_labels

DIVERSITY_TEXT = """A generator that draws one picture a class can still train a fair classifier. Here two images of
one class are compared: mean MS-SSIM of random pairs (1 = all the same), and mean distance between features of the last
hidden layer of the classifiers trained on real images (0 = all the same). Ratios near 1 mean that synthetic images vary
as real ones do; a ratio far below 1 means collapse. The column of real test images shows by how much the distance
differs between real images that the classifier was trained on and others."""
INTERVAL_TEXT = """The test patients were resampled with replacement {resamples} times, with all their images, and with
the same draws for every arm and seed. In each resample a score is the mean over the classifier's seeds; the interval is
the middle 95 % of these means. It covers which patients were tested, not the classifier's random start (that is the
range over seeds) nor the choice of training images. A ratio compares both arms on the same resampled patients."""
SHARED_VALIDATION_TEXT = """Every arm stopped, and chose its threshold, on the same real validation patients, so the
synthetic arm saw them too."""
OWN_VALIDATION_TEXT = """Each arm kept back a share of its own training images (real ones by patient) to stop and to
choose its threshold."""


@dataclasses.dataclass(frozen=True)
class ReportPictures:
    """What the plots are drawn from.

    Attributes:
      synthetic, real: uint8 [images, size, size, 1]; synthetic_labels, real_labels: float [images, labels].
      test_labels: float [images, labels] by split. probabilities: by arm and split, float [images, labels] a seed.
    """

    synthetic: np.ndarray | StoredImages
    synthetic_labels: np.ndarray
    real: np.ndarray | StoredImages
    real_labels: np.ndarray
    test_labels: dict[str, np.ndarray]
    probabilities: dict[str, dict[str, list[np.ndarray]]]


def render_html(report: Mapping[str, Any], pictures: ReportPictures) -> str:
    """The whole page, from what `plain_json` made of a report."""
    introduction = (
        f"{report['images_a_side']} training images on each side, "
        f"{text(report['passport']['classifier']['architecture'])}, "
        f"{len(report['passport']['classifier_seeds'])} trainings an arm."
    )
    parts = [
        *(_test_section(report, split, pictures) for split in report["tests"]),
        _diversity_section(report),
        "<h2>Training curves</h2>",
        "<p class=small>Solid: validation loss. Dashed: training loss. Dot: the epoch that was kept.</p>",
        picture(curves_plot(report["trainings"]), "training curves"),
        "<h2>Training images</h2><h3>Synthetic</h3>",
        picture(sample_grid(pictures.synthetic, pictures.synthetic_labels, report["label_names"]), "synthetic images"),
        "<h3>Real</h3>",
        picture(sample_grid(pictures.real, pictures.real_labels, report["label_names"]), "real images"),
        _method_section(report),
    ]
    return page("Synthetic-train/real-test", introduction, report, "scores", parts)


def _test_section(report: Mapping[str, Any], split: str, pictures: ReportPictures) -> str:
    test = report["tests"][split]
    arms = test["arms"]
    names = report["label_names"]
    sizes = {arm: report["images_a_side"] * (2 if arm == "both" else 1) for arm in arms}
    columns = score_labels(names, report["is_single_label"])
    has_youden = all("at_youden" in scores for scores in arms.values())
    header = ["trained on", "images", "AUC", "over seeds", "ratio to real", "accuracy", "balanced accuracy"]
    rows = []
    for arm, scores in arms.items():
        rows.append(
            [
                _arm(arm),
                str(sizes[arm]),
                _scored(scores["auc"]),
                _span(scores["auc"]["by_seed"]),
                _scored(test["auc_ratio_to_real"][arm]) if arm in test["auc_ratio_to_real"] else "",
                _scored(scores["at_half"]["accuracy"]),
                _scored(scores["at_half"]["balanced_accuracy"]),
                *([_scored(scores["at_youden"]["balanced_accuracy"])] if has_youden else []),
            ]
        )
    legends = {arm: f"{arm} (AUC {_number(scores['auc']['mean'])})" for arm, scores in arms.items()}
    probabilities = {arm: by_split[split] for arm, by_split in pictures.probabilities.items()}
    auc_of = f"AUC of {names[columns[0]]}" if len(columns) == 1 else "Mean AUC over labels"
    parts = [
        f"<h2>Test on {text(split)}</h2>",
        f"<p class=small>{test['images']} images of {test['patients']} patients of {text(test['name'])}; "
        f"{', '.join(f'{count} {text(name)}' for name, count in test['positives'].items())}.</p>",
        table(header + (["balanced, Youden"] if has_youden else []), rows, f"{auc_of}; 95 % intervals in brackets"),
    ]
    if len(columns) > 1:
        by_label = [[text(names[c]), *(_scored(arms[arm]["auc_by_label"][names[c]]) for arm in arms)] for c in columns]
        parts.append(table(["AUC", *map(_arm, arms)], by_label))
    parts.append(picture(roc_plot(names, columns, pictures.test_labels[split], probabilities, legends), "ROC curves"))
    for rule, title in (("at_half", "threshold .5"), ("at_youden", "threshold by Youden's J on validation images")):
        if all(rule in scores for scores in arms.values()):
            parts += [f"<h3>Classes at {title}</h3>", _class_table(arms, rule), _confusion_tables(report, arms, rule)]
    return "".join(parts)


def _class_table(arms: Mapping[str, Any], rule: str) -> str:
    rows = [
        [
            _arm(arm),
            text(row["label"]),
            *(_number(row[name]) for name in ("precision", "recall", "f1")),
            f"{row['support']:.0f}",
        ]
        for arm, scores in arms.items()
        for row in scores[rule]["per_class"]
    ]
    return table(["trained on", "class", "precision", "recall", "F1", "support"], rows)


def _confusion_tables(report: Mapping[str, Any], arms: Mapping[str, Any], rule: str) -> str:
    tables = []
    for arm, scores in arms.items():
        for name, matrix in scores[rule]["confusion"].items():
            classes = report["label_names"] if report["is_single_label"] else [f"no {name}", name]
            rows = []
            for true, counts in zip(classes, matrix, strict=True):
                total = sum(counts) or 1.0
                cells = [f"<td style='background:{_tint(arm, count / total)}'>{count:.1f}</td>" for count in counts]
                rows.append(f"<tr><td>{text(true)}</td>{''.join(cells)}</tr>")
            head = "".join(f"<th>{text(predicted)}</th>" for predicted in classes)
            tables.append(
                f"<table><caption>{_arm(arm)}: true class in rows, predicted in columns</caption>"
                f"<thead><tr><th></th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
            )
    return f"<div class=side>{''.join(tables)}</div>"


def _diversity_section(report: Mapping[str, Any]) -> str:
    rows = []
    for row in report["diversity"]:
        values = [row[f"{side}_ms_ssim"] for side in ("synthetic", "real")]
        values += [row[f"{side}_feature_distance"] for side in ("synthetic", "real", "test")]
        cells = [_scored({"mean": value[0], "interval": value[1:]} if value else None) for value in values]
        ratios = [_number(row[name]) for name in ("diversity_ratio", "feature_distance_ratio")]
        rows.append([text(row["label"]), *cells[:2], ratios[0], *cells[2:], ratios[1]])
    header = ["class", "MS-SSIM synthetic", "real", "ratio of 1 - MS-SSIM"]
    header += ["feature distance synthetic", "real", "real, test", "ratio"]
    return f"<h2>Diversity within a class</h2><p>{DIVERSITY_TEXT}</p>{table(header, rows)}"


def _method_section(report: Mapping[str, Any]) -> str:
    passport = report["passport"]
    cohorts = {**passport["cohorts"], **{f"test: {split}": test for split, test in report["tests"].items()}}
    validation = SHARED_VALIDATION_TEXT if passport["cohorts"]["validation"] else OWN_VALIDATION_TEXT
    intervals = INTERVAL_TEXT.format(resamples=passport["bootstrap"]["resamples"])
    return (
        f"<h2>How it was done</h2><p><strong>Intervals.</strong> {intervals}</p>"
        f"<p><strong>Thresholds.</strong> {validation} No threshold was chosen on test images. "
        "Tables of classes and confusion are means over seeds.</p>"
        f"<p><strong>Time.</strong> {report['seconds']['training']:.0f} seconds of training. "
        f"<strong>Software.</strong> {software_text(passport)}.</p>"
        + cohort_table(cohorts)
        + settings_table("classifier", passport["classifier"])
    )


def _arm(arm: str) -> str:
    return f"<span style='color:{ARM_COLOURS[arm]};font-weight:600'>{text(arm)}</span>"


def _tint(arm: str, share: float) -> str:
    red, green, blue = (int(ARM_COLOURS[arm][index : index + 2], 16) for index in (1, 3, 5))
    return f"rgba({red},{green},{blue},{0.55 * share:.2f})"


def _scored(summary: Mapping[str, Any] | None) -> str:
    if not summary or summary["mean"] is None:
        return _number(None)
    low, high = summary["interval"]
    return f"{_number(summary['mean'])} <span class=interval>[{_number(low)}, {_number(high)}]</span>"


def _span(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{_number(min(known))} to {_number(max(known))}" if known else _number(None)


def _number(value: float | None) -> str:
    return "&ndash;" if value is None else f"{value:.3f}"
