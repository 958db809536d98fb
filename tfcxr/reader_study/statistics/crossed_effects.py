"""A rate with its 95 % interval when both the readers and the cases are samples: crossed random effects.

The same readers judge the same images, so answers are not independent: a good reader is right more often on all cases,
an easy case is got right by most readers. An interval that should hold for other readers and other images must count
both. The model is additive on the scale of the rate (Dorfman, Berbaum, Metz 1992, section 2; Gallas, Bandos, Samuelson,
Wagner 2009 for binary answers):

    y_rc = rate + R_r + C_c + E_rc,   Var(rate) = v_R + v_C + v_E

Why this method, for 3 to 20 readers and 20 to 100 cases (figures in README.md):
  - Moments need no likelihood to converge and no balance: readers who stopped half way count with what they answered.
  - Degrees of freedom by Satterthwaite (1946) tell three readers from thirty; a normal quantile does not.
  - The logit scale keeps the interval inside 0 to 1, and right where the rate is near either end.
  - A bootstrap of three readers keeps only two thirds of their variance and takes the tails of a normal distribution.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from scipy import special

from tfcxr.reader_study.readings import Reading
from tfcxr.reader_study.statistics.analysis import Estimate
from tfcxr.reader_study.statistics.simple_intervals import TAIL, wilson_interval


@dataclasses.dataclass(frozen=True)
class CrossedRate:
    """A rate over random readers and cases.

    Attributes:
      value: the rate, 0 to 1.
      low: lower end of its 95 % interval.
      high: upper end.
      count: answers.
      readers: number of readers.
      cases: number of cases.
      reader_variance: part of the rate's variance that more readers would lower.
      case_variance: part that more cases would lower.
      residual_variance: part that more of either would lower.
      degrees_of_freedom: of the variance; None where everybody agreed on everything.
    """

    value: float
    low: float
    high: float
    count: int
    readers: int
    cases: int
    reader_variance: float
    case_variance: float
    residual_variance: float
    degrees_of_freedom: float | None

    @property
    def estimate(self) -> Estimate:
        """What tables show."""
        return Estimate(self.value, self.low, self.high, self.count)


def rate_of_readings(
    readings: Sequence[Reading], is_counted: Callable[[Reading], bool], weights: tuple[float, float] | None = None
) -> CrossedRate | None:
    """Share of `readings` that are counted, over readers and cases; None without readings.

    Two answers of one reader to one case count as one, their mean.

    Args:
      is_counted: such as `lambda reading: reading.is_correct`.
      weights: of the real and the synthetic cases in the rate; None weighs each answer equally. Either way real and
        synthetic cases are two strata, since a design fixes how many there are of each.
    """
    if not readings:
        return None
    reader_keys, reader = np.unique([reading.reader for reading in readings], return_inverse=True)
    case_keys, case = np.unique([reading.case for reading in readings], return_inverse=True)
    shape = len(reader_keys), len(case_keys)
    sums, counts = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, (reader, case), [float(is_counted(reading)) for reading in readings])
    np.add.at(counts, (reader, case), 1.0)
    strata = np.zeros(len(case_keys), int)
    strata[case] = [int(reading.is_synthetic) for reading in readings]
    values = np.divide(sums, counts, out=np.full(shape, np.nan), where=counts > 0)
    return crossed_rate(values, strata, weights if len(set(strata)) > 1 else None)


def crossed_rate(
    values: np.ndarray, strata: np.ndarray | None = None, weights: Sequence[float] | None = None
) -> CrossedRate:
    """Mean of `values` with an interval for other readers and other cases.

    Variance components come from the mean products of two answers (U-statistics): an answer with itself, two of one
    reader, two to one case, and two that share neither. On balanced data these are the components of the two-way
    analysis of variance. With W = v_E, a = v_R + W on R - 1, b = v_C + W on C - 1, W on N - R - C + 1 degrees:

        Var = max(a + b - W, a, b, W, rate (1 - rate) / N),  df = max(R - 1, Var^2 / (a^2/df_a + b^2/df_b + W^2/df_W))
        interval = logistic(logit(rate) +- t(df) sqrt(Var) / (rate (1 - rate)))

    With one reader the interval is for other cases of this reader alone (Wilson 1927). Where all values are 0 or all 1,
    no variance can be seen: each case then counts once, whoever read it (Clopper, Pearson 1934).

    Args:
      values: float [readers, cases], 0 to 1; NaN where a reader did not judge a case.
      strata: int [cases], from 0; None puts all cases in one.
      weights: of the strata in the rate, summing to 1; None weighs each answer equally.

    Raises:
      ValueError: values of another shape or range, or none; a stratum without answers.
    """
    values = np.asarray(values, float)
    if values.ndim != 2 or np.isnan(values).all():
        raise ValueError(f"expected values of shape [readers, cases], got {values.shape} without a single answer")
    if np.nanmin(values) < 0 or np.nanmax(values) > 1:
        raise ValueError(f"expected values of 0 to 1, got {np.nanmin(values):g} to {np.nanmax(values):g}")
    values = values[~np.isnan(values).all(1)]
    given = ~np.isnan(values)
    strata = np.zeros(values.shape[1], int) if strata is None else np.asarray(strata)
    of_stratum = np.eye(strata.max() + 1)[strata]  # [cases, strata]
    per_stratum = given.sum(0) @ of_stratum
    if not per_stratum.all() and weights is not None:
        raise ValueError(f"stratum {int(np.argmin(per_stratum))} has no answer; leave it out of the weights")
    count = int(given.sum())
    shares = per_stratum / count if weights is None else np.asarray(weights, float)
    filled = np.where(given, values, 0.0)
    rate = float((filled.sum(0) @ of_stratum / np.maximum(per_stratum, 1)) @ shares)
    readers, cases = len(values), int(given.any(0).sum())
    degrees: float | None = None
    parts = _variances(filled, given.astype(float), of_stratum, shares)
    if np.nanmin(values) == np.nanmax(values) in (0.0, 1.0):
        rate = float(np.nanmax(values))  # free of rounding
        end = TAIL ** (1 / cases)
        low, high = (0.0, 1 - end) if rate == 0 else (end, 1.0)
    elif readers == 1:
        low, high = wilson_interval(rate, count)
    else:
        variance, degrees = _total(parts, rate, count, readers, cases)
        half_width = special.stdtrit(degrees, 1 - TAIL) * np.sqrt(variance) / (rate * (1 - rate))
        low, high = special.expit(special.logit(rate) - half_width), special.expit(special.logit(rate) + half_width)
    of_readers, of_cases, residual = parts
    return CrossedRate(
        value=rate,
        low=float(low),
        high=float(high),
        count=count,
        readers=readers,
        cases=cases,
        reader_variance=max(0.0, of_readers),
        case_variance=max(0.0, of_cases),
        residual_variance=residual,
        degrees_of_freedom=degrees,
    )


def _variances(
    filled: np.ndarray, given: np.ndarray, of_stratum: np.ndarray, shares: np.ndarray
) -> tuple[float, float, float]:
    """(v_R, v_C, v_E); the first two may be below 0. `filled` has 0 where `given` is 0; both [readers, cases]."""
    sums, counts = filled @ of_stratum, given @ of_stratum  # [readers, strata]
    totals, numbers = sums.sum(0), counts.sum(0)
    squares = (filled**2).sum(0) @ of_stratum
    # Products of two answers, for each pair of strata: by one reader to two cases, and by two readers to two cases.
    one_reader = sums.T @ sums - np.diag(squares)
    one_reader_count = counts.T @ counts - np.diag(numbers)
    by_case, by_case_count = _pairs(filled) @ of_stratum, _pairs(given) @ of_stratum  # by two readers to one case
    neither = np.outer(totals, totals) - sums.T @ sums - np.diag(by_case)
    neither_count = np.outer(numbers, numbers) - counts.T @ counts - np.diag(by_case_count)
    within_readers = _mean(one_reader, one_reader_count)
    expected = np.where(neither_count > 0, _mean(neither, neither_count), within_readers)  # one reader: nothing between
    between_readers = np.where(one_reader_count > 0, within_readers - expected, 0.0)
    between_cases = np.where(by_case_count > 0, _mean(by_case, by_case_count) - np.diag(expected), 0.0)
    left = _mean(squares, numbers) - np.diag(between_readers) - between_cases - np.diag(expected)
    scale = np.divide(shares, numbers, out=np.zeros_like(shares), where=numbers > 0)
    reader_variance = scale @ (between_readers * (counts.T @ counts)) @ scale
    cases_squared = ((given.sum(0) ** 2) @ of_stratum) * scale**2
    case_variance, residual_variance = between_cases @ cases_squared, left @ (numbers * scale**2)
    return float(reader_variance), float(case_variance), max(0.0, float(residual_variance))


def _pairs(matrix: np.ndarray) -> np.ndarray:
    """Sum over ordered pairs of different readers of the products of their entries, per case."""
    return matrix.sum(0) ** 2 - (matrix**2).sum(0)


def _mean(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)


def _total(parts: tuple[float, float, float], rate: float, count: int, readers: int, cases: int) -> tuple[float, float]:
    """(variance, degrees of freedom)."""
    of_readers, of_cases, residual = parts
    a, b = max(0.0, of_readers + residual), max(0.0, of_cases + residual)
    variance = max(a + b - residual, a, b, residual, 1e-12)
    left = max(1, count - readers - cases + 1)
    spread = a**2 / (readers - 1) + b**2 / max(1, cases - 1) + residual**2 / left
    degrees = max(readers - 1.0, variance**2 / max(spread, 1e-24))
    return max(variance, rate * (1 - rate) / count), degrees
