"""The report of an evaluation: JSON for programs, and one HTML file with its pictures inside for people.

The HTML refers to nothing outside itself, so it can be mailed and kept; every text that comes from data is escaped.
"""

import base64
import dataclasses
import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tfcxr.protocols.plots import ARM_COLOURS, curves_plot, roc_plot, sample_grid
from tfcxr.protocols.scores import score_labels

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2733; max-width: 1040px; margin: 2em auto; padding: 0 1.2em; }
h1 { font-size: 1.5em; margin-bottom: .2em } h3 { margin-top: 1.6em }
h2 { margin-top: 2.2em; border-bottom: 1px solid #d8dee4 }
.verdict { font-size: 1.15em; background: #f1f6f8; border-left: 5px solid #1f6f8b; padding: .8em 1.1em; margin: 1em 0 }
.alarm { background: #fdecea; border-left: 5px solid #b3261e; padding: .8em 1.1em; margin: 1em 0 }
.note { background: #fff8e5; border-left: 5px solid #c99a2e; padding: .6em 1.1em; margin: 1em 0 }
.verdict p, .alarm p, .note p { margin: .3em 0 }
table { border-collapse: collapse; margin: .8em 0 } caption { text-align: left; color: #57636f; padding-bottom: .3em }
th, td { padding: .28em .8em; border-bottom: 1px solid #e4e8ec; text-align: right; font-variant-numeric: tabular-nums }
th:first-child, td:first-child { text-align: left } thead th { border-bottom: 2px solid #b9c2cb }
.interval { color: #57636f; font-size: .88em } .side { display: flex; flex-wrap: wrap; gap: 0 2.4em }
img { max-width: 100%; height: auto } code { font-size: .85em; overflow-wrap: anywhere }
.small { color: #57636f; font-size: .92em }
"""
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
    """Arrays that the plots are drawn from.

    Attributes:
      synthetic, real: uint8 [images, size, size, 1]; synthetic_labels, real_labels: float [images, labels].
      test_labels: float [images, labels] by split. probabilities: by arm and split, float [images, labels] a seed.
    """

    synthetic: np.ndarray
    synthetic_labels: np.ndarray
    real: np.ndarray
    real_labels: np.ndarray
    test_labels: dict[str, np.ndarray]
    probabilities: dict[str, dict[str, list[np.ndarray]]]


def plain_json(value: Any) -> Any:
    """`value` with tuples and arrays as lists, numbers as Python's, and NaN or infinity (no value) as None."""
    if isinstance(value, Mapping):
        return {str(name): plain_json(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain_json(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def render_html(report: Mapping[str, Any], pictures: ReportPictures) -> str:
    """The whole page, from what `plain_json` made of a report."""
    verdict, *more = (f"<p>{_text(sentence)}</p>" for sentence in report["verdict"])
    parts = [
        "<h1>Synthetic-train/real-test</h1>",
        f"<p class=small>{report['images_a_side']} training images on each side, "
        f"{_text(report['passport']['classifier']['architecture'])}, "
        f"{len(report['passport']['classifier_seeds'])} trainings an arm.</p>",
        _alarm(report),
        f"<div class=verdict><strong>{verdict}</strong>{''.join(more)}</div>",
        _notes(report),
        *(_test_section(report, split, pictures) for split in report["tests"]),
        _diversity_section(report),
        "<h2>Training curves</h2>",
        "<p class=small>Solid: validation loss. Dashed: training loss. Dot: the epoch that was kept.</p>",
        _picture(curves_plot(report["trainings"]), "training curves"),
        "<h2>Training images</h2><h3>Synthetic</h3>",
        _picture(sample_grid(pictures.synthetic, pictures.synthetic_labels, report["label_names"]), "synthetic images"),
        "<h3>Real</h3>",
        _picture(sample_grid(pictures.real, pictures.real_labels, report["label_names"]), "real images"),
        _method_section(report),
    ]
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>Synthetic-train/real-test</title><style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _alarm(report: Mapping[str, Any]) -> str:
    if report["is_patient_disjoint"]:
        return ""
    lines = "".join(f"<p>{_text(sentence)}.</p>" for sentence in report["shared_patients"])
    headline = "NOT patient-disjoint: these scores are no estimate for new patients."
    return f"<div class=alarm><p><strong>{headline}</strong></p>{lines}</div>"


def _notes(report: Mapping[str, Any]) -> str:
    lines = ["This report shows real radiographs. Share it only as the licence of the data allows.", *report["notices"]]
    return f"<div class=note>{''.join(f'<p>{_text(line)}</p>' for line in lines)}</div>"


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
        f"<h2>Test on {_text(split)}</h2>",
        f"<p class=small>{test['images']} images of {test['patients']} patients of {_text(test['name'])}; "
        f"{', '.join(f'{count} {_text(name)}' for name, count in test['positives'].items())}.</p>",
        _table(header + (["balanced, Youden"] if has_youden else []), rows, f"{auc_of}; 95 % intervals in brackets"),
    ]
    if len(columns) > 1:
        by_label = [[_text(names[c]), *(_scored(arms[arm]["auc_by_label"][names[c]]) for arm in arms)] for c in columns]
        parts.append(_table(["AUC", *map(_arm, arms)], by_label))
    parts.append(_picture(roc_plot(names, columns, pictures.test_labels[split], probabilities, legends), "ROC curves"))
    for rule, title in (("at_half", "threshold .5"), ("at_youden", "threshold by Youden's J on validation images")):
        if all(rule in scores for scores in arms.values()):
            parts += [f"<h3>Classes at {title}</h3>", _class_table(arms, rule), _confusion_tables(report, arms, rule)]
    return "".join(parts)


def _class_table(arms: Mapping[str, Any], rule: str) -> str:
    rows = [
        [
            _arm(arm),
            _text(row["label"]),
            *(_number(row[name]) for name in ("precision", "recall", "f1")),
            f"{row['support']:.0f}",
        ]
        for arm, scores in arms.items()
        for row in scores[rule]["per_class"]
    ]
    return _table(["trained on", "class", "precision", "recall", "F1", "support"], rows)


def _confusion_tables(report: Mapping[str, Any], arms: Mapping[str, Any], rule: str) -> str:
    tables = []
    for arm, scores in arms.items():
        for name, matrix in scores[rule]["confusion"].items():
            classes = report["label_names"] if report["is_single_label"] else [f"no {name}", name]
            rows = []
            for true, counts in zip(classes, matrix, strict=True):
                total = sum(counts) or 1.0
                cells = [f"<td style='background:{_tint(arm, count / total)}'>{count:.1f}</td>" for count in counts]
                rows.append(f"<tr><td>{_text(true)}</td>{''.join(cells)}</tr>")
            head = "".join(f"<th>{_text(predicted)}</th>" for predicted in classes)
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
        rows.append([_text(row["label"]), *cells[:2], ratios[0], *cells[2:], ratios[1]])
    header = ["class", "MS-SSIM synthetic", "real", "ratio of 1 - MS-SSIM"]
    header += ["feature distance synthetic", "real", "real, test", "ratio"]
    return f"<h2>Diversity within a class</h2><p>{DIVERSITY_TEXT}</p>{_table(header, rows)}"


def _method_section(report: Mapping[str, Any]) -> str:
    passport = report["passport"]
    cohorts = {**passport["cohorts"], **{f"test: {split}": test for split, test in report["tests"].items()}}
    rows = [
        [
            _text(role),
            _text(cohort["name"]),
            _text(", ".join(cohort["splits"])),
            str(cohort["images"]),
            str(cohort["patients"] or ""),
            f"<code>{_text(cohort['sha256'])}</code>",
        ]
        for role, cohort in cohorts.items()
        if cohort
    ]
    settings = [[_text(name), f"<code>{_text(value)}</code>"] for name, value in passport["classifier"].items()]
    software = ", ".join(f"{name} {version}" for name, version in passport["software"].items())
    validation = SHARED_VALIDATION_TEXT if passport["cohorts"]["validation"] else OWN_VALIDATION_TEXT
    intervals = INTERVAL_TEXT.format(resamples=passport["bootstrap"]["resamples"])
    return (
        f"<h2>How it was done</h2><p><strong>Intervals.</strong> {intervals}</p>"
        f"<p><strong>Thresholds.</strong> {validation} No threshold was chosen on test images. "
        "Tables of classes and confusion are means over seeds.</p>"
        f"<p><strong>Time.</strong> {report['seconds']['training']:.0f} seconds of training. "
        f"<strong>Software.</strong> {_text(software)}.</p>"
        + _table(["role", "data set", "splits", "images", "patients", "SHA-256 over the shards' SHA-256s"], rows)
        + _table(["classifier", "setting"], settings)
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    head = "".join(f"<th>{cell}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    caption = f"<caption>{_text(caption)}</caption>" if caption else ""
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _picture(png: bytes, description: str) -> str:
    return f"<p><img alt='{_text(description)}' src='data:image/png;base64,{base64.b64encode(png).decode()}'></p>"


def _arm(arm: str) -> str:
    return f"<span style='color:{ARM_COLOURS[arm]};font-weight:600'>{_text(arm)}</span>"


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


def _text(value: Any) -> str:
    return html.escape(str(value))
