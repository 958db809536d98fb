import numpy as np
import pytest
from scipy import stats

from tfcxr.reader_study.readings import Reading
from tfcxr.reader_study.statistics.crossed_effects import crossed_rate, rate_of_readings
from tfcxr.reader_study.statistics.crossed_effects_coverage import (
    DEVIATIONS,
    METHODS,
    RATES,
    coverage,
    hype_coverage,
    print_table,
    simulate,
)
from tfcxr.reader_study.statistics.simple_intervals import t_interval, wilson_interval


@pytest.fixture
def answers():
    """Five readers, 20 cases."""
    return simulate(5, 20, 0.7, DEVIATIONS["large"], np.random.default_rng(1))


def test_balanced_components_are_those_of_the_analysis_of_variance(answers):
    readers, cases = answers.shape
    mean, of_readers, of_cases = answers.mean(), answers.mean(1), answers.mean(0)
    mean_square_readers = cases * ((of_readers - mean) ** 2).sum() / (readers - 1)
    mean_square_cases = readers * ((of_cases - mean) ** 2).sum() / (cases - 1)
    residual = ((answers - of_readers[:, None] - of_cases + mean) ** 2).sum() / ((readers - 1) * (cases - 1))
    found = crossed_rate(answers)
    assert found.reader_variance == pytest.approx((mean_square_readers - residual) / (readers * cases))
    assert found.case_variance == pytest.approx((mean_square_cases - residual) / (readers * cases))
    assert found.residual_variance == pytest.approx(residual / (readers * cases))
    assert found.value == pytest.approx(mean)


def test_interval_by_hand():
    """Two readers who disagree at random: no variance between readers or cases is seen, so the residual's is taken."""
    values = np.array([[1, 1, 0, 1], [1, 0, 1, 1.0]])
    # mean square of readers 0, of cases (1, .5, .5, 1) 2 * 4 * .0625 / 3 = 1/6, residual (1.5 - .5) / 3 = 1/3
    found = crossed_rate(values)
    assert (found.reader_variance, found.case_variance) == (0, 0)
    assert found.residual_variance == pytest.approx(1 / 3 / 8)
    assert found.degrees_of_freedom == pytest.approx((1 / 3) ** 2 / ((1 / 6) ** 2 / 3 + (1 / 3) ** 2 / 3))
    half_width = stats.t.ppf(0.975, found.degrees_of_freedom) * np.sqrt(1 / 24) / (0.75 * 0.25)
    assert found.high == pytest.approx(1 / (1 + np.exp(-(np.log(3) + half_width))))
    assert found.low == pytest.approx(1 / (1 + np.exp(-(np.log(3) - half_width))))


def test_interval_is_wider_than_simple_ones_where_readers_and_cases_differ(answers):
    crossed = crossed_rate(answers)
    for low, high in (t_interval(answers.mean(1)), wilson_interval(answers.mean(), answers.size)):
        assert crossed.high - crossed.low > high - low


def test_order_of_readers_and_cases_does_not_matter(answers):
    assert crossed_rate(answers[::-1, ::-1]).low == pytest.approx(crossed_rate(answers).low)


def test_components_of_gappy_answers_are_unbiased():
    """Normal answers would be too: here Bernoulli ones whose chance is additive, .5 + reader + case."""
    generator = np.random.default_rng(0)
    found = []
    for _ in range(600):
        chance = 0.5 + generator.choice([-0.2, 0.2], (6, 1)) + generator.choice([-0.2, 0.2], 15)
        values = (generator.random((6, 15)) < chance).astype(float)
        values[0, :10] = values[1, 5:] = np.nan
        rate = crossed_rate(values)
        found.append((rate.value, rate.reader_variance, rate.case_variance, rate.residual_variance))
    counts = np.array([5, 5, 15, 15, 15, 15])
    per_case = np.array([5] * 5 + [4] * 5 + [5] * 5)
    total = counts.sum()
    values, *components = np.array(found).T
    expected = 0.04 * (counts**2).sum() / total**2, 0.04 * (per_case**2).sum() / total**2, 0.17 / total
    assert np.mean(components[0]) == pytest.approx(expected[0], rel=0.1)  # a little above: negative ones become 0
    assert np.mean(components[1]) == pytest.approx(expected[1], rel=0.1)
    assert np.mean(components[2]) == pytest.approx(expected[2], rel=0.05)
    assert np.var(values) == pytest.approx(sum(expected), rel=0.15)


def test_reader_without_answers_changes_nothing(answers):
    padded = np.vstack([answers, np.full((1, 20), np.nan)])
    assert crossed_rate(padded) == crossed_rate(answers)


def test_one_reader_has_wilsons_interval_for_other_cases(answers):
    found = crossed_rate(answers[:1])
    assert (found.low, found.high) == pytest.approx(wilson_interval(answers[0].mean(), 20))
    assert found.reader_variance == 0 and found.readers == 1


def test_cases_read_once_each_need_no_case_variance():
    values = np.full((2, 8), np.nan)
    values[0, :4], values[1, 4:] = (1, 0, 1, 1), (0, 1, 1, 0)
    found = crossed_rate(values)
    assert found.case_variance == 0 and found.residual_variance > 0


@pytest.mark.parametrize("answer", [0.0, 1.0])
def test_unanimity_counts_each_case_once(answer):
    found = crossed_rate(np.full((3, 20), answer))
    end = 0.025 ** (1 / 20)
    assert (found.low, found.high) == pytest.approx((end, 1) if answer else (0, 1 - end))


def test_weights_balance_strata():
    values = np.array([[1, 1, 1, 0, 1, 0], [1, 1, 0, 0, 0, 1.0]])
    strata = np.array([0, 0, 0, 0, 1, 1])
    assert crossed_rate(values, strata).value == pytest.approx(7 / 12)
    assert crossed_rate(values, strata, (0.5, 0.5)).value == pytest.approx((5 / 8 + 2 / 4) / 2)


def test_bias_of_readers_cancels_between_strata():
    """A reader who calls everything synthetic errs on all real and on no synthetic images: their mean never varies."""
    generator = np.random.default_rng(0)
    calls = generator.random((6, 1)) < 0.5
    strata = np.arange(20) % 2
    errors = np.where(strata == 1, ~calls, calls).astype(float)
    found = crossed_rate(errors, strata, (0.5, 0.5))
    assert found.value == 0.5 and found.reader_variance == pytest.approx(0, abs=1e-12)
    assert crossed_rate(errors[:, strata == 0]).reader_variance > 0.02


def test_two_answers_to_one_case_count_as_their_mean():
    made = [
        Reading("R1", "", item, "single", case, "", (), False, said)
        for item, case, said in (("1", "a", True), ("2", "a", False), ("3", "b", False))
    ]
    found = rate_of_readings(made, lambda reading: reading.is_correct)
    assert found.value == 0.75 and found.count == 2
    assert rate_of_readings([], lambda reading: True) is None


@pytest.mark.parametrize("values", [np.full((2, 3), np.nan), np.zeros(3)])
def test_no_answers_are_refused(values):
    with pytest.raises(ValueError, match=r"shape \[readers, cases\]"):
        crossed_rate(values)


def test_values_beyond_0_to_1_are_refused():
    with pytest.raises(ValueError, match="of 0 to 1, got 0 to 2"):
        crossed_rate(np.array([[0, 2.0]]))


def test_empty_stratum_is_refused():
    with pytest.raises(ValueError, match="stratum 1 has no answer"):
        crossed_rate(np.array([[1, np.nan]]), np.array([0, 1]), (0.5, 0.5))


def test_simulated_rate_is_the_one_asked_for():
    generator = np.random.default_rng(0)
    found = [simulate(20, 100, 0.7, DEVIATIONS["large"], generator).mean() for _ in range(300)]
    assert np.mean(found) == pytest.approx(0.7, abs=0.01)


@pytest.mark.parametrize("name", ["small", "large"])
@pytest.mark.parametrize("rate", RATES)
def test_coverage_is_near_95(name, rate):
    """The whole table is in README.md; 200 studies have a standard error of .015."""
    found = coverage(8, 40, rate, DEVIATIONS[name], 200)
    assert 0.92 <= found["crossed"] <= 1
    assert found["Wilson over answers"] < 0.93


def test_simple_intervals_miss_where_cases_differ():
    found = coverage(8, 20, 0.5, DEVIATIONS["large"], 200)
    assert found["crossed"] > 0.92 and found["t over readers"] < 0.92 and found["Wilson over answers"] < 0.75


def test_table_has_a_line_per_setting(capsys):
    print_table(simulations=1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 4 * 3 * 4 and all(line.count("|") == 4 + 3 * len(METHODS) for line in lines)


@pytest.mark.thorough
@pytest.mark.parametrize("name", DEVIATIONS)
@pytest.mark.parametrize("readers", [3, 8])
def test_coverage_of_thousand_studies(readers, name):
    """README.md has all settings."""
    for rate in RATES:
        assert coverage(readers, 40, rate, DEVIATIONS[name])["crossed"] > 0.91, rate


@pytest.mark.parametrize("deviations", [(0.3, 0.2, 0.3), (0.6, 0.4, 0.8)])
def test_coverage_of_hype_with_biased_readers(deviations):
    assert hype_coverage(8, deviations, simulations=200) > 0.92
