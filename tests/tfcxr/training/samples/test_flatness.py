"""When a row of distances is called flat."""

import numpy as np
import pytest

from tfcxr.training.samples.flatness import MIN_WINDOW, flat_window, is_flat


def falling(samples, noise, seed):
    steps = np.arange(1, samples + 1)
    return steps**-0.56 * (1 + noise * np.random.default_rng(seed).normal(size=samples))


def first_flat(distances):
    return next((count for count in range(1, len(distances) + 1) if is_flat(distances[:count])), None)


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.1])
def test_a_falling_row_is_never_flat(noise):
    found = [first_flat(falling(100, noise, seed)) for seed in range(40)]
    assert found == [None] * 40


def test_a_noisy_plateau_is_flat_and_soon():
    found = []
    for seed in range(40):
        noise = 0.1 * np.random.default_rng(seed).normal(size=48)
        found.append(first_flat(np.minimum(np.arange(1, 49), 12) ** -0.56 * (1 + noise)))
    assert None not in found and 16 < np.median(found) <= 28, "it begins at the 12th"


def test_a_rising_or_constant_row_is_flat_as_soon_as_there_are_two_windows():
    for row in (np.ones(40), np.arange(40.0)):
        assert first_flat(row) == 2 * MIN_WINDOW


def test_the_windows_by_hand():
    before, after = [2.0, 4.0] * 4, [2.0, 3.0] * 4  # means 3 and 2.5, variances 8/7 and 2/7: error sqrt(10/7/8) = .42
    assert not is_flat(before + after)
    assert is_flat(before + [value + 0.1 for value in after]), "lower by .4"
    assert flat_window([0.0] * 23) == 8 and flat_window([0.0] * 60) == 20
