"""The page of the distances: a table for each set of real images, and a strip of pictures."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfcxr.data.stored_images import StoredImages
from tfcxr.protocols.plots import sample_grid
from tfcxr.protocols.report_page import cohort_table, page, picture, settings_table, software_text, table, text

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


def render_html(report: Mapping[str, Any], pictures: Mapping[str, np.ndarray | StoredImages]) -> str:
    """The whole page.

    Args:
      report: what `plain_json` made of a report of `distribution_distance`.
      pictures: by set, uint8 images [images, size, size, 1]; the first few are shown.
    """
    extractor = report["extractor"]
    aucs = ", ".join(f"{value:.3f} on {name}" for name, value in extractor["auc"].items() if value is not None)
    introduction = (
        f"Features: {extractor['features']} of {text(extractor['classifier']['architecture'])}, "
        f"trained on the real training images (AUC {text(aucs)}), weights "
        f"<code>{text(extractor['weights_sha256'][:16])}</code>."
    )
    sections = [_section(comparison) for comparison in report["comparisons"]]
    parts = [*sections, "<h2>Images</h2>", _strip(pictures), _method(report)]
    return page("Distribution distance", introduction, report, "distances", parts)


def _section(comparison: Mapping[str, Any]) -> str:
    title = "Training images" if comparison["role"] == "training" else "Test"
    parts = [
        f"<h2>{title}: {text(comparison['set'])}</h2>",
        table(["against these real images", "images a side", "Frechet", "kernel"], _rows(comparison)),
    ]
    if comparison["by_label"]:
        rows = [
            [f"{text(label)}: {name}", *cells]
            for label, compared in comparison["by_label"].items()
            for name, *cells in _rows(compared)
        ]
        parts.append(table(["images of one label", "images a side", "Frechet", "kernel"], rows))
    return "".join(parts)


def _rows(compared: Mapping[str, Any]) -> list[list[str]]:
    rows = {"synthetic": compared["score"], "real training images": compared["real_training_images"]}
    if compared["at_floor_size"]["images"] < compared["score"]["images"]:
        rows["synthetic, fewer"] = compared["at_floor_size"]
    rows["floor: halves of the real"] = compared["floor"]
    return [
        [name, str(row["images"]), _scored(row["frechet"]), _scored(row["kernel"])] for name, row in rows.items() if row
    ]


def _strip(pictures: Mapping[str, np.ndarray | StoredImages]) -> str:
    shown = [images[:PICTURES_A_SET] for images in pictures.values()]
    owner = np.repeat(np.arange(len(shown)), [len(images) for images in shown])
    is_of_set = owner[:, None] == np.arange(len(shown))
    png = sample_grid(np.concatenate(shown), is_of_set.astype(np.float32), list(pictures), PICTURES_A_SET)
    return picture(png, ", ".join(pictures))


def _method(report: Mapping[str, Any]) -> str:
    passport = report["passport"]
    method = METHOD_TEXT.format(floor_draws=passport["floor_draws"], subsets=passport["kernel"]["subsets"])
    settings = {**report["extractor"]["classifier"], "seed": report["extractor"]["seed"]}
    return (
        f"<h2>How it was done</h2><p>{method}</p><p><strong>Software.</strong> {software_text(passport)}. "
        f"<strong>Weights.</strong> <code>{text(report['extractor']['weights_sha256'])}</code></p>"
        + cohort_table(passport["cohorts"])
        + settings_table("extractor", settings)
    )


def _scored(summary: Mapping[str, Any]) -> str:
    low, high = summary["interval"]
    return f"{summary['mean']:.3g} <span class=interval>[{low:.3g}, {high:.3g}]</span>"
