"""Plots of an evaluation as PNG bytes: ROC curves, training curves and image grids. No window, no global state."""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform
from sklearn.metrics import roc_curve

from tfcxr.data.stored_images import StoredImages

ARM_COLOURS = {"real": "#1f6f8b", "synthetic": "#d1622b", "both": "#6b4fa0", "pretrained": "#4d7c2f"}
ARM_LINES = {"real": "-", "synthetic": "--", "both": "-.", "pretrained": ":"}
LABELS_SHOWN = 8
DOTS_PER_INCH = 110


def roc_plot(
    label_names: Sequence[str],
    columns: Sequence[int],
    labels: np.ndarray,
    probabilities: dict[str, list[np.ndarray]],
    legends: dict[str, str],
) -> bytes:
    """ROC curves, one panel per scored label (at most `LABELS_SHOWN`), one line per arm and seed.

    Args:
      label_names: of the columns.
      columns: of the labels to draw.
      labels: float [images, labels], NaN where unknown.
      probabilities: by arm, one float [images, labels] per seed.
      legends: text by arm.
    """
    columns = [column for column in columns if len(set(labels[~np.isnan(labels[:, column]), column])) == 2][
        :LABELS_SHOWN
    ]
    across = min(max(len(columns), 1), 4)
    down = math.ceil(max(len(columns), 1) / across)
    side = 4.3 if across == 1 else 3.4  # inches per panel
    figure = Figure(figsize=(side * across, side * down))
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for panel in panels[len(columns) :]:
        panel.set_axis_off()
    for panel, column in zip(panels, columns, strict=False):
        known = ~np.isnan(labels[:, column])
        panel.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=0.8, linestyle="--")
        for arm, by_seed in probabilities.items():
            for index, probability in enumerate(by_seed):
                false_positive, true_positive, _ = roc_curve(labels[known, column] == 1, probability[known, column])
                legend = legends[arm] if index == 0 else None
                style = {"color": ARM_COLOURS[arm], "linestyle": ARM_LINES[arm], "linewidth": 1.4, "alpha": 0.8}
                panel.plot(false_positive, true_positive, label=legend, **style)
        panel.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal", title=label_names[column])
        panel.set(xlabel="false positive rate", ylabel="true positive rate")
        panel.spines[["top", "right"]].set_visible(False)
    if columns:
        panels[0].legend(loc="lower right", fontsize=8, frameon=False)
    return png_of(figure)


def curves_plot(trainings: Sequence[dict[str, Any]]) -> bytes:
    """Training (dashed) and validation (solid) loss by epoch, one panel per arm; a dot marks the epoch kept."""
    arms = list(dict.fromkeys(training["arm"] for training in trainings))
    figure = Figure(figsize=(3.6 * len(arms) + 0.6, 3.2))
    panels = figure.subplots(1, len(arms), sharey=True, squeeze=False)[0]
    for panel, arm in zip(panels, arms, strict=True):
        for training in (training for training in trainings if training["arm"] == arm):
            loss, validation = training["curves"]["loss"], training["curves"]["validation_loss"]
            epochs = np.arange(1, len(loss) + 1)
            best = training["best_epoch"]
            panel.plot(epochs, loss, color=ARM_COLOURS[arm], linewidth=1, linestyle="--", alpha=0.7)
            panel.plot(epochs, validation, color=ARM_COLOURS[arm], linewidth=1.4)
            panel.plot(best, validation[best - 1], color=ARM_COLOURS[arm], marker="o", markersize=4)
        panel.set(title=arm, xlabel="epoch")
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set(ylabel="cross-entropy", ylim=(0, None))  # once all panels, which share it, are drawn
    return png_of(figure)


def frontier_plot(cells: Sequence[Mapping[str, Any]], title: str) -> bytes:
    """A score against the ratio, against the number of real images, and its gain beside privacy; readable in grey.

    Lines are moved aside a little, so that their intervals can be told apart.

    Args:
      cells: of one test set: "ratio", "real_images", "compute", "exposed" (share of training images), and "score" and
        "gain" with "mean" and "interval", None where there is none.
      title: of the score.
    """
    figure = Figure(figsize=(12, 3.8))
    by_ratio, by_real, privacy = figure.subplots(1, 3)
    ratios, counts = (sorted({cell[name] for cell in cells}) for name in ("ratio", "real_images"))
    widest = max(0.01, *(cell["exposed"] for cell in cells))
    aside = 0.01 * (max(ratios) or 1), 0.03 * widest
    for index, (own, name) in enumerate(_lines(cells, "real_images", "{} real, {}")):
        _line(by_ratio, [cell["ratio"] + aside[0] * index for cell in own], own, "score", index, name)
        mixed = [cell for cell in own if cell["ratio"]]
        places = [cell["exposed"] + aside[1] * index for cell in mixed]
        _line(privacy, places, mixed, "gain", index, name, linestyle="")
        for cell, place in zip(mixed, places, strict=True):
            privacy.annotate(f"x{cell['ratio']:g}", (place, cell["gain"]["mean"] or 0), fontsize=7)
    for index, (own, name) in enumerate(_lines(cells, "ratio", "{:g} synthetic : 1 real, {}")):
        _line(by_real, [cell["real_images"] * 1.02**index for cell in own], own, "score", index, name)
    privacy.axhline(0, color="#bbbbbb", linewidth=0.8)
    by_ratio.set(xlabel="synthetic : real", ylabel=title, xticks=ratios)
    by_real.set(xlabel="real images", ylabel=title, xscale="log")
    by_real.set_xticks(counts, [str(count) for count in counts])
    by_real.set_xticks([], minor=True)
    privacy.set(xlabel="training images that have a near copy", ylabel=f"gain in {title}")
    privacy.set_xlim(-0.05 * widest, 1.25 * widest)
    privacy.xaxis.set_major_formatter("{x:.1%}")
    for panel in (by_ratio, by_real, privacy):
        panel.legend(fontsize=7, frameon=False)
        panel.spines[["top", "right"]].set_visible(False)
    return png_of(figure)


def _lines(cells: Sequence[Mapping[str, Any]], name: str, legend: str) -> list[tuple[list[Mapping[str, Any]], str]]:
    """The cells of each line of `frontier_plot`, which share the value of a name and the compute, and its legend."""
    keys = dict.fromkeys((cell[name], cell["compute"]) for cell in cells)
    return [
        (
            [cell for cell in cells if (cell[name], cell["compute"]) == key],
            legend.format(key[0], key[1].replace("_", " ")),
        )
        for key in keys
    ]


def _line(
    panel: Any, x: Sequence[float], cells: Sequence[Mapping[str, Any]], value: str, index: int, name: str, **style: Any
) -> None:
    """Values of cells with intervals; lines differ by marker, dashes and grey, by their index in the panel."""
    rows = [[cell[value]["mean"], *cell[value]["interval"]] for cell in cells]
    values = np.array(rows, float).reshape(-1, 3)
    errors = np.nan_to_num(np.abs(values[:, 1:] - values[:, :1]).T)
    style = {"marker": "osD^vP"[index % 6], "linestyle": ("-", "--", "-.", ":")[index % 4], "linewidth": 1} | style
    panel.errorbar(x, values[:, 0], errors, color=str(0.15 * (index % 4)), capsize=2, markersize=4, label=name, **style)


def sample_grid(
    images: np.ndarray | StoredImages, labels: np.ndarray, label_names: Sequence[str], columns: int = 8
) -> bytes:
    """One row per label (at most `LABELS_SHOWN`) of the first images that have it.

    Args:
      images: uint8 [images, size, size, 1].
      labels: float [images, labels].
      label_names: of the columns.
      columns: images per row.
    """
    chosen = {
        name: np.flatnonzero(labels[:, column] == 1)[:columns]
        for column, name in enumerate(list(label_names)[:LABELS_SHOWN])
    }
    return image_rows({name: [images[index] for index in rows] for name, rows in chosen.items()}, columns)


def image_rows(rows: Mapping[str, Sequence[np.ndarray] | np.ndarray], columns: int = 8) -> bytes:
    """Images side by side, one row per name.

    Args:
      rows: uint8 [images, size, size, 1] by name.
      columns: images per row, at most.
    """
    figure = Figure(figsize=(1.05 * columns + 0.3, 1.05 * len(rows)))
    panel = figure.add_axes((0.045, 0, 0.955, 1))  # one for all images, in half the time of one for each
    panel.set_axis_off()
    for row, (name, images) in enumerate(rows.items()):
        panel.text(-0.06, row + 0.5, name, rotation=90, ha="right", va="center", fontsize=8)
        for column, image in enumerate(images[:columns]):
            place = (column, column + 0.97, row + 0.97, row)
            panel.imshow(image[..., 0], cmap="gray", vmin=0, vmax=255, interpolation="nearest", extent=place)
    panel.set(xlim=(0, columns), ylim=(len(rows), 0))
    return png_of(figure, is_tight=False)


def rising_lines(answers: Mapping[str, Mapping[str, Any]], title: str) -> bytes:
    """Values by strength, one panel per distortion.

    Args:
      answers: name of a distortion -> {"strengths", "values"}.
      title: of the values.
    """
    figure = Figure(figsize=(2.7 * len(answers), 2.4))
    for panel, (name, answer) in zip(figure.subplots(1, len(answers), squeeze=False)[0], answers.items(), strict=True):
        panel.plot(answer["strengths"], answer["values"], color="black", marker="o", markersize=3, linewidth=1)
        panel.set(title=name, ylabel=title, ylim=(0, None))
        panel.title.set_fontsize(8)
        panel.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return png_of(figure)


def distance_maps(distances: Mapping[str, np.ndarray], names: Sequence[str]) -> bytes:
    """A map (classical scaling, Torgerson 1952) and a dendrogram (average linkage) of labels, a row per side.

    Args:
      distances: side -> float [labels, labels], not squared; the diagonal is not read.
      names: of the labels.
    """
    figure = Figure(figsize=(8, 3 * len(distances)))
    panels = figure.subplots(len(distances), 2, squeeze=False)
    for (left, right), (side, matrix) in zip(panels, distances.items(), strict=True):
        apart = np.array(matrix) - np.diag(np.diag(matrix))
        apart = np.nan_to_num(apart)
        places = _classical_scaling(apart)
        left.scatter(*places.T, color="black", s=12)
        for name, place in zip(names, places, strict=True):
            left.annotate(name, place, fontsize=7, xytext=(3, 3), textcoords="offset points")
        left.set(title=side, xticks=[], yticks=[], aspect="equal")
        tree = hierarchy.linkage(squareform(apart, checks=False), "average")
        hierarchy.dendrogram(tree, labels=list(names), ax=right, link_color_func=lambda _: "black", leaf_font_size=7)
        right.tick_params(axis="x", rotation=60)
        right.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return png_of(figure)


def _classical_scaling(distances: np.ndarray) -> np.ndarray:
    """Places float [points, 2] whose distances are nearest to float [points, points]."""
    centring = np.eye(len(distances)) - 1 / len(distances)
    values, vectors = np.linalg.eigh(-centring @ np.square(distances) @ centring / 2)
    return vectors[:, :-3:-1] * np.sqrt(np.maximum(values[:-3:-1], 0))


def png_of(figure: Figure, is_tight: bool = True) -> bytes:
    if is_tight:
        figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()
