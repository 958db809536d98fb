"""The report as one HTML file that refers to nothing outside itself, so it can be mailed, printed and kept."""

import base64
import io
import pathlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup
from PIL import Image

from tfcxr.reader_study.design_file import ImageOrigin
from tfcxr.reader_study.report.estimate_text import number_text
from tfcxr.reader_study.report.misjudged import JudgedCase
from tfcxr.reader_study.report.report_plots import position_plot, rates_plot, roc_plot, time_plot
from tfcxr.reader_study.statistics.analysis import Analysis, Estimate, Table

if TYPE_CHECKING:
    from tfcxr.reader_study.report.report import Report

TEMPLATES = pathlib.Path(__file__).parent / "templates"
THUMBNAIL_PIXELS = 192
MOST_CASES = 12  # of either kind


def page(report: "Report", images: pathlib.Path, key: Mapping[str, ImageOrigin], with_real_images: bool = False) -> str:
    """The whole file.

    Args:
      report: what was found.
      images: folder of the study's pictures.
      key: which of them are synthetic.
      with_real_images: whether real ones are shown; else a grey box stands for each.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals |= {"cell": cell, "word_columns": word_columns}
    sides = []
    for is_synthetic in (True, False):
        cases = [case for case in report.misjudged if case.is_synthetic is is_synthetic]
        shown = [
            (case, _thumbnail(case, images, report.damaged_images, key, with_real_images))
            for case in cases[:MOST_CASES]
        ]
        sides.append({"is_synthetic": is_synthetic, "cases": shown, "total": len(cases)})
    return environment.get_template("report.html").render(
        report=report,
        figures=_figures(report),
        sides=sides,
        with_real_images=with_real_images,
        finished=sum(progress.done == progress.total for progress in report.completeness.readers),
    )


def cell(value: str | int | float | Estimate | None) -> Markup:
    """A cell of a table, as HTML."""
    if isinstance(value, Estimate):
        interval = f"{number_text(value.low)}-{number_text(value.high)}"
        if "--" in interval or interval.startswith("-"):
            interval = f"{number_text(value.low)} to {number_text(value.high)}"
        return Markup("{} <span class=interval>({})</span>").format(number_text(value.value), interval)
    if value is None or isinstance(value, float):
        return Markup("{}").format(number_text(value))
    return Markup("{}").format(value)


def word_columns(table: Table) -> list[bool]:
    """Whether each column holds words, which are set to the left, and no numbers."""
    are_words = []
    for index in range(len(table.columns)):
        values = [row[index] for row in table.rows if row[index] is not None]
        has_words = any(
            re.search("[A-Za-z]{3}", value) or len(value) > 12 for value in values if isinstance(value, str)
        )
        are_words.append(index == 0 or (has_words and all(isinstance(value, str) for value in values)))
    return are_words


def _figures(report: "Report") -> list[dict[str, Any]]:
    """Those that the study has: title, SVG and caption."""
    numbers = {name: analysis.numbers for name, analysis in report.analyses.items() if isinstance(analysis, Analysis)}
    made = [
        ("What readers said", rates_plot(numbers.get("rates", {})), "Bars are 95 % intervals."),
        (
            "Right answers by position",
            position_plot(report.readings),
            "A line that rises shows learning, one that falls fatigue; dotted: chance.",
        ),
        (
            "ROC curves of confidence ratings",
            roc_plot(numbers.get("roc", {})),
            "The area under the mean is the mean of the readers' areas.",
        ),
        ("Time per question", time_plot(report.readings), "Unknown times and those over an hour are left out."),
    ]
    return [
        {"title": title, "svg": Markup(svg), "caption": caption}  # made here, with text escaped by matplotlib
        for title, svg, caption in made
        if svg
    ]


def _thumbnail(
    case: JudgedCase,
    images: pathlib.Path,
    damaged: Mapping[str, str],
    key: Mapping[str, ImageOrigin],
    with_real_images: bool,
) -> str | None:
    """The picture as a data URL; None where it may not be shown or is not as designed."""
    if case.case in damaged or not (with_real_images or key[case.case].is_synthetic):
        return None
    buffer = io.BytesIO()
    with Image.open(images / f"{case.case}.png") as picture:
        small = picture.convert("L")
        small.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS), Image.Resampling.LANCZOS)
        small.save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
