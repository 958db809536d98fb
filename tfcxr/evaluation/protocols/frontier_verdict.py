"""What the frontier says: a sentence, a table with a plot, and rows of scores.csv for each test set.

A cell is what one mix of real and synthetic images scored: "real_images", "synthetic_images", "ratio", "compute" and
"name"; "score" and its "gain" over the same real images alone, with "mean" and "interval", and the gain's "p",
"adjusted_p" and "p_by_seed" where synthetic images were added; "copies" and "exposed".
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfcxr.evaluation.metrics import metrics_of
from tfcxr.evaluation.metrics.metric import LabelScore
from tfcxr.evaluation.report import html, plots
from tfcxr.evaluation.report.score import Score
from tfcxr.evaluation.scores import score_text

LEVEL = 0.05  # of all gains on a test set together


def sentences(split: str, cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """The best gain of each number of real images, and whether it can be told from none."""
    said = []
    for (real, compute), own in _by_line(cells):
        alone = next(cell for cell in own if not cell["ratio"])
        if mixed := [cell for cell in own if cell["ratio"] and np.isfinite(cell["gain"]["mean"])]:
            best = max(mixed, key=lambda cell: cell["gain"]["mean"])
            gain = best["gain"]
            told = "no gain can be told"
            if gain["adjusted_p"] < LEVEL:
                told = "a gain" if gain["mean"] > 0 else "a loss, and every other mix loses more"
            said.append(
                f"On real patients of {split}, {best['synthetic_images']} synthetic images add {score_text(gain)} to "
                f"the {metrics_of(LabelScore)[0].title} {score_text(alone['score'])} of {real} real ones, by "
                f"{compute.replace('_', ' ')}: {told} (p {gain['adjusted_p']:.3f})."
            )
    return said or [f"On real patients of {split}, nothing can be said of gains: no mix has a score."]


def report_scores(split: str, test: Mapping[str, Any], passport: Mapping[str, Any]) -> list[Score]:
    """Score and gain of each mix; the most images of both kinds stand at the head of the page."""
    metric, rows = metrics_of(LabelScore)[0], []
    headline = max(test["cells"], key=lambda cell: (cell["real_images"], cell["ratio"]))
    for _, own in _by_line(test["cells"]):
        alone = next(cell["score"]["mean"] for cell in own if not cell["ratio"])
        for cell in own:
            values = {metric.name: (cell["score"], alone)}
            if cell["ratio"]:
                values[f"{metric.name}_gain"] = cell["gain"], 0.0
            for name, (summary, of_real) in values.items():
                row = Score(
                    metric=name,
                    value=summary["mean"],
                    low=summary["interval"][0],
                    high=summary["interval"][1],
                    of_real=of_real,
                    images=test["images"],
                    better="higher",
                    subject=cell["name"],
                    split=split,
                    passport=passport,
                    is_headline=cell is headline and summary is cell["gain"],
                )
                rows.append(row)
    return rows


def page_parts(tests: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """HTML, of the plain content of report.json."""
    metric, parts = metrics_of(LabelScore)[0], []
    tested = {"p": "p", "adjusted_p": "p, Holm", "p_by_seed": "p, by seed"}
    header = ["real", "synthetic", "compute", html.metric_header(metric), "gain", *tested.values(), "copies", "exposed"]
    for split, test in tests.items():
        rows = [
            [
                *(html.text(cell[name]) for name in ("real_images", "synthetic_images")),
                html.text(cell["compute"].replace("_", " ")),
                html.estimate(cell["score"], metric.format),
                html.estimate(cell["gain"], "+.3f") if cell["ratio"] else "",
                *(html.number(cell["gain"].get(name)) if cell["ratio"] else "" for name in tested),
                *(f"{cell[name]:.1%}" if cell["ratio"] else "" for name in ("copies", "exposed")),
            ]
            for cell in test["cells"]
        ]
        parts += [f"<h2>Real patients of {html.text(split)}</h2>", html.table(header, rows)]
        plot = plots.frontier_plot(test["cells"], metric.title)
        parts.append(html.picture(plot, "score by ratio, by number of real images, and its gain beside privacy"))
    return parts


def _by_line(cells: Sequence[Mapping[str, Any]]) -> list[tuple[tuple[int, str], list[Mapping[str, Any]]]]:
    """Cells by number of real images and compute."""
    line = lambda cell: (cell["real_images"], cell["compute"])  # noqa: E731
    return [(key, list(own)) for key, own in itertools.groupby(sorted(cells, key=line), key=line)]
