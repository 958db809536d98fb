"""How much images of one class differ from each other, synthetic beside real: collapse, which an AUC does not see."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfcxr.metrics.diversity import mean_pairwise_ms_ssim
from tfcxr.metrics.feature_distance import mean_pairwise_feature_distance
from tfcxr.protocols.classifier import TrainedClassifier, predict
from tfcxr.protocols.cohorts import Cohort, Comparison
from tfcxr.protocols.label_checks import listed

SEED = 0
LEAST_DIVERSITY = 1e-6  # 1 - MS-SSIM of equal images is 0 but for rounding
MAX_IMAGES = 1000  # of each class and side; feature distances are taken between all pairs of them


def feature_distances(
    comparison: Comparison, classifier: TrainedClassifier
) -> dict[str, dict[str, list[float] | None]]:
    """Mean pairwise distance of a classifier's last hidden features, by side ("synthetic", "real", "test") and label.

    "test" is the first test set: real images that the classifier was not trained on.

    Returns:
      [mean, low, high] each, or None with fewer than two images.
    """
    sides = {"synthetic": comparison.synthetic, "real": comparison.real, "test": next(iter(comparison.tests.values()))}
    distances: dict[str, dict[str, list[float] | None]] = {}
    for side, cohort in sides.items():
        chosen = [_class_images(cohort, column) for column in range(len(comparison.label_names))]
        used = np.unique(np.concatenate(chosen))
        features = predict(classifier, cohort.images.where(used))[1] if len(used) else np.zeros([0, 0])
        distances[side] = {}
        for name, positions in zip(comparison.label_names, chosen, strict=True):
            of_class = features[np.searchsorted(used, positions)]
            distances[side][name] = None
            if len(of_class) >= 2:
                distances[side][name] = list(mean_pairwise_feature_distance(of_class, seed=SEED))
    return distances


def diversity_notices(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A sentence for the labels whose diversity could not be compared."""
    few = [row["label"] for row in rows if min(row["synthetic_images"], row["real_images"]) < 2]
    alike = [row["label"] for row in rows if row["label"] not in few and row["diversity_ratio"] is None]
    notices = []
    if few:
        notices.append(f"diversity needs two images on each side, which {listed(few)} lacks")
    if alike:
        notices.append(f"real training images of {listed(alike)} are all the same: no ratio of diversity to them")
    return notices


def diversity_rows(
    comparison: Comparison, distances_by_seed: Sequence[dict[str, dict[str, list[float] | None]]], pairs: int
) -> list[dict[str, Any]]:
    """One row a label: mean pairwise MS-SSIM and feature distance of each side, and ratios of synthetic to real.

    Args:
      distances_by_seed: what `feature_distances` gave for each real-trained classifier; they are averaged.
      pairs: image pairs a label for MS-SSIM.

    Returns:
      rows with [mean, low, high] or None; "diversity_ratio" is (1 - MS-SSIM of synthetic) / (1 - MS-SSIM of real).
    """
    rows = []
    for column, name in enumerate(comparison.label_names):
        row: dict[str, Any] = {"label": name, "diversity_ratio": None, "feature_distance_ratio": None}
        for side, cohort in (("synthetic", comparison.synthetic), ("real", comparison.real)):
            chosen = _class_images(cohort, column)
            row[f"{side}_images"] = len(chosen)
            row[f"{side}_ms_ssim"] = None
            if len(chosen) >= 2:
                similarity = mean_pairwise_ms_ssim(cohort.images.where(chosen), pairs, SEED)
                row[f"{side}_ms_ssim"] = [similarity.mean, similarity.low, similarity.high]
        for side in ("synthetic", "real", "test"):
            values = [distances[side][name] for distances in distances_by_seed if distances[side][name] is not None]
            row[f"{side}_feature_distance"] = np.mean(values, axis=0).tolist() if values else None
        if row["synthetic_ms_ssim"] and row["real_ms_ssim"] and 1 - row["real_ms_ssim"][0] > LEAST_DIVERSITY:
            row["diversity_ratio"] = (1 - row["synthetic_ms_ssim"][0]) / (1 - row["real_ms_ssim"][0])
        if row["synthetic_feature_distance"] and row["real_feature_distance"] and row["real_feature_distance"][0] > 0:
            row["feature_distance_ratio"] = row["synthetic_feature_distance"][0] / row["real_feature_distance"][0]
        rows.append(row)
    return rows


def _class_images(cohort: Cohort, column: int) -> np.ndarray:
    """Positions of up to `MAX_IMAGES` images that have the label."""
    positions = np.flatnonzero(cohort.labels[:, column] == 1)
    chosen = np.random.default_rng(SEED).permutation(len(positions))[:MAX_IMAGES]
    return positions[np.sort(chosen)]
