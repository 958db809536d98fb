import pytest

from tfcxr.reader_study.answers import Answer
from tfcxr.reader_study.readings import readings

MARK = {"x": 0.1, "y": 0.2, "width": 0.3, "height": 0.4}
SINGLE = {"synthetic": False, "confidence": 4, "diagnoses": ["Mass"], "marks": [MARK]}
ANSWERS = [
    Answer("1", "R1", "", "consent"),
    Answer("2", "R1", "training", "final", {"synthetic": True, "confidence": 3}, 2.0),
    Answer("3", "R1", "grid", "change", {"synthetic": [True] * 6}, 1.0),
    Answer("4", "R1", "grid", "final", {"synthetic": [True, False, False, True, True, False], "comment": "ribs"}, 9.0),
    Answer("5", "R1", "pair", "final", {"real": 1}, 3.0),
    Answer("6", "R1", "single", "final", SINGLE, viewport={"exposure_seconds": 0.25}),
]


def test_each_image_of_a_grid_is_judged(design, key):
    grid = [reading for reading in readings(design, key, ANSWERS) if reading.kind == "grid"]
    assert [reading.case for reading in grid] == list("abcdef")
    assert [reading.is_correct for reading in grid] == [True, True, False, False, True, True]
    facts = {(reading.comment, reading.seconds, reading.position, reading.group) for reading in grid}
    assert facts == {("ribs", 9.0, 0, "registrar")}


def test_case_of_a_pair_is_its_synthetic_image(design, key):
    (pair,) = (reading for reading in readings(design, key, ANSWERS) if reading.kind == "pair")
    assert (pair.case, pair.block, pair.position) == ("c", "Effusion", 1)
    assert not pair.is_correct  # c, the second image, was called real


def test_right_choice_in_a_pair_is_correct(design, key):
    (pair,) = readings(design, key, [Answer("1", "R1", "pair", "final", {"real": 0})])
    assert pair.is_correct


def test_confidence_becomes_a_rating_for_synthetic(design, key):
    single = readings(design, key, ANSWERS)[-1]
    assert (single.rating, single.exposure_seconds, single.diagnoses) == (-4, 0.25, ("Mass",))
    assert single.marks == ((0.1, 0.2, 0.3, 0.4),)
    (surely,) = readings(design, key, [Answer("1", "R1", "single", "final", {"synthetic": True, "confidence": 5})])
    assert surely.rating == 5 and surely.is_correct


def test_training_examples_do_not_count(design, key):
    assert "training" not in {reading.item for reading in readings(design, key, ANSWERS)}


def test_answer_to_an_unknown_item_is_refused(design, key):
    with pytest.raises(ValueError, match="answered elsewhere, which this design does not have"):
        readings(design, key, [Answer("1", "R1", "elsewhere", "final", {"real": 0})])
