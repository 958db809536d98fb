"""Lines of values with intervals, as PNG bytes; readable in grey."""

import io
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from tfcxr.evaluation.report.plots import DOTS_PER_INCH

Point = tuple[float, float, float, float]  # x, value, and the ends of its interval
PANELS_ACROSS = 3


def interval_lines(
    panels: Mapping[str, Mapping[str, Sequence[Point]]],
    x_title: str,
    references: Mapping[str, tuple[str, float]] | None = None,
) -> bytes:
    """One panel per value, one line per name, a bar for each interval.

    Args:
      panels: title -> name of a line -> its points.
      x_title: of the horizontal axis.
      references: title of a panel -> name and height of a dashed line across it.
    """
    across, down = min(len(panels), PANELS_ACROSS), -(-len(panels) // PANELS_ACROSS)
    figure = Figure(figsize=(4.6 * across, 3.6 * down))
    grid = figure.subplots(down, across, squeeze=False).ravel()
    for panel in grid[len(panels) :]:
        panel.set_axis_off()
    for panel, (title, lines) in zip(grid, panels.items(), strict=False):
        for index, (name, points) in enumerate(lines.items()):
            x, values, lows, highs = zip(*points, strict=True)
            errors = [[value - end for value, end in zip(values, lows, strict=True)],
                      [end - value for value, end in zip(values, highs, strict=True)]]  # fmt: skip
            style = {"marker": "osD^vP"[index % 6], "linestyle": ("-", "--", "-.", ":")[index % 4], "linewidth": 1}
            grey = str(0.15 * (index % 5))
            panel.errorbar(x, values, errors, color=grey, capsize=2, markersize=4, label=name, **style)
        if references and title in references:
            name, height = references[title]
            panel.axhline(height, color="#1f6f8b", linestyle="--", linewidth=1, label=name)
        panel.set(xlabel=x_title, ylabel=title)
        panel.legend(fontsize=7, frameon=False)
        panel.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()
