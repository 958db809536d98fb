"""Figures of the report as SVG: text and axes take the page's colour, so they suit light, dark and paper."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from tfcxr.reader_study.readings import Reading
from tfcxr.reader_study.statistics.analysis import Estimate

INK = "#010203"  # becomes currentColor
COLOURS = ("#2f86c1", "#d1622b", "#8a63d2", "#4f9a3c", "#b5852a", "#c2477f")  # 3:1 on white and on the dark page
MARKERS = "osD^vP"
WIDTH = 5.0  # inches; a telephone shows it at two thirds
MOST_BINS = 6
LONGEST_SECONDS = 3600.0
RATE_NAMES = {
    "real_called_real": "real images\ncalled real",
    "synthetic_called_synthetic": "synthetic images\ncalled synthetic",
    "synthetic_called_real": "synthetic images\ncalled real",
    "pairs_right": "pairs: real\nimage found",
}


def rates_plot(numbers: Mapping[str, Any]) -> str | None:
    """Rates with 95 % intervals, the published study's below ours; None where `numbers` has none.

    Args:
      numbers: of the analysis "rates": name -> estimate, and "segal2021" with the paper's.
    """
    published = numbers.get("segal2021", {})
    names = [name for name in RATE_NAMES if isinstance(numbers.get(name), Estimate)]
    if not names:
        return None
    figure, panel = _panel(0.9 + 0.62 * len(names))
    for index, (title, source) in enumerate((("this study", numbers), ("Segal et al. 2021", published))):
        rows = [(row, source[name]) for row, name in enumerate(names) if isinstance(source.get(name), Estimate)]
        if not rows:
            continue
        places = [-row - 0.24 * index for row, _ in rows]
        values = [estimate.value for _, estimate in rows]
        errors = np.transpose([(e.value - e.low, e.high - e.value) for _, e in rows]).clip(0)
        style = {"color": COLOURS[index], "marker": MARKERS[index], "mfc": COLOURS[index] if index == 0 else "none"}
        panel.errorbar(values, places, xerr=errors, linestyle="", capsize=3, markersize=6, label=title, **style)
    panel.axvline(0.5, color=INK, linewidth=0.8, linestyle=":")
    panel.set(xlim=(0, 1), xlabel="share of answers, 95 % interval; dotted: chance", ylim=(0.4 - len(names), 0.4))
    panel.set_yticks([-row - 0.12 for row in range(len(names))], [RATE_NAMES[name] for name in names])
    panel.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return _svg(figure, "rates")


def roc_plot(numbers: Mapping[str, Any]) -> str | None:
    """Each reader's ROC curve, thin, and their mean; None where `numbers` has no curve.

    Args:
      numbers: of the analysis "roc".
    """
    curves = numbers.get("curves")
    if not curves:
        return None
    figure, panel = _panel(0.85 * WIDTH)
    panel.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":")
    for index, curve in enumerate(curves.values()):
        legend = ("one reader" if len(curves) == 1 else "each reader") if index == 0 else None
        panel.plot(*np.transpose(curve), color=COLOURS[0], linewidth=0.9, alpha=0.55, label=legend)
    if len(curves) > 1:
        panel.plot(*np.transpose(numbers["mean_curve"]), color=COLOURS[1], linewidth=2.2, label="mean of the readers")
    panel.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    panel.set(xlabel="real images rated synthetic", ylabel="synthetic images rated synthetic")
    panel.legend(loc="lower right", frameon=False)
    return _svg(figure, "roc")


def position_plot(readings: Sequence[Reading]) -> str | None:
    """Share of right answers early and late in the study, a line per kind of question; None with one position only."""
    if len({reading.position for reading in readings}) < 2:
        return None
    figure, panel = _panel(3.2)
    for index, kind in enumerate(sorted({reading.kind for reading in readings})):
        own = sorted((reading.position + 1, reading.is_correct) for reading in readings if reading.kind == kind)
        positions, correct = np.array(own, float).T
        edges = np.unique(np.quantile(positions, np.linspace(0, 1, MOST_BINS + 1)))
        bins = np.clip(np.searchsorted(edges, positions, "right") - 1, 0, max(len(edges) - 2, 0))
        means = np.array([(positions[bins == b].mean(), correct[bins == b].mean()) for b in np.unique(bins)])
        style = {"color": COLOURS[index], "marker": MARKERS[index], "linewidth": 1.4, "markersize": 5}
        panel.plot(*means.T, label=f"{kind} ({len(own)} answers)", **style)
    panel.axhline(0.5, color=INK, linewidth=0.8, linestyle=":")
    panel.set(ylim=(0, 1.02), xlabel="position in the study", ylabel="right answers")
    panel.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return _svg(figure, "position")


def time_plot(readings: Sequence[Reading]) -> str | None:
    """How long questions took, a line per kind; times that are unknown, not above 0 or over an hour are left out."""
    times = {(reading.reader, reading.item): (reading.kind, reading.seconds) for reading in readings}
    known = [(kind, s) for kind, s in times.values() if s is not None and 0 < s <= LONGEST_SECONDS]
    if not known:
        return None
    figure, panel = _panel(3.2)
    seconds = np.array([s for _, s in known])
    edges = np.geomspace(max(0.1, seconds.min() * 0.99), seconds.max() * 1.01, 21)
    for index, kind in enumerate(sorted({kind for kind, _ in known})):
        own = [s for name, s in known if name == kind]
        style = {"color": COLOURS[index], "linewidth": 1.5, "linestyle": ("-", "--", "-.")[index % 3]}
        panel.hist(own, bins=edges, histtype="step", label=f"{kind}: median {np.median(own):.3g} s", **style)
    panel.set(xscale="log", xlabel="seconds per question", ylabel="questions")
    panel.xaxis.set_major_formatter("{x:g}")
    panel.xaxis.set_minor_formatter(lambda *_: "")
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return _svg(figure, "time")


def _panel(height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    panel = figure.subplots()
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color(INK)
    panel.tick_params(which="both", colors=INK)
    for part in (panel.xaxis.label, panel.yaxis.label):
        part.set_color(INK)
    return figure, panel


def _svg(figure: Figure, name: str) -> str:
    """The <svg> element; its ids begin with `name`, since several stand in one page."""
    settings: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": name}
    with matplotlib.rc_context(settings):
        for legend in (*figure.legends, *(panel.get_legend() for panel in figure.axes)):
            for text in legend.get_texts() if legend else ():
                text.set_color(INK)
        buffer = io.StringIO()
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="|url\()#', rf"\g<1>#{name}-", svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return re.sub(
        r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1), count=1
    )
