"""Metrics: arrays in, numbers out. A new metric is one file, and one line here puts it into the reports.

What reports and trainings do with each is said by its kind, in `metric.py`. The other files here hold what experiments
call by name (`pairwise_similarity`, `pairwise_tests`).
"""

from typing import TypeVar

from tfcxr.evaluation.metrics.classification import (
    ACCURACY,
    AUC,
    BALANCED_ACCURACY,
    F1,
    PRECISION,
    RECALL,
    SUPPORT,
)
from tfcxr.evaluation.metrics.feature_diversity import FEATURE_DISTANCE
from tfcxr.evaluation.metrics.frechet_at_infinity import FRECHET_AT_INFINITY
from tfcxr.evaluation.metrics.frechet_distance import FRECHET
from tfcxr.evaluation.metrics.image_diversity import MS_SSIM
from tfcxr.evaluation.metrics.image_fidelity import PSNR, SSIM
from tfcxr.evaluation.metrics.kernel_distance import KERNEL
from tfcxr.evaluation.metrics.manifold import MANIFOLD
from tfcxr.evaluation.metrics.metric import FeatureDistance, Metric
from tfcxr.evaluation.metrics.sliced_wasserstein import SLICED_WASSERSTEIN

Kind = TypeVar("Kind", bound=Metric)

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        AUC,
        ACCURACY,
        BALANCED_ACCURACY,
        PRECISION,
        RECALL,
        F1,
        SUPPORT,
        FRECHET,
        KERNEL,
        FRECHET_AT_INFINITY,
        *MANIFOLD,
        MS_SSIM,
        FEATURE_DISTANCE,
        PSNR,
        SSIM,
        SLICED_WASSERSTEIN,
    )
}


def metrics_of(kind: type[Kind]) -> list[Kind]:
    """The registered metrics of one kind, in order; the first is the one that verdicts go by."""
    return [metric for metric in METRICS.values() if isinstance(metric, kind)]


def distance_metrics() -> list[FeatureDistance]:
    """Those of the kind `FeatureDistance` that verdicts and rankings go by; all are 0 for equal sets."""
    return [metric for metric in metrics_of(FeatureDistance) if metric.better == "lower" and metric.is_in_verdicts]
