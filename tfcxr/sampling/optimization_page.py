"""`optimization.html` beside an optimised cohort: convergence, failures, what co-occurs with each target, and examples.

Like `optimization.json` it is of synthetic images alone. It refers to nothing outside itself.
"""

import io
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tfcxr.data.atomic import write_atomically
from tfcxr.data.pipeline import evaluation_batches
from tfcxr.evaluation.report import plots
from tfcxr.evaluation.report.html import STYLE, number, picture, table, text

PAGE_FILE = "optimization.html"
TARGETS_SHOWN = 16  # those with the most pseudo-patients
EXAMPLES = 8
MAX_BATCHES = 20  # examples of rare targets that do not occur in them are not shown
PANELS_ACROSS = 4


def write_optimization_page(data_dir: str | os.PathLike, summary: Mapping[str, Any], names: Sequence[str]) -> None:
    """Writes the page of a finished cohort.

    Args:
      summary: `optimization.json`.
      names: of each image in order, the target it was optimised for.
    """
    data_dir = pathlib.Path(data_dir)
    targets = dict(list(summary["targets"].items())[:TARGETS_SHOWN])
    classes = list(next(iter(targets.values()))["co_occurrence"])
    left_out = len(summary["targets"]) - len(targets)
    body = [
        f"<h1>Latent class optimisation: {text(data_dir.parent.name)}</h1>",
        f"<div class=verdict><p>{text(_verdict(summary))}</p></div>",
        f"<p class=small>{left_out} rarer combinations of labels stand in optimization.json.</p>" if left_out else "",
        "<h2>Success by target</h2>",
        _counts_table(targets),
        "<h2>Convergence</h2>",
        "<p class=small>How far each latent is from its thresholds, by gradient step; the thick line is their median. "
        "A latent that reached them stays at 0.</p>",
        picture(_convergence_plot(targets), "convergence curves"),
        "<h2>Co-occurrence</h2>",
        "<p class=small>Share of each target's images (row) that show each class (column).</p>",
        picture(_matrix_plot(targets, classes, "co_occurrence"), "co-occurrence matrix"),
        "<p class=small>How much the log odds of each class rose on average from the start to the optimum.</p>",
        picture(_matrix_plot(targets, classes, "rise"), "rise of log odds"),
        "<h2>Examples</h2>",
        picture(plots.image_rows(_examples(data_dir, names, targets), EXAMPLES), "images by target"),
    ]
    page = (
        "<!doctype html><html lang=en><head><meta charset=utf-8><title>Latent class optimisation</title>"
        f"<style>{STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )
    write_atomically(data_dir / PAGE_FILE, page)


def _verdict(summary: Mapping[str, Any]) -> str:
    return (
        f"{summary['patients']} pseudo-patients with {summary['images']} images. {summary['success_rate']:.1%} of "
        f"{summary['tries']} latents reached their thresholds, in {summary['median_steps']:g} steps (median)."
    )


def _counts_table(targets: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        [
            text(name),
            *(str(target[count]) for count in ("patients", "images", "tries", "failures")),
            number(target["median_steps"], "g"),
            f"{target['images_held'] / target['images']:.1%}",
        ]
        for name, target in targets.items()
    ]
    header = ["target", "pseudo-patients", "images", "latents tried", "failures", "median steps", "images held"]
    caption = "images held: those around the optimum in which the classifier still finds the target"
    return table(header, rows, caption)


def _convergence_plot(targets: Mapping[str, Mapping[str, Any]]) -> bytes:
    across = min(len(targets), PANELS_ACROSS)
    down = -(-len(targets) // across)
    figure = Figure(figsize=(2.9 * across, 2.3 * down))
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for panel in panels[len(targets) :]:
        panel.set_axis_off()
    for panel, (name, target) in zip(panels, targets.items(), strict=False):
        longest = max(map(len, target["curves"]))
        curves = np.array([curve + [0.0] * (longest - len(curve)) for curve in target["curves"]])
        panel.plot(curves.T, color="#8fb7c4", linewidth=0.8)
        panel.plot(np.median(curves, axis=0), color="#1f6f8b", linewidth=2)
        panel.set(xlabel="step", ylabel="shortfall", ylim=(0, None))
        panel.set_title(name, fontsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    return _png(figure)


def _matrix_plot(targets: Mapping[str, Mapping[str, Any]], classes: Sequence[str], value: str) -> bytes:
    """Targets in rows, classes in columns; a class that is unknown stays empty."""
    values = np.array([[target[value][name] for name in classes] for target in targets.values()], float)
    is_share = value == "co_occurrence"
    extent = 1.0 if is_share else max(np.nanmax(np.abs(values)), 1e-6)
    figure = Figure(figsize=(2.6 + 0.55 * len(classes), 1.4 + 0.34 * len(targets)))
    panel = figure.subplots()
    panel.imshow(
        values, cmap="Blues" if is_share else "RdBu_r", vmin=0 if is_share else -extent, vmax=extent, aspect="auto"
    )
    for (row, column), shown in np.ndenumerate(values):
        if not np.isnan(shown):
            colour = "white" if abs(shown) > 0.6 * extent else "black"
            said = f"{shown:.2f}" if is_share else f"{shown:+.1f}"
            panel.text(column, row, said, ha="center", va="center", fontsize=6.5, color=colour)
    panel.set_xticks(range(len(classes)), classes, rotation=55, ha="right", fontsize=7)
    panel.set_yticks(range(len(targets)), targets, fontsize=7)
    return _png(figure)


def _examples(data_dir: pathlib.Path, names: Sequence[str], targets: Mapping[str, Any]) -> dict[str, list[np.ndarray]]:
    """The first images of each target, uint8 [size, size, 1]."""
    examples: dict[str, list[np.ndarray]] = {name: [] for name in targets}
    start = 0
    for batch in evaluation_batches(data_dir, "train", batch_size=256).take(MAX_BATCHES).as_numpy_iterator():
        for image, name in zip(batch["image"], names[start : start + len(batch["image"])], strict=True):
            if name in examples and len(examples[name]) < EXAMPLES:
                examples[name].append(image)
        start += len(batch["image"])
    return {name: images for name, images in examples.items() if images}


def _png(figure: Figure) -> bytes:
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=plots.DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()
