"""Metrics: arrays in, numbers out. A new metric is one new file and one line here."""

from collections.abc import Callable

from tfcxr.metrics.classification import accuracy, balanced_accuracy, per_class_scores, roc_auc
from tfcxr.metrics.diversity import mean_pairwise_ms_ssim
from tfcxr.metrics.feature_distance import mean_pairwise_feature_distance
from tfcxr.metrics.frechet_distance import frechet_distance
from tfcxr.metrics.image_fidelity import psnr, ssim
from tfcxr.metrics.kernel_distance import kernel_distance
from tfcxr.metrics.pairwise_similarity import mean_similarity
from tfcxr.metrics.sliced_wasserstein import sliced_wasserstein_distance

METRICS: dict[str, Callable] = {
    "roc_auc": roc_auc,
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "per_class_scores": per_class_scores,
    "pairwise_feature_distance": mean_pairwise_feature_distance,
    "pairwise_ms_ssim": mean_pairwise_ms_ssim,
    "pairwise_similarity": mean_similarity,
    "frechet_distance": frechet_distance,
    "kernel_distance": kernel_distance,
    "psnr": psnr,
    "ssim": ssim,
    "sliced_wasserstein": sliced_wasserstein_distance,
}
