"""How well a classifier does: AUC, accuracy, scores per class, and intervals by a bootstrap of patients.

    weights = patient_resamples(patient_keys, resamples=1000, seed=0)
    low, high = percentile_interval(roc_auc(is_positive, score, weights))

Images of one patient resemble each other, so an interval that resamples images is too narrow: patients are
resampled here, and an image counts as often as its patient was drawn. A resample is therefore a row of image
weights, and every score takes such rows and is computed for all of them at once.
"""

import numpy as np
from sklearn.metrics import roc_curve

from tfcxr.evaluation.metrics.metric import ConfusionScore, LabelScore

ROWS_AT_ONCE = 64  # resamples sorted together; bounds the memory


def patient_resamples(patient_keys: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Draws patients with replacement, as many as there are, `resamples` times.

    Returns:
      float32 [resamples, images]: how often the patient of each image, string [images], was drawn.
    """
    patients, patient_of_image = np.unique(patient_keys, return_inverse=True)
    draws = np.random.default_rng(seed).multinomial(len(patients), np.full(len(patients), 1 / len(patients)), resamples)
    return draws.astype(np.float32)[:, patient_of_image]


def percentile_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """The middle `level` of bootstrap values [resamples]; NaN values (a class was not drawn) are left out.

    Returns:
      (low, high), both NaN where no value is left.
    """
    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.percentile(values, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def two_sided_p(differences: np.ndarray) -> float:
    """Of bootstrapped differences [resamples]: twice the smaller share on one side of 0, each side counted once more.

    NaN values (a class was not drawn) are left out; no p is below 2 / resamples.
    """
    known = differences[np.isfinite(differences)]
    one_sided = min((known <= 0).sum(), (known >= 0).sum())
    return min(1.0, 2 * (1 + int(one_sided)) / (1 + len(known)))


def roc_auc(is_positive: np.ndarray, score: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Area under the ROC curve: the chance that a positive image scores above a negative one, ties counting half.

    Args:
      is_positive: bool [images].
      score: float [images], higher means more positive.
      weights: float [resamples, images], how often each image counts; once each where left out.

    Returns:
      float64 [resamples] (one value without weights), NaN where a resample lacks positives or negatives.
    """
    weights = np.ones([1, len(score)], np.float32) if weights is None else weights
    order = np.argsort(score, kind="stable")
    first_of_tie = np.flatnonzero(np.r_[True, np.diff(score[order]) != 0]) if len(score) else np.zeros(0, int)
    positive = is_positive[order].astype(np.float64)
    areas = np.full(len(weights), np.nan)
    for start in range(0, len(weights) if len(score) else 0, ROWS_AT_ONCE):
        rows = weights[start : start + ROWS_AT_ONCE][:, order].astype(np.float64)
        positives = np.add.reduceat(rows * positive, first_of_tie, axis=1)  # [rows, distinct scores]
        negatives = np.add.reduceat(rows * (1 - positive), first_of_tie, axis=1)
        negatives_below = np.cumsum(negatives, axis=1) - negatives / 2
        pairs = positives.sum(1) * negatives.sum(1)
        won = (positives * negatives_below).sum(1)
        areas[start : start + ROWS_AT_ONCE] = np.divide(won, pairs, out=np.full(len(rows), np.nan), where=pairs > 0)
    return areas


def youden_threshold(is_positive: np.ndarray, score: np.ndarray) -> float:
    """The threshold with the largest Youden's J (sensitivity + specificity - 1); `score >= threshold` is positive.

    Choose it on validation images, never on those it is applied to. The middle between two neighbouring scores is
    taken, so that the threshold is not itself a validation score. 0.5 where one class is missing.
    """
    if is_positive.all() or not is_positive.any():
        return 0.5
    false_positive_rate, true_positive_rate, thresholds = roc_curve(is_positive, score, drop_intermediate=False)
    best = int(np.argmax(true_positive_rate - false_positive_rate))
    if best == 0:  # nothing is called positive
        return float(np.nextafter(np.max(score), np.inf))
    below = thresholds[best + 1] if best + 1 < len(thresholds) else thresholds[best]
    return float((thresholds[best] + below) / 2)


def confusion_matrix(
    true_class: np.ndarray, predicted_class: np.ndarray, classes: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """Counts of images by true class (rows) and predicted class (columns).

    Both are int [images]; weights, float [resamples, images], say how often each image counts, once where left out.

    Returns:
      float64 [resamples, classes, classes] (one resample without weights).
    """
    weights = np.ones([1, len(true_class)], np.float32) if weights is None else weights
    cell = true_class * classes + predicted_class
    is_in_cell = (cell[:, None] == np.arange(classes * classes)).astype(np.float32)  # [images, cells]
    return (weights @ is_in_cell).astype(np.float64).reshape(len(weights), classes, classes)


def accuracy(confusion: np.ndarray) -> np.ndarray:
    """Share of images on the diagonal of `confusion` [..., classes, classes]; NaN without images."""
    return _ratio(np.trace(confusion, axis1=-2, axis2=-1), confusion.sum((-2, -1)))


def balanced_accuracy(confusion: np.ndarray) -> np.ndarray:
    """Mean recall over the classes of `confusion` [..., classes, classes]; NaN where a class has no image."""
    return recall(confusion).mean(-1)


def precision(confusion: np.ndarray) -> np.ndarray:
    """By class, float64 [..., classes], of `confusion` [..., classes, classes]; NaN for a class never predicted."""
    return _ratio(_right(confusion), confusion.sum(-2))


def recall(confusion: np.ndarray) -> np.ndarray:
    """By class, float64 [..., classes], of `confusion` [..., classes, classes]; NaN for a class without images."""
    return _ratio(_right(confusion), support(confusion))


def f1(confusion: np.ndarray) -> np.ndarray:
    """By class, float64 [..., classes], of `confusion`; NaN for a class that is neither there nor predicted."""
    return _ratio(2 * _right(confusion), support(confusion) + confusion.sum(-2))


def support(confusion: np.ndarray) -> np.ndarray:
    """Images of each class, float64 [..., classes], of `confusion` [..., classes, classes]."""
    return confusion.sum(-1)


def _right(confusion: np.ndarray) -> np.ndarray:
    return np.diagonal(confusion, axis1=-2, axis2=-1)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.full(np.shape(numerator), np.nan), where=denominator > 0)


AUC = LabelScore(
    name="auc",
    title="AUC",
    better="higher",
    score=roc_auc,
    chance=0.5,
    clear_from=0.6,
    meaning="The chance that an image with the label gets a higher score than one without it: .5 is guessing, 1 is "
    "perfect; higher is better.",
)
ACCURACY = ConfusionScore(
    name="accuracy",
    title="accuracy",
    better="higher",
    score=accuracy,
    meaning="The share of images whose class is predicted right, which common classes dominate; higher is better.",
)
BALANCED_ACCURACY = ConfusionScore(
    name="balanced_accuracy",
    title="balanced accuracy",
    better="higher",
    score=balanced_accuracy,
    meaning="The mean over classes of the share of their images that is recognised, so that rare classes count as much "
    "as common ones: guessing gives 1 / classes; higher is better.",
)
PRECISION = ConfusionScore(
    name="precision",
    title="precision",
    better="higher",
    score=precision,
    is_per_class=True,
    meaning="Of the images that were predicted to be of the class, the share that is (positive predictive value); "
    "higher is better.",
)
RECALL = ConfusionScore(
    name="recall",
    title="recall",
    better="higher",
    score=recall,
    is_per_class=True,
    meaning="Of the images of the class, the share that was recognised (sensitivity); higher is better.",
)
F1 = ConfusionScore(
    name="f1",
    title="F1",
    better="higher",
    score=f1,
    is_per_class=True,
    meaning="The harmonic mean of precision and recall, low where either is; higher is better.",
)
SUPPORT = ConfusionScore(
    name="support",
    title="support",
    better="real",
    score=support,
    is_per_class=True,
    over_classes="sum",
    format=".0f",
    meaning="How many real test images the class has, on which its row rests; neither way is better.",
)
