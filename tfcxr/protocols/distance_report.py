"""The page of the distances: one small HTML file with its picture inside; it refers to nothing outside itself."""

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tfcxr.protocols.plots import sample_grid
from tfcxr.protocols.report import STYLE

PICTURES_A_SET = 8
METHOD_TEXT = """<strong>Distances.</strong> The Frechet distance depends on the number of images and grows when they
are few: compare rows of one number only. The kernel distance (squared, unbiased) does not, and may fall below 0 for
alike sets. Both have the scale of this extractor's features: they compare with distances of the same weights only.
<strong>Floor.</strong> Two halves of the real images that share no patient, in {floor_draws} random divisions; its
interval is where such halves fall. <strong>Intervals</strong> of scores (95 %) say how far other images of the same
number would move them: a jackknife over 20 parts for the Frechet distance, the spread over {subsets} subsets for the
kernel distance; real images are taken by patient. They do not cover the extractor's random start.
<strong>Training images</strong> were seen by the extractor, so distances from them may come out otherwise than from
new patients."""


def render_html(report: Mapping[str, Any], pictures: Mapping[str, np.ndarray]) -> str:
    """The whole page.

    Args:
      report: what `plain_json` made of a report of `distribution_distance`.
      pictures: by set, uint8 images [images, size, size, 1]; the first few are shown.
    """
    extractor = report["extractor"]
    verdict, *more = (f"<p>{_text(sentence)}</p>" for sentence in report["verdict"])
    aucs = ", ".join(f"{value:.3f} on {name}" for name, value in extractor["auc"].items() if value is not None)
    parts = [
        "<h1>Distribution distance</h1>",
        f"<p class=small>Features: {extractor['features']} of {_text(extractor['classifier']['architecture'])}, "
        f"trained on the real training images (AUC {_text(aucs)}), weights "
        f"<code>{_text(extractor['weights_sha256'][:16])}</code>.</p>",
        _alarm(report),
        f"<div class=verdict><strong>{verdict}</strong>{''.join(more)}</div>",
        _notes(report),
        *(_section(comparison) for comparison in report["comparisons"]),
        "<h2>Images</h2>",
        _strip(pictures),
        _method(report),
    ]
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>Distribution distance</title><style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _alarm(report: Mapping[str, Any]) -> str:
    if report["is_patient_disjoint"]:
        return ""
    lines = "".join(f"<p>{_text(sentence)}.</p>" for sentence in report["shared_patients"])
    return (
        "<div class=alarm><p><strong>NOT patient-disjoint: these distances are no estimate for new patients.</strong>"
        f"</p>{lines}</div>"
    )


def _notes(report: Mapping[str, Any]) -> str:
    lines = ["This report shows real radiographs. Share it only as the licence of the data allows", *report["notices"]]
    return f"<div class=note>{''.join(f'<p>{_text(line)}.</p>' for line in lines)}</div>"


def _section(comparison: Mapping[str, Any]) -> str:
    title = "Training images" if comparison["role"] == "training" else "Test"
    parts = [
        f"<h2>{title}: {_text(comparison['set'])}</h2>",
        _table(["against these real images", "images a side", "Frechet", "kernel"], _rows(comparison)),
    ]
    if comparison["by_label"]:
        rows = [
            [f"{_text(label)}: {name}", *cells]
            for label, compared in comparison["by_label"].items()
            for name, *cells in _rows(compared)
        ]
        parts.append(_table(["images of one label", "images a side", "Frechet", "kernel"], rows))
    return "".join(parts)


def _rows(compared: Mapping[str, Any]) -> list[list[str]]:
    rows = {"synthetic": compared["score"], "real training images": compared["real_training_images"]}
    if compared["at_floor_size"]["images"] < compared["score"]["images"]:
        rows["synthetic, fewer"] = compared["at_floor_size"]
    rows["floor: halves of the real"] = compared["floor"]
    return [
        [name, str(row["images"]), _scored(row["frechet"]), _scored(row["kernel"])] for name, row in rows.items() if row
    ]


def _strip(pictures: Mapping[str, np.ndarray]) -> str:
    shown = [images[:PICTURES_A_SET] for images in pictures.values()]
    owner = np.repeat(np.arange(len(shown)), [len(images) for images in shown])
    is_of_set = owner[:, None] == np.arange(len(shown))
    png = sample_grid(np.concatenate(shown), is_of_set.astype(np.float32), list(pictures), PICTURES_A_SET)
    names = _text(", ".join(pictures))
    return f"<p><img alt='{names}' src='data:image/png;base64,{base64.b64encode(png).decode()}'></p>"


def _method(report: Mapping[str, Any]) -> str:
    passport = report["passport"]
    method = METHOD_TEXT.format(floor_draws=passport["floor_draws"], subsets=passport["kernel"]["subsets"])
    rows = [
        [
            _text(role),
            _text(cohort["name"]),
            _text(", ".join(cohort["splits"])),
            str(cohort["images"]),
            str(cohort["patients"] or ""),
            f"<code>{_text(cohort['sha256'])}</code>",
        ]
        for role, cohort in passport["cohorts"].items()
        if cohort
    ]
    settings = {**report["extractor"]["classifier"], "seed": report["extractor"]["seed"]}
    software = ", ".join(f"{name} {version}" for name, version in passport["software"].items())
    return (
        f"<h2>How it was done</h2><p>{method}</p><p><strong>Software.</strong> {_text(software)}. "
        f"<strong>Weights.</strong> <code>{_text(report['extractor']['weights_sha256'])}</code></p>"
        + _table(["role", "data set", "splits", "images", "patients", "SHA-256 over the shards' SHA-256s"], rows)
        + _table(
            ["extractor", "setting"],
            [[_text(name), f"<code>{_text(value)}</code>"] for name, value in settings.items()],
        )
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{cell}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _scored(summary: Mapping[str, Any]) -> str:
    low, high = summary["interval"]
    return f"{summary['mean']:.3g} <span class=interval>[{low:.3g}, {high:.3g}]</span>"


def _text(value: Any) -> str:
    return html.escape(str(value))
