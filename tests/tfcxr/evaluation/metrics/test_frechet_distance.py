import numpy as np
import pytest
import scipy.linalg

from tfcxr.evaluation.metrics.frechet_distance import FRECHET, frechet_distance


def features(seed: int, images: int, count: int, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    """Correlated features: a random mixture of normal ones."""
    generator = np.random.default_rng(seed)
    mixture = np.random.default_rng(99).normal(size=[count, count]) / np.sqrt(count)
    return (generator.normal(size=[images, count]) @ mixture * scale + shift).astype(np.float32)


def by_matrix_root(first: np.ndarray, second: np.ndarray) -> float:
    """The formula as it stands, with scipy's matrix square root."""
    first, second = first.astype(np.float64), second.astype(np.float64)
    covariances = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
    gap = first.mean(0) - second.mean(0)
    return float(gap @ gap + np.trace(covariances[0] + covariances[1] - 2 * np.real(root)))


@pytest.mark.parametrize(("first", "second"), [((200, 40), (300, 40)), ((41, 40), (500, 40))])
def test_agrees_with_the_matrix_square_root(first, second):
    pair = features(0, *first), features(1, *second, scale=1.4, shift=0.3)
    assert frechet_distance(*pair) == pytest.approx(by_matrix_root(*pair), abs=1e-8)


@pytest.mark.parametrize(("first", "second"), [(12, 15), (12, 200), (200, 12)])
def test_fewer_images_than_features(first, second):
    pair = features(0, first, 40), features(1, second, 40, scale=1.4)
    # A root of a singular product is only good to the root of the rounding, 1e-8 for each of 40 features.
    assert frechet_distance(*pair) == pytest.approx(by_matrix_root(*pair), abs=1e-5)


def test_dead_and_repeated_features_change_nothing_but_their_own_part():
    pair = features(0, 100, 8), features(1, 120, 8, shift=0.5)
    dead = [np.hstack([rows, np.full([len(rows), 3], 7.0)]) for rows in pair]
    assert frechet_distance(*dead) == pytest.approx(frechet_distance(*pair), abs=1e-9)
    repeated = [np.hstack([rows, rows]) for rows in pair]  # a singular covariance, and every distance twice
    assert frechet_distance(*repeated) == pytest.approx(2 * frechet_distance(*pair), abs=1e-9)


@pytest.mark.parametrize("noise", [1e-3, 1e-5, 1e-7])
def test_nearly_repeated_features_lose_no_digits(noise):
    """The eigenvalues of a product of such covariances are lost in rounding: 3e-7 of the distance, were they taken."""
    base, grain = (np.random.default_rng(seed).normal(size=[60, 4]) for seed in (0, 1))
    rows = np.hstack([base, base + noise * grain])
    assert frechet_distance(rows, rows + 0.5) == pytest.approx(8 * 0.25, abs=1e-10)


@pytest.mark.parametrize("images", [500, 20])
def test_equal_sets_and_known_shifts(images):
    rows = features(0, images, 32)
    assert frechet_distance(rows, rows) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(rows, rows.astype(np.float64) + 0.5) == pytest.approx(32 * 0.25, abs=1e-9)
    # cov of twice the features is 4 cov: trace(cov + 4 cov - 2 * 2 cov) = trace(cov), beside the means' distance
    trace = np.var(rows.astype(np.float64), axis=0, ddof=1).sum() + (rows.astype(np.float64).mean(0) ** 2).sum()
    assert frechet_distance(rows, 2.0 * rows.astype(np.float64)) == pytest.approx(trace, abs=1e-9)


def test_one_feature_has_a_closed_form():
    first, second = features(0, 50, 1, scale=2.0), features(1, 70, 1, shift=1.0)
    deviations = [np.std(rows.astype(np.float64), ddof=1) for rows in (first, second)]
    gap = first.mean(dtype=np.float64) - second.mean(dtype=np.float64)
    assert frechet_distance(first, second) == pytest.approx(gap**2 + (deviations[0] - deviations[1]) ** 2, abs=1e-12)


def test_independent_features_have_a_closed_form():
    """Dowson, Landau 1982: where covariances commute, roots are subtracted feature by feature."""
    signs = np.array(np.meshgrid(*[[-1.0, 1.0]] * 3)).reshape(3, -1).T  # uncorrelated columns, variance 8 / 7
    distance = frechet_distance(signs * [1.0, 2.0, 3.0], signs * [2.0, 2.0, 1.0])
    assert distance == pytest.approx(8 / 7 * (1 + 0 + 4), abs=1e-12)


def test_fewer_images_raise_the_distance_of_one_distribution():
    distances = [frechet_distance(features(0, images, 16), features(1, images, 16)) for images in (2000, 200, 20)]
    assert distances == sorted(distances) and distances[2] > 10 * distances[0]


def test_interval_covers_the_expected_distance_and_narrows_with_images():
    sampled = [frechet_distance(features(seed, 200, 8), features(seed + 100, 200, 8, shift=0.3)) for seed in range(100)]
    intervals = [
        FRECHET.estimate(features(seed, 200, 8), features(seed + 100, 200, 8, shift=0.3)) for seed in range(40)
    ]
    covered = sum(low <= np.mean(sampled) <= high for _, low, high in intervals)
    assert 34 <= covered <= 40  # 38 expected; fewer than 34 has a chance of 1 in 200
    more = FRECHET.estimate(features(0, 3200, 8), features(100, 3200, 8, shift=0.3))
    assert more.high - more.low < 0.5 * (intervals[0].high - intervals[0].low)


def test_images_of_one_patient_widen_the_interval():
    rows, other = features(0, 100, 8), features(1, 400, 8, shift=0.3)
    copies, patients = np.repeat(rows, 4, axis=0), np.repeat(np.arange(100), 4)
    widths = [
        np.mean([np.ptp(FRECHET.estimate(copies, other, groups, seed=seed)) for seed in range(8)])
        for groups in (None, patients)
    ]
    # The variances of both sets add up: (1/100 + 1/400) / (1/400 + 1/400) = 1.58 squared.
    assert 1.3 < widths[1] / widths[0] < 1.9
    assert FRECHET.estimate(rows, rows).low == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (np.zeros([1, 3]), np.zeros([5, 3]), r"2 images or more, got shape \(1, 3\) as the first set"),
        (np.zeros([5, 3]), np.zeros([5]), r"2 images or more, got shape \(5,\) as the second set"),
        (np.zeros([5, 3]), np.zeros([5, 4]), "as many features, got 3 and 4"),
        (np.zeros([5, 3]), np.full([5, 3], np.nan), "features of 5 of 5 images of the second set are not finite"),
    ],
)
def test_what_has_no_distance_is_refused(first, second, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(first, second)


def test_an_interval_of_one_patient_is_refused():
    with pytest.raises(ValueError, match="two patients or more in each set, got 1, 10"):
        FRECHET.estimate(features(0, 10, 2), features(1, 10, 2), np.zeros(10))
