"""The page of `distances`: a table per extractor and set of real images, one of the images themselves, pictures."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfcxr.evaluation.cohorts import Cohorts
from tfcxr.evaluation.metrics import metrics_of
from tfcxr.evaluation.metrics.metric import FeatureDistance, ImageDistance
from tfcxr.evaluation.report import html, plots

TRAINING = "training images"  # beside names of test splits, so no name that a split would have
PICTURES_PER_SET = 8
METHOD_TEXT = """<strong>Distances.</strong> {notes} All have the scale of this extractor's features: they compare with
distances of the same weights only. <strong>Floor.</strong> Two halves of the real images that share no patient, in
{floor_draws} random divisions; its interval is where such halves fall. <strong>Intervals</strong> of scores (95 %) say
how far other images of the same number would move them; real images are taken by patient. They do not cover the
extractor's random start. <strong>Training images</strong> were seen by the extractor, so distances from them may come
out otherwise than from new patients."""


def page_parts(report: Mapping[str, Any], cohorts: Cohorts) -> list[str]:
    """HTML of the tables, pictures and method, from the report's data."""
    method = METHOD_TEXT.format(notes=html.metric_notes(FeatureDistance), floor_draws=report["floor_draws"])
    sets = {"synthetic images": cohorts.only_synthetic, TRAINING: cohorts.real, **cohorts.tests}
    shown = [cohort.images[:PICTURES_PER_SET] for cohort in sets.values()]
    owner = np.repeat(np.arange(len(shown)), [len(images) for images in shown])
    is_of_set = (owner[:, None] == np.arange(len(shown))).astype(np.float32)
    grid = plots.sample_grid(np.concatenate(shown), is_of_set, list(sets), PICTURES_PER_SET)
    return [
        *(
            _comparison_part(name, comparison)
            for name, found in report["extractors"].items()
            for comparison in found["comparisons"]
        ),
        "<h2>Images alone, without an extractor</h2>",
        *(_image_table(split, compared) for split, compared in report["of_images"].items()),
        html.explained(metrics_of(ImageDistance)),
        "<h2>Images</h2>",
        html.picture(grid, ", ".join(sets)),
        f"<h2>How it was done</h2><p>{method}</p>",
    ]


def _comparison_part(extractor: str, comparison: Mapping[str, Any]) -> str:
    title = "Training images" if comparison["role"] == "training" else "Test"
    metrics = metrics_of(FeatureDistance)
    headers = ["images per side", *map(html.metric_header, metrics)]
    floor = comparison["floor"]
    of_real = {
        metric.name: f"{html.estimate(floor[metric.name], metric.format)} at {floor['images']} images per side"
        for metric in metrics
    }
    parts = [
        f"<h2>{title}: {html.text(comparison['set'])}, by {html.text(extractor)}</h2>",
        html.table(["against these real images", *headers], _table_rows(comparison)),
        html.explained(metrics, of_real),
    ]
    for part, title in (("by_label", "images of one label"), ("by_group", "patients of one group")):
        rows = [
            [f"{html.text(of_what)}: {name}", *cells]
            for of_what, compared in comparison[part].items()
            for name, *cells in _table_rows(compared)
        ]
        if rows:
            parts.append(html.table([title, *headers], rows))
    return "".join(parts)


def _image_table(split: str, compared: Mapping[str, Any]) -> str:
    metrics = metrics_of(ImageDistance)
    rows = [
        [
            words,
            str(compared["images"]),
            *(html.estimate(compared[row][metric.name], metric.format) for metric in metrics),
        ]
        for row, words in (("score", "synthetic"), ("floor", "floor: halves of the real"))
    ]
    return html.table([f"against {html.text(split)}", "images per side", *map(html.metric_header, metrics)], rows)


def _table_rows(compared: Mapping[str, Any]) -> list[list[str]]:
    rows = {"synthetic": compared["score"], "real training images": compared["real_training_images"]}
    if compared["at_floor_size"]["images"] < compared["score"]["images"]:
        rows["synthetic, fewer"] = compared["at_floor_size"]
    rows["floor: halves of the real"] = compared["floor"]
    return [
        [
            name,
            str(row["images"]),
            *(html.estimate(row[metric.name], metric.format) for metric in metrics_of(FeatureDistance)),
        ]
        for name, row in rows.items()
        if row
    ]
