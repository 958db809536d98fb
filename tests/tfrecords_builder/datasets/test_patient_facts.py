import math

import pytest

from tfrecords_builder.datasets.patient_facts import parse_age, parse_sex, parse_view, written_age


def test_ages():
    texts = {"58": 58, "58.0": 58, "058Y": 58, "018M": 1.5, "0": 0, "120": 120, " 7 y ": 7}
    assert {text: parse_age(text) for text in texts} == texts
    assert parse_age("003D") == pytest.approx(3 / 365.25) and parse_age("052W") == pytest.approx(1, rel=0.01)
    assert all(math.isnan(parse_age(text)) for text in ("", "old", "-3", "121", "411Y", "58Z", "nan"))
    assert written_age("411Y") == 411


def test_sexes():
    assert [parse_sex(text) for text in ("F", "female", "m", " Male ")] == ["F", "F", "M", "M"]
    assert {parse_sex(text) for text in ("", "Unknown", "O", "Fem")} == {""}


def test_views():
    views = {"PA": "PA", "pa": "PA", "AP": "AP", "AP Supine": "AP", "ap_erect": "AP", "LL": "LATERAL", "L": "LATERAL"}
    assert {text: parse_view(text) for text in views} == views
    assert parse_view("lateral") == "LATERAL"
    assert {parse_view(text) for text in ("", "Frontal", "AP AXIAL", "LAO", "SWIMMERS")} == {""}
