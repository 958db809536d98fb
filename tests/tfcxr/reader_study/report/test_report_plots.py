import xml.etree.ElementTree as ElementTree

import pytest

from tfcxr.reader_study.readings import Reading
from tfcxr.reader_study.report.report_plots import position_plot, rates_plot, roc_plot, time_plot
from tfcxr.reader_study.statistics.analysis import Estimate

PUBLISHED = {"pairs_right": Estimate(0.71, 0.55, 0.86, 8)}


def reading(position, seconds, kind="single", is_correct=True):
    return Reading("A", "", f"item {position}", kind, "s", "", (), True, is_correct, seconds=seconds, position=position)


def words(svg):
    """Text of an SVG, which must be well-formed."""
    tree = ElementTree.fromstring(svg.replace("xlink:", ""))
    return " ".join(text for node in tree.iter() if node.tag.endswith("text") for text in node.itertext())


def test_rates_stand_beside_the_published_ones():
    numbers = {"pairs_right": Estimate(0.6, 0.5, 0.7, 3), "segal2021": PUBLISHED, "components": {}}
    text = words(rates_plot(numbers))
    assert "this study" in text and "Segal et al. 2021" in text and "image found" in text
    assert "called real" not in text


def test_roc_curves_and_their_mean():
    curves = {"A": [(0, 0), (0, 0.5), (1, 1)], "B": [(0, 0), (0.5, 1), (1, 1)]}
    assert "mean of the readers" in words(roc_plot({"curves": curves, "mean_curve": [(0, 0), (1, 1)]}))
    one = words(roc_plot({"curves": {"A": curves["A"]}, "mean_curve": curves["A"]}))
    assert "one reader" in one and "mean" not in one


def test_positions_and_times_by_kind():
    given = [reading(place, 2.0 + place, ("grid", "single")[place % 2], place % 3 > 0) for place in range(12)]
    assert "grid (6 answers)" in words(position_plot(given))
    assert "grid: median 7 s" in words(time_plot(given))


def test_absurd_times_are_left_out():
    given = [reading(0, 2.0), reading(1, None), reading(2, -5.0), reading(3, 90_000.0)]
    assert "single: median 2 s" in words(time_plot(given))


@pytest.mark.parametrize("made", [rates_plot({}), roc_plot({}), position_plot([]), time_plot([reading(0, None)])])
def test_nothing_to_draw(made):
    assert made is None


def test_figure_takes_the_colour_of_the_page_and_fits_its_width():
    svg = time_plot([reading(0, 2.0), reading(1, 3.0)])
    assert svg.startswith("<svg")
    assert "currentColor" in svg and "#000000" not in svg
    opening = svg.partition(">")[0]
    assert "viewBox=" in opening and "width=" not in opening and "height=" not in opening
