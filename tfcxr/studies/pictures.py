"""Pictures on the page of a study, as PNG bytes."""

import os
from collections.abc import Mapping, Sequence

import numpy as np

from tfcxr.startup import tensorflow_started


def side_by_side(cohorts: Mapping[str, str | os.PathLike], count: int) -> bytes:
    """The first `count` images of each label of several cohorts, a row per cohort: of one plan they are of equal seeds.

    Raises:
      FileNotFoundError, ValueError: what `tfcxr.read` refuses.
    """
    with tensorflow_started():
        from tfcxr.api import read
        from tfcxr.evaluation.report.plots import image_rows
    rows = {}
    for name, folder in cohorts.items():
        found = read(folder)
        of_label = [found.images[column == 1][:count] for column in found.labels.T] or [found.images[:count]]
        rows[name] = [image[..., np.newaxis] for images in of_label for image in images]
    return image_rows(rows, columns=max(map(len, rows.values())))


def curves(lines: Mapping[str, Sequence[tuple[float, float]]], across: str, up: str) -> bytes:
    """One line per name through its points; told apart by marker and dashes, so that it can be read in grey.

    Args:
      lines: name -> points.
      across: what stands below the horizontal axis.
      up: likewise beside the vertical one, which is logarithmic.
    """
    with tensorflow_started():
        from matplotlib.figure import Figure
        from matplotlib.ticker import StrMethodFormatter

        from tfcxr.evaluation.report.plots import png_of
    figure = Figure(figsize=(7, 4))
    panel = figure.subplots()
    for index, (name, points) in enumerate(lines.items()):
        style = {"marker": "osD^vPX*"[index % 8], "linestyle": ("-", "--", "-.", ":")[index % 4]}
        panel.plot(*np.reshape(points, [-1, 2]).T, label=name, markersize=3, linewidth=1, **style)
    panel.set(xlabel=across, ylabel=up, yscale="log")
    for ticks in (panel.yaxis.set_major_formatter, panel.yaxis.set_minor_formatter):
        ticks(StrMethodFormatter("{x:g}"))  # .2, where matplotlib writes 2 x 10^-1
    panel.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    panel.legend(fontsize=8, frameon=False)
    panel.spines[["top", "right"]].set_visible(False)
    return png_of(figure)
