import dataclasses
import json

import pytest

from tfcxr.reader_study.readings import Reading
from tfcxr.reader_study.statistics.analysis import ANALYSES, Estimate
from tfcxr.reader_study.statistics.hype import hype, mean_of_published_errors


def make_study(real_errors, synthetic_errors, group="", reader_prefix="R", **fields):
    """`real_errors` of each reader: how many of its judgements of real images are wrong, as 0 and 1 per image."""
    return [
        Reading(f"{reader_prefix}{number}", group, f"{name} {case}", "single", f"{name} {case}", "", (), is_synthetic,
                is_synthetic != bool(error), **fields)
        for name, is_synthetic, errors in (("real", False, real_errors), ("synthetic", True, synthetic_errors))
        for number, row in enumerate(errors)
        for case, error in enumerate(row)
    ]  # fmt: skip


def test_hype_by_hand():
    found = hype(make_study([[1, 0, 0, 0], [0, 0, 1, 0]], [[1, 1, 0, 1], [1, 0, 0, 1]])).numbers
    assert found["real_errors"].value == 0.25 and found["synthetic_errors"].value == 0.625
    assert found["hype_infinity"].value == pytest.approx(7 / 16) == found["error_share"].value


def test_unequal_numbers_are_balanced():
    analysis = hype(make_study([[1, 0, 0, 0], [0, 0, 1, 0]], [[1, 1], [1, 0]]))
    assert analysis.numbers["hype_infinity"].value == pytest.approx((0.25 + 0.75) / 2)
    assert analysis.numbers["error_share"].value == pytest.approx(5 / 12)
    assert any("4 real and 2 synthetic images, so the plain share" in sentence for sentence in analysis.sentences)


def test_formula_is_printed():
    sentences = hype(make_study([[1, 0], [0, 0]], [[1, 1], [1, 0]])).sentences
    formula = "HYPE-infinity = (real called synthetic + synthetic called real) / 2 = (25.0 % + 75.0 %) / 2 = 50.0 %"
    assert any(sentence.startswith(formula) for sentence in sentences)


def test_papers_number_is_not_what_the_definition_gives():
    assert mean_of_published_errors() == 0.44
    assert (0.27 + 0.39) / 2 == 0.33
    analysis = hype(make_study([[1, 0], [0, 0]], [[1, 1], [1, 0]]))
    assert analysis.numbers["segal2021"]["hype_infinity"] == Estimate(0.33, 0.24, 0.43, 8)
    assert any("gives 44 % for their rates" in sentence for sentence in analysis.sentences)
    assert analysis.tables[0].rows[2][2] == Estimate(0.27, 0.18, 0.37, 8)


@pytest.mark.parametrize(
    "error, verdict", [(0, "better than by guessing"), (1, "look more real than real ones"), (None, "do not show that")]
)
def test_verdict_compares_with_guessing(error, verdict):
    """All right, all wrong, and half of each."""
    row = [0, 1] * 6 if error is None else [error] * 12
    assert verdict in hype(make_study([row] * 4, [row[::-1]] * 4)).sentences[0]


def test_groups_are_apart():
    study = make_study([[1, 1]], [[1, 1]], "consultant", "C") + make_study([[0, 0]], [[0, 0]], "registrar")
    groups = hype(study).numbers["by_group"]
    assert groups["consultant"].value == 1 and groups["registrar"].value == 0


def test_pairs_repeats_and_timed_images_do_not_count():
    study = make_study([[1, 0], [0, 0]], [[1, 1], [1, 0]])
    more = make_study([[1, 1]], [[1, 1]], exposure_seconds=0.2) + make_study([[1]], [[1]], repeat_of="real 0")
    more += [dataclasses.replace(reading, kind="pair") for reading in study]
    assert hype(study + more).numbers == hype(study).numbers


@pytest.mark.parametrize("real, synthetic", [([], [[1]]), ([[1]], []), ([], [])])
def test_one_side_alone_has_no_hype(real, synthetic):
    assert hype(make_study(real, synthetic)) is None


def test_json_takes_the_numbers():
    numbers = ANALYSES["hype"](make_study([[1, 0]], [[1, 1]])).numbers
    json.dumps(numbers, default=dataclasses.asdict, allow_nan=False)
