import numpy as np
import pytest

from tfcxr.evaluation.metrics.frechet_at_infinity import FRECHET_AT_INFINITY, frechet_at_infinity
from tfcxr.evaluation.metrics.frechet_distance import FRECHET, frechet_distance


def features(seed: int, images: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=[images, 16]) + shift


def test_the_intercept_is_that_of_a_line_through_all_halves_and_quarters():
    """Least squares at 1, 2 and 4 gives them the weights 1, 1/2 and -1/2."""
    first, second = np.repeat(features(0, 2), 8, axis=0), np.repeat(features(1, 2), 8, axis=0)
    orders = np.random.default_rng(5)
    sides = [(rows, orders.permutation(16)) for rows in (first, second)]
    halves, quarters = (
        np.mean([frechet_distance(*(rows[order[part::parts]] for rows, order in sides)) for part in range(parts)])
        for parts in (2, 4)
    )
    expected = frechet_distance(first, second) + halves / 2 - quarters / 2
    assert frechet_at_infinity(first, second, seed=5) == pytest.approx(expected, abs=1e-9)


def test_it_does_not_depend_on_the_number_of_images():
    """16 features shifted by .1 are .16 apart; at 200 images the Frechet distance is more than twice that."""
    pairs = [(features(2 * seed, 200), features(2 * seed + 1, 200, 0.1)) for seed in range(40)]
    found = np.array([frechet_at_infinity(*pair) for pair in pairs])
    assert np.mean([frechet_distance(*pair) for pair in pairs]) > 0.32
    assert found.mean() == pytest.approx(0.16, abs=0.05)
    same = [frechet_at_infinity(features(2 * seed, 200), features(2 * seed + 1, 200)) for seed in range(40)]
    assert min(same) < 0 < max(same) and abs(np.mean(same)) < 0.05


def test_the_interval_is_as_wide_as_that_of_all_images_and_covers():
    pairs = [(features(2 * seed, 400), features(2 * seed + 1, 400, 0.3)) for seed in range(30)]
    intervals = [FRECHET_AT_INFINITY.estimate(*pair) for pair in pairs]
    whole = FRECHET.estimate(*pairs[0])
    assert intervals[0].high - intervals[0].mean == pytest.approx(whole.high - whole.mean)
    assert sum(low <= 16 * 0.09 <= high for _, low, high in intervals) >= 26  # 28.5 expected


def test_too_few_images_to_be_quartered():
    with pytest.raises(ValueError, match="needs 8 images or more in each set, got 7 and 20"):
        frechet_at_infinity(features(0, 7), features(1, 20))
