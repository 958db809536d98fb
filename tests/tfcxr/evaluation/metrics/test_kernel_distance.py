import numpy as np
import pytest

from tfcxr.evaluation.metrics import kernel_distance as kernel_module
from tfcxr.evaluation.metrics.kernel_distance import KERNEL, kernel_distance


def features(seed: int, images: int, count: int = 24, shift: float = 0.0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=[images, count]) + shift).astype(np.float32)


def direct(first: np.ndarray, second: np.ndarray) -> float:
    """The unbiased estimate pair by pair, in float64."""
    kernel = lambda x, y: (x.astype(np.float64) @ y.astype(np.float64) / len(x) + 1) ** 3  # noqa: E731
    within = [
        np.mean([kernel(rows[i], rows[j]) for i in range(len(rows)) for j in range(len(rows)) if i != j])
        for rows in (first, second)
    ]
    between = np.mean([kernel(x, y) for x in first for y in second])
    return float(within[0] + within[1] - 2 * between)


def test_hand_computed_points():
    first, second = np.array([[1.0], [1.0], [2.0], [2.0]]), np.zeros([4, 1])
    # kernel values 8 (1, 1), 27 (1, 2), 125 (2, 2), 1 with any 0; pairs of `first`: one 8, four 27, one 125
    expected = (8 + 4 * 27 + 125) / 6 + 1 - 2
    result = kernel_distance(first, second, subsets=3000, subset_size=2, seed=0)
    assert result.mean == pytest.approx(expected, rel=0.05)


def test_mean_over_subsets_agrees_with_all_pairs():
    first, second = features(0, 60), features(1, 80, shift=0.4)
    result = kernel_distance(first, second, subsets=4000, subset_size=30, seed=0)
    assert result.mean == pytest.approx(direct(first, second), rel=0.01)  # the mean of all subsets is exactly that
    assert result.low < result.mean < result.high


def test_each_subset_agrees_with_its_pairs(monkeypatch):
    monkeypatch.setattr(kernel_module, "STRIPE_ROWS", 7)  # stripes that do not divide the images
    first, second = 10 * features(0, 20), 10 * features(1, 23, shift=0.4)
    chosen = [np.zeros([2, 20], np.float32), np.zeros([2, 23], np.float32)]
    chosen[0][0, 3:12], chosen[0][1, 10:], chosen[1][0, :8], chosen[1][1, ::2] = 1, 1, 1, 1
    given = iter(chosen)
    monkeypatch.setattr(kernel_module, "_indicators", lambda *arguments: next(given))
    result = kernel_distance(first, second, subsets=2, subset_size=9, seed=0)
    values = [direct(first[chosen[0][row] > 0], second[chosen[1][row] > 0]) for row in range(2)]
    # Kernel values reach 1e6 here; float32 holds seven digits of them.
    assert result.mean == pytest.approx(np.mean(values), rel=1e-5)
    assert result.high - result.mean == pytest.approx(1.96 * np.std(values, ddof=1) * np.sqrt(9 / 11 + 1 / 2), rel=1e-4)


def test_equal_distributions_are_around_zero_on_both_sides():
    means = [kernel_distance(features(2 * s, 60), features(2 * s + 1, 60), 100, 30).mean for s in range(40)]
    assert min(means) < 0 < max(means)
    assert abs(np.mean(means)) < 3 * np.std(means) / np.sqrt(40)
    assert kernel_distance(features(0, 60), features(1, 60, shift=0.5), 100, 30).low > 2 * max(means)


def test_expectation_does_not_depend_on_the_number_of_images():
    few = [kernel_distance(features(2 * s, 20), features(2 * s + 1, 20, shift=0.5), 50, 10).mean for s in range(60)]
    many = kernel_distance(features(500, 4000), features(501, 4000, shift=0.5), 20, 2000).mean
    assert np.mean(few) == pytest.approx(many, abs=3 * np.std(few) / np.sqrt(60))


@pytest.mark.parametrize("subset_size", [30, 10])
def test_interval_covers_the_expected_distance(subset_size):
    draw = lambda seed: (features(2 * seed, 60), features(2 * seed + 1, 60, shift=0.4))  # noqa: E731
    expected = np.mean([kernel_distance(*draw(seed), 20, 30).mean for seed in range(1000, 1150)])
    results = [kernel_distance(*draw(seed), 100, subset_size, seed=seed) for seed in range(60)]
    assert sum(result.low <= expected <= result.high for result in results) >= 51  # 57 expected


def test_images_of_one_patient_stay_together_and_widen_the_interval():
    rows, other = features(0, 50), features(1, 200, shift=0.4)
    copies, patients = np.repeat(rows, 4, axis=0), np.repeat([f"patient-{index}" for index in range(50)], 4)
    apart, together = (kernel_distance(copies, other, 200, 100, 0, groups) for groups in (None, patients))
    assert together.high - together.low > 1.3 * (apart.high - apart.low)


def test_a_subset_holds_whole_patients_two_or_more():
    patients = np.repeat(np.arange(6), 2)
    for subset_size, images in ((2, 4), (4, 4), (6, 6)):
        chosen = kernel_module._indicators(12, patients, 50, subset_size, np.random.default_rng(0))
        assert set(chosen.sum(1)) == {images}
        np.testing.assert_array_equal(chosen[:, ::2], chosen[:, 1::2])


def test_the_seed_decides():
    pair = features(0, 40), features(1, 40)
    first, again, other = (kernel_distance(*pair, 10, 20, seed) for seed in (3, 3, 4))
    assert first == again != other


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((features(0, 40), features(1, 30), 10, 16), "from 2 to half of the smaller set, 15, got 16"),
        ((features(0, 40), features(1, 30), 10, 1), "from 2 to half of the smaller set, 15, got 1"),
        ((features(0, 40), features(1, 30), 1, 10), "2 subsets or more, got 1"),
        ((features(0, 3), features(1, 30), 10, 2), r"4 images or more, got shape \(3, 24\) as the first set"),
        ((features(0, 9), np.zeros([9]), 10, 2), r"4 images or more, got shape \(9,\) as the second set"),
        ((features(0, 9), features(0, 9, 5), 10, 2), "as many features, got 24 and 5"),
        ((features(0, 9), np.full([9, 24], np.inf), 10, 2), "9 of 9 images of the second set are not finite"),
        ((features(0, 9), features(1, 9), 10, 4, 0, np.array([0] * 8 + [1])), "four patients or more .* got 2"),
    ],
)
def test_what_has_no_distance_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        kernel_distance(*arguments)


def test_reports_take_subsets_of_half_the_smaller_set():
    pair = features(0, 41), features(1, 30, shift=0.4)
    by_hand = kernel_distance(*pair, subsets=100, subset_size=15, seed=3)
    assert KERNEL.estimate(*pair, None, None, 3) == by_hand and KERNEL.distance(*pair, 3) == by_hand.mean
    assert KERNEL.can_be_negative
