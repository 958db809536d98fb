import dataclasses
import json

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from tfcxr.reader_study.readings import Reading
from tfcxr.reader_study.statistics.agreement import agreement, answer_matrix
from tfcxr.reader_study.statistics.agreement_coefficients import (
    cohen_kappa,
    cohen_kappas,
    fleiss_kappa,
    krippendorff_alpha,
    mean_cohen_kappa,
)
from tfcxr.reader_study.statistics.analysis import ANALYSES

# Fleiss 1971, table 1: 30 patients, six psychiatrists, five diagnoses.
FLEISS_1971 = (
    "00060 03003 01401 00006 03030 20400 00402 20310 20040 00006 10050 11040 03300 10050 02031 "
    "00501 30012 51000 02040 10203 00006 01050 02013 20040 10041 05010 40002 02040 10500 00006"
)
# Krippendorff 2011, example C: four observers, twelve units, "." where one did not judge.
KRIPPENDORFF_2011 = "123321412...", "1233224125.3", ".3332342251.", "12332441251."


def number(text):
    return [np.nan if character == "." else float(character) for character in text]


def test_fleiss_kappa_of_its_paper():
    """Kappa is .430, with an observed agreement of .5556 and .2201 by chance."""
    values = np.array(
        [[category for category, times in enumerate(row) for _ in range(int(times))] for row in FLEISS_1971.split()],
        float,
    ).T
    assert values.shape == (6, 30)
    assert fleiss_kappa(values) == pytest.approx((0.5556 - 0.2201) / (1 - 0.2201), abs=1e-4)
    assert round(fleiss_kappa(values), 3) == 0.430


def test_krippendorff_alpha_of_his_examples():
    values = np.array([number(row) for row in KRIPPENDORFF_2011])
    assert krippendorff_alpha(values, "nominal") == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(values, "ordinal") == pytest.approx(0.815, abs=5e-4)


def test_krippendorff_alpha_of_two_observers():
    """His examples A (0 and 1, ten units) and B (five categories, twelve units)."""
    binary = np.array([number("0100000010"), number("1110010000")])
    assert krippendorff_alpha(binary) == pytest.approx(0.095, abs=5e-4)
    nominal = np.array([[ord(letter) for letter in row] for row in ("aabbdcccedda", "babbbccceddd")], float)
    assert krippendorff_alpha(nominal) == pytest.approx(0.692, abs=5e-4)


def test_cohen_kappa_by_hand():
    """20 both yes, 5 and 10 apart, 15 both no: (.7 - .5) / .5."""
    first = np.repeat([1.0, 1, 0, 0], [20, 5, 10, 15])
    second = np.repeat([1.0, 0, 1, 0], [20, 5, 10, 15])
    assert cohen_kappa(first, second) == pytest.approx(0.4)


def test_cohen_kappa_is_scikit_learns():
    generator = np.random.default_rng(0)
    values = generator.integers(0, 3, (4, 40)).astype(float)
    values[1, :5] = values[2, 10:20] = np.nan
    matrix = cohen_kappas(values)
    for one in range(4):
        for other in range(4):
            both = ~np.isnan(values[one]) & ~np.isnan(values[other])
            expected = cohen_kappa_score(values[one, both].astype(int), values[other, both].astype(int))
            assert matrix[one, other] == pytest.approx(expected)


def test_weights_repeat_cases():
    generator = np.random.default_rng(0)
    values = generator.integers(0, 3, (4, 12)).astype(float)
    values[0, 0] = np.nan
    weights = generator.integers(0, 4, 12).astype(float)
    repeated = np.repeat(values, weights.astype(int), axis=1)
    for coefficient in (mean_cohen_kappa, fleiss_kappa):
        assert coefficient(values, weights) == pytest.approx(coefficient(repeated))
    for level in ("nominal", "ordinal"):
        assert krippendorff_alpha(values, level, weights) == pytest.approx(krippendorff_alpha(repeated, level))


def test_undefined_coefficients_are_none():
    alike, apart = np.ones((3, 5)), np.array([[1, np.nan], [np.nan, 0]])
    for values in (alike, apart):
        assert mean_cohen_kappa(values) is None and fleiss_kappa(values) is None and krippendorff_alpha(values) is None


def test_unknown_level_is_refused():
    with pytest.raises(ValueError, match="nominal or ordinal, got 'interval'"):
        krippendorff_alpha(np.ones((2, 2)), "interval")


def make_study(table, **fields):
    """Readings of `table` [readers, cases]; a case is synthetic where its number is odd."""
    return [
        Reading(
            f"R{reader}", "", f"item {case}", "single", f"case {case}", "", (), bool(case % 2), bool(said), **fields
        )
        for reader, row in enumerate(table)
        for case, said in enumerate(row)
    ]


TABLE = [[0, 1, 0, 1, 1, 0], [0, 1, 1, 1, 0, 0], [0, 1, 0, 0, 1, 0]]


def test_readings_become_coefficients():
    numbers = agreement(make_study(TABLE)).numbers
    values = np.array(TABLE, float)
    found = numbers["images"]
    assert found["fleiss_kappa"].value == pytest.approx(fleiss_kappa(values))
    assert found["krippendorff_alpha"].value == pytest.approx(krippendorff_alpha(values))
    pairwise = [cohen_kappa(values[one], values[other]) for one, other in ((0, 1), (0, 2), (1, 2))]
    assert found["cohen_kappa_mean"].value == pytest.approx(np.mean(pairwise))
    assert (found["cohen_kappa_lowest"], found["cohen_kappa_highest"]) == pytest.approx((min(pairwise), max(pairwise)))
    assert found["fleiss_kappa"].low <= found["fleiss_kappa"].value <= found["fleiss_kappa"].high
    assert found["fleiss_kappa"].count == 6


def test_intervals_are_the_same_each_time():
    assert agreement(make_study(TABLE)) == agreement(make_study(TABLE))


def test_prevalence_by_hand():
    prevalence = agreement(make_study(TABLE)).numbers["prevalence"]
    assert prevalence == pytest.approx(
        {
            "synthetic": 0.5,
            "called_synthetic": 8 / 18,
            "called_synthetic_lowest_reader": 1 / 3,
            "called_synthetic_highest_reader": 0.5,
        }
    )


def test_ratings_are_ordinal():
    ratings = [[-5, 3, -2, 4], [-4, 5, 1, 2]]
    study = make_study([[r > 0 for r in row] for row in ratings])
    rated = [dataclasses.replace(r, rating=v) for r, v in zip(study, np.ravel(ratings).tolist(), strict=True)]
    found = agreement(rated).numbers["ratings"]["krippendorff_alpha"].value
    assert found == pytest.approx(krippendorff_alpha(np.array(ratings, float), "ordinal"))


def test_repeats_measure_readers_with_themselves():
    """R0 answers four repeats 1 1 0 0 where it said 1 0 0 0 first: .75 alike, kappa (.75 - .5) / .5."""
    study = make_study([[1, 0, 0, 0]])
    study += [
        dataclasses.replace(r, item=f"again {r.item}", repeat_of=r.item, said_synthetic=said)
        for r, said in zip(study, (True, True, False, False), strict=True)
    ]
    analysis = agreement(study)
    expected = {"repeats": 4, "same": 0.75, "kappa": pytest.approx(0.5)}
    assert analysis.numbers["within_readers"] == {"R0": expected, "all readers": expected}
    assert "images" not in analysis.numbers
    assert any("same answer to 75 % of images" in sentence for sentence in analysis.sentences)


def test_one_reader_without_repeats_has_no_agreement():
    assert agreement(make_study([[1, 0]])) is None and agreement([]) is None


def test_unanimous_answers_are_said():
    analysis = agreement(make_study([[1, 1], [1, 1]]))
    assert analysis.numbers["images"]["fleiss_kappa"] is None
    assert any("agreement beyond chance is undefined" in sentence for sentence in analysis.sentences)


def test_matrix_has_a_gap_where_a_reader_did_not_judge():
    matrix = answer_matrix(make_study(TABLE)[1:], lambda reading: float(reading.said_synthetic))
    assert np.isnan(matrix[0, 0]) and matrix[2].tolist() == TABLE[2]


def test_json_takes_the_numbers():
    numbers = ANALYSES["agreement"](make_study(TABLE)).numbers
    json.dumps(numbers, default=dataclasses.asdict, allow_nan=False)
