import pytest

from tfcxr.reader_study.readings import readings
from tfcxr.reader_study.server.app import create_app
from tfcxr.reader_study.simulation.coverage import (
    Coverage,
    answers_through_app,
    coverage_lines,
    direct_answers,
    measure_coverage,
)
from tfcxr.reader_study.simulation.reader_model import ReaderSkill, SimulatedReaders
from tfcxr.reader_study.statistics.analysis import ANALYSES, Analysis, Estimate

SKILL = ReaderSkill(mean=1.0, reader_spread=0.0, case_spread=0.0)
TOKENS = {"R0": "token-0", "R1": "token-1", "R2": "token-2"}


def normal_interval(values):
    mean = sum(values) / len(values)
    half = 1.96 * (mean * (1 - mean) / len(values)) ** 0.5
    return Estimate(mean, mean - half, mean + half, len(values))


@pytest.fixture
def simple_analysis(monkeypatch):
    """Answers are independent without spreads, so the normal interval of a share is nearly right."""

    def analysis(found):
        pairs = [reading.is_correct for reading in found if reading.kind == "pair"]
        grids = [reading.is_correct for reading in found if reading.kind == "grid"]
        wide, narrow = normal_interval(pairs), normal_interval(grids)
        numbers = {
            "pairs_right": wide,
            "simple": {"pairs_right": {"never": Estimate(2.0, 1.5, 2.5, 1)}},
            "segal2021": {"pairs_right": wide},
            "by_reader": {"R0": {"pairs_right": wide}},
            "error_share": Estimate(1 - narrow.value, 1 - narrow.high, 1 - narrow.low, narrow.count),
            "something": wide,
            "count": 3,
        }
        return Analysis("Simple", (), numbers=numbers)

    monkeypatch.setitem(ANALYSES, "simple", analysis)
    return "simple"


def test_right_interval_covers_and_wrong_one_does_not(designed, simple_analysis):
    design, key = designed(readers=6, grids=1, pairs=12, singles=0)
    found = measure_coverage(
        design, key, SKILL, direct_answers(design), studies=200, seed=1, analyses=[simple_analysis]
    )
    assert set(found) == {"simple/pairs_right", "simple/simple/pairs_right/never", "simple/error_share"}
    pairs, errors = found["simple/pairs_right"], found["simple/error_share"]
    assert pairs.truth == pytest.approx(0.7602499)  # Phi(1 / sqrt 2)
    assert errors.truth == pytest.approx(0.3085375)  # Phi(-.5)
    assert pairs.mean_value == pytest.approx(pairs.truth, abs=0.015)  # 14,400 answers: standard error .004
    assert 0.91 < pairs.rate.value < 0.98 and 0.91 < errors.rate.value < 0.98
    wrong = found["simple/simple/pairs_right/never"]
    assert (wrong.studies, wrong.covered, wrong.too_high, wrong.mean_width) == (200, 0, 200, 1.0)


def test_same_seed_gives_the_same_coverage(designed, simple_analysis):
    design, key = designed()
    settings = {"studies": 5, "seed": 3, "analyses": [simple_analysis]}
    first = measure_coverage(design, key, SKILL, direct_answers(design), **settings)
    assert measure_coverage(design, key, SKILL, direct_answers(design), **settings) == first


def test_interval_of_the_coverage_is_exact():
    """Clopper and Pearson's interval of 8 hits of 10 is .4439 to .9748, and of 10 of 10 .6915 to 1."""
    rate = Coverage(0.5, 10, 8, 1, 0.5, 0.1).rate
    assert (rate.value, rate.low, rate.high) == pytest.approx((0.8, 0.4439, 0.9748), abs=1e-4)
    assert Coverage(0.5, 10, 10, 0, 0.5, 0.1).rate.low == pytest.approx(0.6915, abs=1e-4)
    assert Coverage(0.5, 10, 0, 0, 0.5, 0.1).rate.low == 0


def test_lines_tell_truth_and_coverage():
    heading, line = coverage_lines({"rates/pairs_right": Coverage(0.76, 10, 8, 1, 0.75, 0.1)})
    assert line.split() == ["rates/pairs_right", "0.760", "0.750", "0.100", "80.0", "%", "(44.4-97.5)"]
    assert heading.startswith("interval")


@pytest.mark.thorough
def test_answers_through_the_app_are_the_direct_ones(study):
    folder, design, key = study
    model = SimulatedReaders(design, key, SKILL, (1, 2))
    stored = answers_through_app(folder, design, key, TOKENS, create_app)(model)
    assert {row.viewport["simulated"] for row in stored} == {True}
    assert readings(design, key, stored) == readings(design, key, direct_answers(design)(model))


def test_interrupted_coverage_is_of_the_finished_studies(designed, simple_analysis):
    design, key = designed()
    direct, calls = direct_answers(design), []

    def interrupted(simulated):
        calls.append(simulated)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return direct(simulated)

    found = measure_coverage(design, key, SKILL, interrupted, studies=10, seed=0, analyses=[simple_analysis])
    assert {coverage.studies for coverage in found.values()} == {2}
    with pytest.raises(KeyboardInterrupt):
        measure_coverage(design, key, SKILL, _interrupt, studies=10, seed=0, analyses=[simple_analysis])


def _interrupt(simulated):
    raise KeyboardInterrupt


def test_nothing_to_cover_is_said(designed, monkeypatch):
    monkeypatch.setitem(ANALYSES, "empty", lambda found: None)
    design, key = designed()
    with pytest.raises(ValueError, match="empty have no interval for pairs_right, .*; name other --analyses"):
        measure_coverage(design, key, SKILL, direct_answers(design), studies=1, seed=0, analyses=["empty"])
    design, key = designed(grids=0, pairs=0, singles=0)
    with pytest.raises(ValueError, match="no item has a true rate"):
        measure_coverage(design, key, SKILL, direct_answers(design), studies=1, seed=0, analyses=["empty"])
