import math

import pytest

from tfrecords_builder.datasets.patient_facts import (
    age_in_year,
    is_rounded_number,
    parse_age,
    parse_sex,
    parse_view,
    written_age,
)


def test_ages():
    texts = {"58": 58, "58.0": 58, "058Y": 58, "018M": 1.5, "0": 0, "120": 120, " 7 y ": 7}
    assert {text: parse_age(text) for text in texts} == texts
    assert parse_age("003D") == pytest.approx(3 / 365.25) and parse_age("052W") == pytest.approx(1, rel=0.01)
    assert all(math.isnan(parse_age(text)) for text in ("", "old", "-3", "121", "411Y", "58Z", "nan"))
    assert written_age("411Y") == 411 and parse_age("58,5") == parse_age("58,5 Y") == 58.5


def test_age_from_years():
    assert age_in_year("1930.0", "20140915") == 84 and age_in_year("1930", "2014-09-15") == 84
    assert math.isnan(age_in_year("", "20140915")) and math.isnan(age_in_year("1930", "soon"))
    assert age_in_year("2015", "20140915") is None and age_in_year("1850", "20140915") is None


def test_rounded_numbers():
    assert all(map(is_rounded_number, ("8.4E+35", "8,4E+35", "1e5")))
    assert not any(map(is_rounded_number, ("8398", "E5", "1e5x", "p1", "")))


def test_sexes():
    assert [parse_sex(text) for text in ("F", "female", "m", " Male ")] == ["F", "F", "M", "M"]
    assert {parse_sex(text) for text in ("", "Unknown", "O", "Fem")} == {""}


def test_views():
    views = {"PA": "PA", "pa": "PA", "AP": "AP", "AP Supine": "AP", "ap_erect": "AP", "LL": "LATERAL", "L": "LATERAL"}
    views["AP_horizontal"] = "AP"
    assert {text: parse_view(text) for text in views} == views
    assert parse_view("lateral") == "LATERAL"
    assert {parse_view(text) for text in ("", "Frontal", "AP AXIAL", "LAO", "SWIMMERS")} == {""}
