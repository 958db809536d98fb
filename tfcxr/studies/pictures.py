"""Pictures on the page of a study, as PNG bytes."""

import io
import os
from collections.abc import Mapping, Sequence

from tfcxr.startup import tensorflow_started

FIRST_SEED = 1
DOTS_PER_INCH = 110


def side_by_side(saved_models: Mapping[str, str | os.PathLike], count: int) -> bytes:
    """Images of exported models, from equal seeds: `count` of each label in a row per model.

    Raises:
      FileNotFoundError, ValueError: what `tfcxr.load` refuses.
    """
    with tensorflow_started():
        from tfcxr.api import load
        from tfcxr.evaluation.report.plots import image_rows
    rows = {}
    for name, folder in saved_models.items():
        model = load(folder)
        asked = [[label] for label in model.label_names] or [()]
        made = [model.generate(labels, count=count, seed=FIRST_SEED) for labels in asked]
        rows[name] = [image for images in made for image in images]
    return image_rows(rows, columns=max(map(len, rows.values())))


def curves(lines: Mapping[str, Sequence[tuple[float, float]]], across: str, up: str) -> bytes:
    """One line per name through its points; told apart by marker and dashes, so that it can be read in grey.

    Args:
      lines: name -> points.
      across: what stands below the horizontal axis.
      up: likewise beside the vertical one, which is logarithmic.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4))
    panel = figure.subplots()
    for index, (name, points) in enumerate(lines.items()):
        style = {"marker": "osD^vPX*"[index % 8], "linestyle": ("-", "--", "-.", ":")[index % 4]}
        panel.plot(*zip(*points, strict=True), label=name, markersize=3, linewidth=1, **style)
    panel.set(xlabel=across, ylabel=up, yscale="log")
    panel.legend(fontsize=8, frameon=False)
    panel.spines[["top", "right"]].set_visible(False)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DOTS_PER_INCH, bbox_inches="tight")
    return file.getvalue()
