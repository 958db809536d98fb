import numpy as np
import pytest
from scipy import stats

from tfcxr.reader_study.statistics.simple_intervals import t_interval, t_test, wilson_interval


def test_t_interval_is_scipys():
    rates = np.array([0.6, 0.7, 0.55, 0.9, 0.4])
    assert t_interval(rates) == pytest.approx(stats.t.interval(0.95, 4, rates.mean(), stats.sem(rates)))


def test_wilson_interval_of_a_textbook():
    """Newcombe 1998, table I: 15 of 148 gives .0624 to .1605 by the score method."""
    assert wilson_interval(15 / 148, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)


def test_t_test_is_scipys():
    of_readers = np.array([0.6, 0.7, 0.55, 0.9, 0.4])
    expected = stats.ttest_1samp(of_readers, 0.5, alternative="greater")
    assert t_test(of_readers) == pytest.approx({"t": expected.statistic, "degrees_of_freedom": 4, "p": expected.pvalue})
    assert t_test(np.array([0.7])) is None and t_test(np.array([0.7, 0.7])) is None
