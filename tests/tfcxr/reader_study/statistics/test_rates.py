import dataclasses
import json

import numpy as np
import pytest
from scipy import stats

from tfcxr.reader_study.answers import Answer
from tfcxr.reader_study.readings import Reading, readings
from tfcxr.reader_study.statistics.analysis import ANALYSES, Estimate
from tfcxr.reader_study.statistics.rates import PUBLISHED, rates, rates_of_readers, show_p, show_percent
from tfcxr.reader_study.statistics.simple_intervals import wilson_interval

# rows are readers, columns cases; 1 is right
REAL = [[1, 1, 1, 0], [1, 1, 0, 1], [1, 0, 1, 1]]
SYNTHETIC = [[1, 0, 0, 1], [0, 0, 1, 1], [1, 1, 1, 1]]
PAIRS = [[1, 1], [1, 0], [0, 1]]
GROUPS = ("consultant", "registrar", "registrar")


def make_study():
    made = []
    for name, table, kind in (("real", REAL, "grid"), ("synthetic", SYNTHETIC, "grid"), ("pair", PAIRS, "pair")):
        for reader, row in enumerate(table):
            for case, is_right in enumerate(row):
                is_synthetic = name != "real"
                made.append(
                    Reading(f"R{reader}", GROUPS[reader], f"item {name} {case // 3}", kind, f"{name} {case}", "", (),
                            is_synthetic, is_synthetic == bool(is_right))
                )  # fmt: skip
    return made


def test_rates_by_hand():
    found = rates(make_study()).numbers
    values = {name: found[name].value for name in ("real_called_real", "synthetic_called_synthetic", "pairs_right")}
    assert values == pytest.approx(
        {"real_called_real": 9 / 12, "synthetic_called_synthetic": 8 / 12, "pairs_right": 4 / 6}
    )
    assert found["synthetic_called_real"].value == pytest.approx(4 / 12)
    assert found["synthetic_called_real"].low == pytest.approx(1 - found["synthetic_called_synthetic"].high)


def test_simple_formulas_by_hand():
    found = rates(make_study()).numbers["simple"]["synthetic_called_synthetic"]
    of_readers = np.array([0.5, 0.5, 1])
    low, high = stats.t.interval(0.95, 2, of_readers.mean(), stats.sem(of_readers))
    assert dataclasses.astuple(found["t_interval_over_readers"]) == pytest.approx((2 / 3, low, high, 3))
    assert dataclasses.astuple(found["wilson_over_answers"]) == pytest.approx((2 / 3, *wilson_interval(2 / 3, 12), 12))


def test_published_p_fits_the_published_interval():
    """61 % (51-70) of 8 readers: half a t interval of 7 degrees of freedom gives p of .0145; the paper prints .0155."""
    published = PUBLISHED["synthetic_called_real"]
    error = (published.high - published.low) / 2 / stats.t.ppf(0.975, 7)
    assert stats.t.sf((published.value - 0.5) / error, 7) == pytest.approx(0.0155, abs=0.002)


def test_groups_and_readers_are_split():
    numbers = rates(make_study()).numbers
    assert numbers["by_group"]["consultant"]["synthetic_called_synthetic"].value == 0.5
    assert numbers["by_group"]["registrar"]["synthetic_called_synthetic"].value == 0.75
    assert numbers["by_reader"]["R2"]["synthetic_called_synthetic"] == Estimate(1.0, pytest.approx(0.025**0.25), 1.0, 4)
    captions = [table.caption for table in rates(make_study()).tables]
    assert any("By reader group" in caption for caption in captions)


def test_repeats_and_timed_images_do_not_count():
    study = make_study()
    wrong = [
        Reading("R0", "consultant", "again", "single", "real 0", "", (), False, True, repeat_of="item real 0"),
        Reading("R0", "consultant", "timed", "single", "real 0", "", (), False, True, exposure_seconds=0.3),
    ]
    analysis = rates(study + wrong)
    assert analysis.numbers["real_called_real"] == rates(study).numbers["real_called_real"]
    assert any("limited time are left out" in sentence for sentence in analysis.sentences)


def test_timed_images_alone_are_counted():
    analysis = rates([dataclasses.replace(reading, exposure_seconds=0.5) for reading in make_study()])
    assert analysis.numbers["real_called_real"].value == 0.75
    assert "All images were shown for a limited time." in analysis.sentences


def test_paper_is_beside_the_study():
    table = rates(make_study()).tables[1]
    assert [row[3] for row in table.rows] == [
        Estimate(0.73, 0.63, 0.82, 8), Estimate(0.61, 0.51, 0.70, 8), Estimate(0.71, 0.55, 0.86, 8)
    ]  # fmt: skip
    assert [row[4] for row in table.rows] == ["<.0001", ".0155", None]


def test_rates_over_the_real_readings(design, key):
    answers = [Answer("1", "R1", "grid", "final", {"synthetic": [True, False, False, True, True, False]})]
    numbers = rates(readings(design, key, answers)).numbers
    assert numbers["real_called_real"].value == numbers["synthetic_called_synthetic"].value == pytest.approx(2 / 3)
    assert "pairs_right" not in numbers


def test_nothing_to_count_is_none():
    assert rates([]) is None


def test_registry_has_this_analysis_and_json_takes_its_numbers():
    json.dumps(ANALYSES["rates"](make_study()).numbers, default=dataclasses.asdict, allow_nan=False)


def test_rates_of_readers_are_in_the_order_of_their_keys():
    assert list(rates_of_readers(make_study()[::-1], lambda r: r.is_correct)) == pytest.approx([0.7, 0.6, 0.8])


def test_numbers_are_shown_as_in_the_paper():
    assert show_percent(PUBLISHED["real_called_real"]) == "73 % (63-82)"
    assert (show_p(0.0155), show_p(2e-5), show_p(1)) == (".0155", "<.0001", "1.0000")
