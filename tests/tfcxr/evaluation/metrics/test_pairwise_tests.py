import math

import numpy as np
import pytest
from scipy import stats

from tfcxr.evaluation.metrics.pairwise_tests import paired_t_test, pairwise_t_tests


def test_t_and_p_of_a_pair_by_hand():
    (test,) = pairwise_t_tests({"a": np.array([1.0, 2.0, 3.0]), "b": np.array([4.0, 6.0])})
    spread = 1.0 / 3 + 2.0 / 2  # variances 1 and 2 by the numbers of values
    freedom = spread**2 / ((1.0 / 3) ** 2 / 2 + 1.0**2 / 1)
    assert test.difference == -3.0
    assert test.t == pytest.approx(-3.0 / math.sqrt(spread))
    assert test.p == pytest.approx(2 * stats.t.sf(3.0 / math.sqrt(spread), freedom))
    assert test.adjusted_p == pytest.approx(test.p)


def test_holm_raises_the_smallest_most_and_keeps_the_order():
    random = np.random.default_rng(0)
    samples = {"far": random.normal(5, 1, 20), "near": random.normal(0.5, 1, 20), "zero": random.normal(0, 1, 20)}
    tests = {(test.first, test.second): test for test in pairwise_t_tests(samples)}
    assert list(tests) == [("far", "near"), ("far", "zero"), ("near", "zero")]
    by_p = sorted(tests.values(), key=lambda test: test.p)
    expected = np.maximum.accumulate([3 * by_p[0].p, 2 * by_p[1].p, by_p[2].p])
    assert [test.adjusted_p for test in by_p] == pytest.approx(list(expected))
    assert tests["far", "zero"].is_different and not tests["near", "zero"].is_different


@pytest.mark.thorough
def test_equal_experiments_seldom_differ_in_any_pair():
    random = np.random.default_rng(1)
    found = [
        any(test.is_different for test in pairwise_t_tests({str(n): random.normal(size=5) for n in range(6)}))
        for _ in range(200)
    ]
    assert np.mean(found) < 0.1, "of the family, not of each of the 15 pairs (there it would be near .5)"


def test_values_without_spread_are_equal_or_infinitely_apart():
    one, two = np.ones(3), np.full(3, 2.0)
    same, other = (pairwise_t_tests({"a": one, "b": values})[0] for values in (one, two))
    assert (same.p, same.is_different, other.p, other.t) == (1.0, False, 0.0, -math.inf)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ({"a": np.ones(3)}, "needs two experiments or more, got 1"),
        ({"a": np.ones(3), "b": np.ones(1)}, "b needs two finite values or more"),
        ({"a": np.array([1.0, np.nan]), "b": np.ones(2)}, "a needs two finite values"),
    ],
)
def test_what_cannot_be_tested_is_refused(samples, message):
    with pytest.raises(ValueError, match=message):
        pairwise_t_tests(samples)


def test_pairs_of_seeds_are_tested_by_their_differences():
    first, second = [0.9, 0.8, 0.85], [0.88, 0.79, 0.8]
    assert paired_t_test(first, second) == pytest.approx(stats.ttest_rel(first, second).pvalue)
    assert math.isnan(paired_t_test([0.9], [0.8])) and math.isnan(paired_t_test([math.nan, 1], [0, 1]))
    assert paired_t_test([2, 2], [1, 1]) == 0.0 and paired_t_test([2, 2], [2, 2]) == 1.0
