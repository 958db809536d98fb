"""Power: the formula against the simulation, hand-computed variances, and the error of the first kind."""

import numpy as np
import pytest
from scipy import stats

from tfcxr.reader_study.design.power import (
    Skill,
    approximate_power,
    p_values,
    power_lines,
    power_plan,
    simulated_power,
    smallest_rate,
    variance_components,
)


def test_variances_are_those_of_two_correlated_answers():
    skill = Skill(0.7, 0.4, 0.8)
    total = 1 + 0.4**2 + 0.8**2
    bound = stats.norm.ppf(0.7)
    for variance, spread in zip(variance_components(skill), (0.4, 0.8), strict=False):
        correlation = spread**2 / total
        both = stats.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]]).cdf([bound, bound])
        assert variance == pytest.approx(both - 0.7**2, abs=1e-5)  # the cdf is a numerical integral too
    assert sum(variance_components(skill)) == pytest.approx(0.7 * 0.3)


def test_variances_without_effects_are_binomial():
    assert variance_components(Skill(0.6, 0.0, 0.0)) == pytest.approx((0, 0, 0.24))


def test_p_of_a_table_by_hand():
    correct = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]], float)
    # means of readers .75, .5, 1 and of cases 1, 1, 2/3, 1/3; overall .75
    reader, case = 4 * (0.25**2 * 2) / 2, 3 * (0.25**2 * 2 + (1 / 12) ** 2 + (5 / 12) ** 2) / 3
    total = 9 * 0.25**2 + 3 * 0.75**2
    rest = (total - 2 * reader - 3 * case) / 6
    value = reader + case - rest
    freedom = value**2 / (reader**2 / 2 + case**2 / 3 + rest**2 / 6)
    assert p_values(correct) == pytest.approx(stats.t.sf(0.25 / np.sqrt(max(value, 0.25) / 12), freedom))


def test_one_reader_is_tested_over_cases():
    correct = np.array([[1, 1, 1, 0, 1, 1, 0, 1.0]])
    error = np.sqrt(0.25 / 8)  # that of guessing, since the sample's 3/14 is less
    assert p_values(correct) == pytest.approx(stats.t.sf(0.25 / error, 7))


def test_a_table_without_variance_is_not_certain():
    assert 0.01 < p_values(np.ones((2, 2))) < 0.5
    assert p_values(np.ones((8, 20))) < 1e-5


@pytest.mark.parametrize(
    ("skill", "readers", "cases"),
    [
        (Skill(0.6), 8, 36),
        (Skill(0.7, 0.3, 0.5), 8, 20),
        (Skill(0.62, 0.0, 0.8), 4, 60),
        (Skill(0.65, 0.5, 0.2), 12, 40),
    ],
)
def test_the_formula_agrees_with_the_simulation(skill, readers, cases):
    # .05 is 2.2 standard errors of 500 studies at worst, and what the formula may be off
    assert approximate_power(skill, readers, cases) == pytest.approx(
        simulated_power(skill, readers, cases, studies=500, seed=1), abs=0.05
    )


@pytest.mark.parametrize(("readers", "cases"), [(8, 36), (8, 20), (4, 60)])
@pytest.mark.parametrize("spreads", [(0.0, 0.0), (0.3, 0.5), (0.5, 1.0)])
def test_the_error_of_the_first_kind_is_near_the_level(readers, cases, spreads):
    found = simulated_power(Skill(0.5, *spreads), readers, cases, studies=2000, seed=2)
    assert 0.02 <= found <= 0.065  # three standard errors above .05; without effects the test is cautious
    assert approximate_power(Skill(0.5, *spreads), readers, cases) == pytest.approx(0.05)


def test_power_grows_with_rate_readers_and_cases():
    assert approximate_power(Skill(0.65), 8, 36) > approximate_power(Skill(0.6), 8, 36)
    assert approximate_power(Skill(0.6), 16, 36) > approximate_power(Skill(0.6), 8, 36)
    assert approximate_power(Skill(0.6), 8, 72) > approximate_power(Skill(0.6), 8, 36)
    assert approximate_power(Skill(0.6), 8, 36) > approximate_power(Skill(0.6, 0.3, 1.5), 8, 36)


def test_the_smallest_rate_has_the_wanted_power():
    rate = smallest_rate(Skill(), 8, 36)
    assert approximate_power(Skill(rate), 8, 36) == pytest.approx(0.8, abs=1e-3)
    assert smallest_rate(Skill(), 2, 2) is None


def test_the_plan_is_printed():
    plan = power_plan(Skill(), 8, {"grid": 36, "pair": 20, "single": 1})
    assert list(plan["kinds"]) == ["grid", "pair"]
    assert {(row["readers"], row["cases"]) for row in plan["kinds"]["pair"]["table"]} >= {(4, 20), (8, 20), (16, 80)}
    text = "\n".join(power_lines(plan))
    assert f"36 cases x 8 readers: {plan['kinds']['grid']['power']:.0%} (simulated" in text
    assert "or more has 80% power" in text
    assert "no true rate has 80% power" in "\n".join(power_lines(power_plan(Skill(), 2, {"pair": 2})))
