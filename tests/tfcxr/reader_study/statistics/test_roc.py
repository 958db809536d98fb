import dataclasses
import json

import numpy as np
import pytest
from scipy.integrate import trapezoid

from tfcxr.reader_study.readings import Reading
from tfcxr.reader_study.report.estimate_text import estimate_text, number_text, p_text
from tfcxr.reader_study.statistics.analysis import Estimate
from tfcxr.reader_study.statistics.area_estimates import on_logit_scale
from tfcxr.reader_study.statistics.mrmc import average_area
from tfcxr.reader_study.statistics.roc import mean_curve, roc, roc_curve


def reading(reader, case, rating, group="", **facts):
    """Of a single image; cases that begin with s are synthetic."""
    said = {"kind": "single", "is_synthetic": case.startswith("s"), "said_synthetic": (rating or 0) > 0} | facts
    return Reading(reader=reader, group=group, item=case, case=case, block="", labels=(), rating=rating, **said)


def study(ratings, groups=()):
    """Readings of {reader: ratings of s0, s1, ... and then as many of r0, r1, ...}."""
    made = []
    for reader, values in ratings.items():
        names = [f"{kind}{index}" for kind in "sr" for index in range(len(values) // 2)]
        made += [
            reading(reader, name, value, dict(groups).get(reader, ""))
            for name, value in zip(names, values, strict=True)
        ]
    return made


RATINGS = {"A": (5, 3, -2, -5, -3, 2), "B": (4, -1, 2, -4, -4, 1), "C": (-1, 2, 5, 1, -5, -2)}


def test_areas_are_those_of_the_ratings():
    """Of A's nine pairs 5 and 3 win three each, -2 wins two: 8/9."""
    numbers = roc(study(RATINGS)).numbers
    assert numbers["readers"]["A"].value == pytest.approx(8 / 9)
    assert numbers["readers"]["A"].count == 6
    plain = average_area(np.array(list(RATINGS.values()), float), np.array([1, 1, 1, 0, 0, 0]))
    for name, expected in (("average", on_logit_scale(plain)), ("average_on_plain_scale", plain)):
        found = numbers[name]
        assert (found.value, found.low, found.high) == pytest.approx((expected.area, expected.low, expected.high))
    average = numbers["average"]
    assert average.count == 3
    assert numbers["average_by_pseudovalues"].value == pytest.approx(plain.area)
    assert numbers["groups"] == {}


def test_sentences_say_what_was_found_and_how():
    sentences = roc(study(RATINGS)).sentences
    assert sentences[0].startswith("The average AUC of the readers is .")
    assert "from -5 (surely real) to 5 (surely synthetic)" in sentences[1]
    assert "Obuchowski & Rockette" in sentences[2]
    assert "pseudovalues" in sentences[3]


@pytest.mark.parametrize(
    ("ratings", "meaning"),
    [
        (dict.fromkeys("AB", (5, 4, 5, 4, -4, -5, -4, -5)), "better than chance"),
        (dict.fromkeys("AB", (-5, -4, -5, 4) * 3 + (4, 5, 4, 5) * 3), "for real ones more often"),
        ({"A": (5, -5, 5, -5, 5, -5, 5, -5), "B": (5, 5, -5, -5, 5, -5, 5, -5)}, "does not show"),
    ],
)
def test_finding_follows_the_interval(ratings, meaning):
    assert meaning in roc(study(ratings)).sentences[0]


def test_groups_stand_beside_the_average():
    groups = {"A": "consultant", "B": "consultant", "C": "registrar", "D": "registrar"}
    found = roc(study(RATINGS | {"D": (5, 5, 1, 2, -1, -5)}, groups))
    assert set(found.numbers["groups"]) == {"consultant", "registrar"}
    assert found.numbers["groups"]["registrar"].count == 2
    assert [row[0] for row in found.tables[1].rows] == ["all readers", "consultant", "registrar"]
    assert [row[1] for row in found.tables[0].rows] == ["consultant", "consultant", "registrar", "registrar"]


def test_repeats_and_second_looks_do_not_count():
    again = [reading("A", "s0", -5, repeat_of="s0"), reading("A", "s0", -4)]
    assert roc(study(RATINGS) + again).numbers["readers"] == roc(study(RATINGS)).numbers["readers"]


def test_reader_with_too_few_ratings_is_left_out_by_name():
    found = roc([*study(RATINGS), reading("D", "s0", 3), reading("D", "r0", 3), reading("D", "r1", 3)])
    assert found.numbers["left_out"] == ["D"]
    assert found.sentences[-1].endswith("either kind: D.")
    assert found.numbers["average"] == roc(study(RATINGS)).numbers["average"]


def test_nobody_with_enough_ratings():
    found = roc([reading("A", "s0", 3)])
    assert found.sentences[0] == "No reader has rated enough single images yet."
    assert found.tables == ()


def test_one_reader_has_no_average():
    found = roc(study({"A": RATINGS["A"]}))
    assert found.numbers["average"] is None
    assert "other readers may differ" in found.sentences[0]


def test_missing_ratings_leave_pseudovalues_to_shared_images():
    found = roc(study({"A": (5, 3, -2, 4, -5, -3, 2, -2), "B": (4, -1, 2, 2, -4, -4, 1, -1)})[1:])  # without A's s0
    assert "over the 7 images that all of them rated" in found.sentences[3]
    assert found.numbers["readers"]["A"].count == 7


def test_nothing_without_ratings():
    pair = reading("A", "s0", None, kind="pair")
    assert roc([pair, reading("A", "s1", None)]) is None
    assert roc([]) is None


def test_numbers_fit_json():
    plain = dataclasses.asdict(roc(study(RATINGS)))["numbers"]
    assert json.loads(json.dumps(plain))["readers"]["A"]["count"] == 6


def test_curve_goes_through_the_shares_rated_at_least_so_high():
    curve = roc_curve(np.array([3, 1, np.nan, 1, -2]), np.array([1, 1, 1, 0, 0]))
    assert curve == [(0, 0), (0, 0.5), (0.5, 1), (1, 1)]


def test_area_under_the_mean_curve_is_the_mean_area():
    truth = np.array([1, 1, 1, 0, 0, 0])
    curves = [roc_curve(np.array(ratings, float), truth) for ratings in RATINGS.values()]
    points = np.array(mean_curve(curves))
    assert (points[0].tolist(), points[-1].tolist()) == ([0, 0], [1, 1])
    areas = [estimate.value for estimate in roc(study(RATINGS)).numbers["readers"].values()]
    assert trapezoid(points[:, 1], points[:, 0]) == pytest.approx(np.mean(areas))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.734, ".73"), (1, "1.00"), (-0.04, "-.04"), (-0.001, ".00"), (12.34, "12.3"), (250, "250"), (0, ".00")],
)
def test_numbers_are_short(value, text):
    assert number_text(value) == text


def test_missing_and_infinite_numbers():
    assert [number_text(value) for value in (None, float("nan"), float("inf"))] == ["–", "–", "∞"]


def test_estimates_and_p_values_as_text():
    assert estimate_text(Estimate(0.734, 0.63, 0.82, 8)) == ".73 (.63-.82)"
    assert estimate_text(Estimate(-0.04, -0.09, 0.0, 8)) == "-.04 (-.09 to .00)"
    assert (p_text(0.0002), p_text(0.0517)) == ("p < .001", "p = .052")
