import dataclasses
import json

import pytest

from tfcxr.reader_study.readings import Reading
from tfcxr.reader_study.statistics.analysis import ANALYSES
from tfcxr.reader_study.statistics.findings import NO_LABEL, findings, most_fooling

LABELS = {"a": ("Mass",), "b": ("Mass", "Effusion"), "c": ("Effusion",), "d": ()}
SYNTHETIC = "ac"
GROUPS = {"R1": "consultant", "R2": "registrar", "R3": "registrar"}
# per reader: cases called synthetic
CALLED = {"R1": "ab", "R2": "abd", "R3": "b"}


def make_study(**fields):
    study = [
        Reading(reader, GROUPS[reader], f"item {case}", "single", case, "", labels, case in SYNTHETIC, case in called)
        for reader, called in CALLED.items()
        for case, labels in LABELS.items()
    ]
    return [dataclasses.replace(reading, **fields) for reading in study]


def test_rates_by_finding_by_hand():
    found = findings(make_study()).numbers["correct_by_finding"]
    values = {label: {kind: rate.value for kind, rate in cells.items()} for label, cells in found.items()}
    assert values == {
        "Effusion": {"real": 0, "synthetic": 0},
        "Mass": {"real": 0, "synthetic": pytest.approx(2 / 3)},
        NO_LABEL: {"real": pytest.approx(2 / 3)},
    }


def test_groups_are_apart():
    found = findings(make_study()).numbers["correct_by_finding_and_group"]
    assert found["Mass"]["consultant"].value == 0.5  # a right, b wrong
    assert found["Mass"]["registrar"].value == 0.25  # a right and wrong, b wrong twice


def test_blocks_have_a_table():
    study = make_study() + make_study(kind="pair")
    study = [dataclasses.replace(reading, block="Mass block" if reading.case == "a" else "") for reading in study]
    analysis = findings(study)
    assert analysis.numbers["correct_by_block"]["Mass block"]["pairs"].value == pytest.approx(2 / 3)
    assert any(table.columns[0] == "block" for table in analysis.tables)


def test_most_fooling_cases_come_first():
    found = most_fooling(make_study())
    assert [(case["case"], case["wrong"], case["fooled"]) for case in found] == [
        ("b", 3, ["R1", "R2", "R3"]),
        ("c", 3, ["R1", "R2", "R3"]),
        ("a", 1, ["R3"]),
        ("d", 1, ["R2"]),
    ]
    assert found[2]["not_fooled"] == ["R1", "R2"] and found[2]["share"] == pytest.approx(1 / 3)
    assert [case["case"] for case in most_fooling(make_study(), most=1)] == ["b"]


def test_images_that_fool_everybody_are_said():
    assert "2 images were misjudged by every reader." in findings(make_study()).sentences


def test_study_without_mistakes_says_so():
    right = [dataclasses.replace(reading, said_synthetic=reading.is_synthetic) for reading in make_study()]
    analysis = findings(right)
    assert analysis.numbers["most_fooling"] == [] and "No image was misjudged." in analysis.sentences


def test_pair_of_a_case_is_apart_from_the_case_alone():
    found = most_fooling(make_study() + make_study(kind="pair"))
    assert [(case["case"], case["kind"]) for case in found[:4]] == [
        ("b", "pair"),
        ("b", "single"),
        ("c", "pair"),
        ("c", "single"),
    ]


def test_diagnoses_against_labels_by_hand():
    named = {"R1": {"a": ("Mass",), "b": ("Mass", "Hernia"), "d": ("Mass",)}, "R2": {"b": ("Effusion",)}, "R3": {}}
    study = [
        dataclasses.replace(reading, diagnoses=named[reading.reader].get(reading.case, ())) for reading in make_study()
    ]
    found = findings(study).numbers["diagnoses"]
    assert set(found) == {"Mass", "Effusion"}  # no image has a hernia
    values = {name: rate.value for name, rate in found["Mass"].items()}
    assert values == pytest.approx(
        {
            "sensitivity, real": 1 / 3,  # b: R1 of three
            "specificity, real": 2 / 3,  # d: not R1
            "sensitivity, synthetic": 1 / 3,  # a: R1
            "specificity, synthetic": 1,  # c
        }
    )


def test_grids_comment_is_one_comment():
    study = [
        dataclasses.replace(reading, kind="grid", item="grid", comment=" ribs end " if reading.reader == "R1" else " ")
        for reading in make_study()
    ]
    (comment,) = findings(study).numbers["comments"]
    assert comment["comment"] == "ribs end" and comment["cases"] == list("abcd")
    assert comment["is_correct"] == [True, False, False, True]
    (table,) = (table for table in findings(study).tables if "comment" in table.columns)
    assert table.rows == (("R1", "grid", "a, b, c, d", "2 of 4", "ribs end"),)


def test_repeats_count_in_comments_alone():
    repeats = make_study(repeat_of="item", comment="seen before")
    found = findings(make_study() + repeats).numbers
    assert found["correct_by_finding"] == findings(make_study()).numbers["correct_by_finding"]
    assert found["most_fooling"] == findings(make_study()).numbers["most_fooling"] and len(found["comments"]) == 12


def test_nothing_is_none():
    assert findings([]) is None and findings(make_study(repeat_of="item")) is None


def test_json_takes_the_numbers():
    json.dumps(ANALYSES["findings"](make_study()).numbers, default=dataclasses.asdict, allow_nan=False)
