"""Which of several experiments differ: t-tests of every pair, as Chetty 2023 compares trainings."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats


@dataclasses.dataclass(frozen=True)
class PairwiseTest:
    """One pair of experiments.

    Attributes:
      difference: of the means, first - second.
      p: two-sided, of this pair alone.
      adjusted_p: by Holm 1979, of all pairs together.
      is_different: `adjusted_p` is below the level.
    """

    first: str
    second: str
    difference: float
    t: float
    p: float
    adjusted_p: float
    is_different: bool


def pairwise_t_tests(samples: Mapping[str, np.ndarray], level: float = 0.05) -> list[PairwiseTest]:
    """Welch's t-test (Welch 1947; variances may differ) of every pair, in the order of the names.

    The published study tests each pair at 5 % by itself; of 55 pairs of equal experiments, three would then differ by
    chance. So `is_different` goes by Holm's step-down adjustment; `p` is that of the single pair.

    Args:
      samples: name -> float [draws], independent values of one experiment, two or more.
      level: of the family of all pairs.

    Raises:
      ValueError: fewer than two experiments, fewer than two values of one, or values that are not finite.
    """
    if len(samples) < 2:
        raise ValueError(f"a comparison needs two experiments or more, got {len(samples)}")
    for name, values in samples.items():
        if np.ndim(values) != 1 or len(values) < 2 or not np.isfinite(values).all():
            raise ValueError(f"{name} needs two finite values or more to be tested, got {np.asarray(values).tolist()}")
    pairs = list(itertools.combinations(samples, 2))
    results = [_welch(np.asarray(samples[first], float), np.asarray(samples[second], float)) for first, second in pairs]
    adjusted = holm(np.array([p for _, p in results]))
    return [
        PairwiseTest(
            first, second, float(np.mean(samples[first]) - np.mean(samples[second])), t, p, float(by_holm),
            bool(by_holm < level),
        )
        for (first, second), (t, p), by_holm in zip(pairs, results, adjusted, strict=True)
    ]  # fmt: skip


def paired_t_test(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided p of the paired t-test (Student 1908) that two experiments of the same seeds have equal means.

    NaN of one seed alone, which says nothing of others.
    """
    differences = np.subtract(first, second)
    if len(differences) < 2 or not np.isfinite(differences).all():
        return math.nan
    if differences.std() == 0:  # the statistic has no denominator
        return 1.0 if differences[0] == 0 else 0.0
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def _welch(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    if first.std() == 0 and second.std() == 0:  # the statistic has no denominator
        is_equal = bool(first[0] == second[0])
        return (0.0, 1.0) if is_equal else (float(np.sign(first[0] - second[0]) * np.inf), 0.0)
    result = stats.ttest_ind(first, second, equal_var=False)
    return float(result.statistic), float(result.pvalue)


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's (1979) adjusted p-values float [tests], each at least as large as those before it in order of size."""
    order = np.argsort(p)
    raised = np.minimum(1.0, (len(p) - np.arange(len(p))) * p[order])
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(raised)
    return adjusted
