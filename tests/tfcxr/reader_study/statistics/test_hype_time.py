import dataclasses
import json

import numpy as np
import pytest
from scipy import special, stats

from tfcxr.reader_study.readings import Reading
from tfcxr.reader_study.statistics.analysis import ANALYSES
from tfcxr.reader_study.statistics.hype_time import hype_time, modal_exposures, psychometric_threshold


def shown(reader, exposures, block="", is_correct=True, first=0, **fields):
    return [
        Reading(reader, "", f"item {number}", "single", f"{block} {number}", block, (), True, is_correct,
                exposure_seconds=seconds, **fields)
        for number, seconds in enumerate(exposures, first)
    ]  # fmt: skip


def staircase(reader, threshold, generator, count=150):
    """A reader with a logistic psychometric function; 10 ms shorter after a right answer, 30 ms longer else."""
    seconds, made = 0.5, []
    for _ in range(count):
        right = generator.random() < 0.5 + 0.5 * special.expit((np.log(seconds) - np.log(threshold)) / 0.2)
        made.append((seconds, bool(right)))
        seconds = round(min(1.0, max(0.1, seconds + (-0.01 if right else 0.03))), 3)
    return [r for number, (s, right) in enumerate(made) for r in shown(reader, [s], f"b{number // 50}", right, number)]


def test_modal_exposure_by_hand():
    study = (
        shown("R1", [0.5, 0.49, 0.48, 0.49], "a") + shown("R1", [0.5, 0.49, 0.5, 0.49], "b") + shown("R2", [0.3], "a")
    )
    assert modal_exposures(study) == {"R1": {"a": 0.49, "b": pytest.approx(0.495)}, "R2": {"a": 0.3}}


def test_frames_of_a_screen_are_one_exposure():
    study = shown("R1", [0.5167, 0.5172, 0.6, 0.5201, 0.6])
    assert modal_exposures(study) == {"R1": {"": 0.52}}


def test_hype_time_is_the_mean_over_readers_of_their_blocks():
    study = shown("R1", [0.4, 0.4, 0.5], "a") + shown("R1", [0.2, 0.2], "b") + shown("R2", [0.5, 0.5, 0.4])
    found = hype_time(study).numbers["hype_time_seconds"]
    assert found.value == pytest.approx(((0.4 + 0.2) / 2 + 0.5) / 2)
    low, high = stats.t.interval(0.95, 1, 0.4, stats.sem([0.3, 0.5]))
    assert (found.low, found.high) == pytest.approx((max(0, low), high)) and found.count == 2


def test_threshold_of_a_known_function_is_found():
    generator = np.random.default_rng(0)
    seconds = generator.uniform(0.1, 1, 4000)
    right = generator.random(4000) < 0.5 + 0.5 * special.expit((np.log(seconds) - np.log(0.3)) / 0.2)
    assert psychometric_threshold(seconds, right) == pytest.approx(0.3, rel=0.06)


@pytest.mark.parametrize("is_correct", [True, False])
def test_threshold_outside_the_exposures_is_none(is_correct):
    assert psychometric_threshold(np.linspace(0.1, 1, 50), np.full(50, is_correct)) is None


def test_staircases_end_at_the_threshold():
    generator = np.random.default_rng(1)
    thresholds = (0.25, 0.3, 0.35, 0.3, 0.28, 0.32)
    study = [r for number, t in enumerate(thresholds) for r in staircase(f"R{number}", t, generator)]
    analysis = hype_time(study)
    threshold = analysis.numbers["threshold_seconds"]
    assert threshold.value == pytest.approx(0.3, rel=0.15) and threshold.low < 0.3 < threshold.high
    assert 0.2 < analysis.numbers["hype_time_seconds"].value < 0.45
    assert any("exposure shown most often" in sentence for sentence in analysis.sentences)
    assert sum(row[2] for row in analysis.tables[1].rows) == len(study)


def test_readers_at_the_limits_are_counted():
    analysis = hype_time(shown("R1", [1.0] * 5 + [0.9], is_correct=False) + shown("R2", [0.1] * 5 + [0.2]))
    assert (analysis.numbers["at_longest"], analysis.numbers["at_shortest"]) == (1, 1)
    assert any("stayed at the longest exposure: 1" in sentence for sentence in analysis.sentences)


def test_one_exposure_has_no_threshold():
    analysis = hype_time(shown("R1", [0.5, 0.5]) + shown("R2", [0.5], is_correct=False))
    assert analysis.numbers == {"hype_time_seconds": None, "threshold_seconds": None}
    assert analysis.tables[0].rows[0][1].value == pytest.approx(2 / 3)
    assert "shown for 500 ms, so there is no threshold" in analysis.sentences[0]


def test_one_reader_has_no_interval():
    analysis = hype_time(staircase("R1", 0.3, np.random.default_rng(0)))
    assert isinstance(analysis.numbers["hype_time_seconds"], float)
    assert "(" not in analysis.sentences[0] and isinstance(analysis.numbers["threshold_seconds"], float)


def test_untimed_images_and_repeats_do_not_count():
    assert hype_time(shown("R1", [None, None])) is None
    assert hype_time(shown("R1", [0.5, 0.4], repeat_of="item")) is None and hype_time([]) is None


def test_json_takes_the_numbers():
    study = staircase("R1", 0.3, np.random.default_rng(0)) + staircase("R2", 0.3, np.random.default_rng(1))
    json.dumps(ANALYSES["hype_time"](study).numbers, default=dataclasses.asdict, allow_nan=False)
