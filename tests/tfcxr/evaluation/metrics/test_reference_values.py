"""Values that published packages give for the same arrays, each computed once by the call beside it.

torch-fidelity 0.4.0, prdc 0.2, pytorch-msssim 1.0.0 and scikit-learn 1.9.1 with torch 2.13; all in float64.
"""

import numpy as np
import pytest

from tfcxr.evaluation.metrics import kernel_distance as kernel_module
from tfcxr.evaluation.metrics.frechet_distance import frechet_distance, frechet_estimate
from tfcxr.evaluation.metrics.image_diversity import mean_pairwise_ms_ssim
from tfcxr.evaluation.metrics.image_fidelity import ssim
from tfcxr.evaluation.metrics.kernel_distance import kernel_distance
from tfcxr.evaluation.metrics.manifold import manifold_scores


def features() -> tuple[np.ndarray, np.ndarray]:
    """Synthetic and real ones."""
    generator = np.random.default_rng(14)
    real = generator.normal(size=(120, 12))
    return generator.normal(size=(100, 12)) * 0.9 + 0.25, real


def images() -> np.ndarray:
    """Two, of the least size that five scales need."""
    pair = np.random.default_rng(14).integers(0, 256, (2, 176, 176, 1)).astype(np.uint8)
    pair[1] = pair[0] // 2 + pair[1] // 2
    return pair


def test_frechet_distance():
    # torch_fidelity.metric_fid: fid_statistics_to_metric of fid_features_to_statistics(synthetic) and (real)
    expected = 1.4630110853304537
    assert frechet_distance(*features()) == pytest.approx(expected, rel=1e-9)
    assert frechet_estimate(*features()).mean == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("real_images", "expected"),
    [
        # torch_fidelity.metric_kid: kid_features_to_metric(synthetic, real[:100], kid_subsets=1, kid_subset_size=100)
        (100, 0.1955739712411746),
        # sklearn.metrics.pairwise: polynomial_kernel(degree=3, gamma=1/12, coef0=1) of all pairs, diagonals left out
        (120, 0.21035589358888762),
    ],
)
def test_kernel_distance_of_one_subset_that_is_the_whole_set(monkeypatch, real_images, expected):
    synthetic, real = features()
    monkeypatch.setattr(kernel_module, "_indicators", lambda rows, *_: np.ones([2, rows], np.float32))
    found = kernel_distance(synthetic, real[:real_images], subsets=2, subset_size=50)
    assert found.mean == pytest.approx(expected, rel=1e-4)  # float32


def test_kernel_distance_as_the_mean_of_subsets():
    # torch_fidelity.metric_kid: kid_features_to_metric(synthetic, real, kid_subsets=2000, kid_subset_size=50,
    # rng_seed=0), with a deviation of .0811 over subsets
    found = kernel_distance(*features(), subsets=2000, subset_size=50)
    assert found.mean == pytest.approx(0.209922081593445, abs=3 * 0.0811 * np.sqrt(2 / 2000))


def test_precision_recall_density_and_coverage():
    # prdc.compute_prdc(real, synthetic, nearest_k=5)
    # torch_fidelity.metric_prc: prc_features_to_metric(synthetic, real, prc_neighborhood=5), its precision and recall
    expected = {"precision": 0.96, "recall": 0.8916666666666667, "density": 1.07, "coverage": 0.9583333333333334}
    scores = manifold_scores(*features(), 5)
    assert {name: scores[name].mean() for name in expected} == pytest.approx(expected, abs=1e-12)


def test_structural_similarity_at_five_scales_and_at_one():
    # pytorch_msssim: ms_ssim(first, second, data_range=255) and ssim(first, second, data_range=255), of float64
    # The published weights sum to 1.0001; they are made to sum 1 here. Its window is float32.
    assert mean_pairwise_ms_ssim(images(), pairs=1).mean == pytest.approx(0.7068324743243237 ** (1 / 1.0001), rel=5e-6)
    assert ssim(images()[:1], images()[1:])[0] == pytest.approx(0.6604767392220862, rel=5e-6)
