"""The verdict on distances: whether synthetic images differ from real ones, or that nothing can be said.

Nothing can be said where a side has fewer than `MIN_TELLING_IMAGES` images, and where synthetic images are as far from
real ones as halves of the real ones are from each other: then they may differ less than the test set can show.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tfcxr.evaluation.feature_distances import MIN_TELLING_IMAGES
from tfcxr.evaluation.metrics import distance_metrics

WEAK_AUC = 0.7  # features of a classifier that learned less say little


def verdict(extractor: str, comparisons: Sequence[Mapping[str, Any]], auc: Mapping[str, float]) -> list[str]:
    """A conclusion per set, test sets first and first those that say nothing, then the distances in numbers.

    Args:
      extractor: in words.
      comparisons: what `compare` gave for each set, with its "role" and "set".
      auc: of an extractor that is a classifier, by set, NaN where unknown.
    """
    order = sorted(comparisons, key=lambda item: (item["role"] == "training", _can_be_told(item)))
    return [
        *(_conclusion(extractor, comparison) for comparison in order),
        *(_numbers(comparison) for comparison in order),
        *_extractor_said(extractor, auc),
    ]


def tells_apart(comparisons: Sequence[Mapping[str, Any]]) -> bool:
    """Whether an extractor tells synthetic images from every test set; one that does speaks first."""
    return all(_can_be_told(comparison) for comparison in comparisons if comparison["role"] == "test")


def _can_be_told(comparison: Mapping[str, Any]) -> bool:
    return comparison["score"]["images"] >= MIN_TELLING_IMAGES and (_differs(comparison) or _is_copy(comparison))


def _differs(comparison: Mapping[str, Any]) -> bool:
    """Whether all distances are beyond the floor, at the floor's number of images."""
    matched, floor = comparison["at_floor_size"], comparison["floor"]
    return all(matched[metric.name]["interval"][0] > floor[metric.name]["interval"][1] for metric in distance_metrics())


def _is_copy(comparison: Mapping[str, Any]) -> bool:
    """Whether synthetic images are nearer to the training images than these are to each other."""
    name = distance_metrics()[0].name
    is_nearer = comparison["at_floor_size"][name]["interval"][1] < comparison["floor"][name]["interval"][0]
    return comparison["role"] == "training" and is_nearer


def _conclusion(extractor: str, comparison: Mapping[str, Any]) -> str:
    score, floor, matched = (comparison[name] for name in ("score", "floor", "at_floor_size"))
    whom = _whom(comparison)
    if score["images"] < MIN_TELLING_IMAGES:
        return (
            f"Nothing can be said of how far synthetic images are from {whom}: {score['images']} images per side are "
            f"too few; give {MIN_TELLING_IMAGES} or more of both."
        )
    numbers = (
        f"at {floor['images']} images per side they are at {_said(matched, with_names=True)} from them, two halves of "
        f"these real images at {_said(floor)} from each other"
    )
    if _differs(comparison):
        headline = distance_metrics()[0]
        base = floor[headline.name]["mean"]
        times = f", {matched[headline.name]['mean'] / base:.3g} times as far ({headline.title})" if base > 0 else ""
        return f"The features of {extractor} tell synthetic images from {whom}: {numbers}{times}."
    if _is_copy(comparison):
        return f"Synthetic images are nearer to {whom} than these are to each other, as copies are: {numbers}."
    return (
        f"Nothing can be said by the features of {extractor} of whether synthetic images differ from {whom}, as these "
        f"differ as much among themselves: {numbers}; more images of both narrow the intervals."
    )


def _numbers(comparison: Mapping[str, Any]) -> str:
    """The distances at the largest number of images."""
    score, training = comparison["score"], comparison["real_training_images"]
    beside = f", as many real training images at {_said(training)}" if training else ""
    return (
        f"{score['images']} synthetic images are at {_said(score, with_names=True)} from {_whom(comparison)}{beside}."
    )


def _whom(comparison: Mapping[str, Any]) -> str:
    return f"real patients of {comparison['set']}" if comparison["role"] == "test" else "the real training images"


def _extractor_said(extractor: str, auc: Mapping[str, float]) -> list[str]:
    """Sentences on an extractor that is weak, or of which nobody can tell."""
    sentences = []
    if unknown := [name for name, value in auc.items() if math.isnan(value)]:
        sentences.append(
            f"How well the extractor knows the labels of {', '.join(unknown)} cannot be told: no label is known to be "
            "in some of the images and not in others."
        )
    if weak := [f"{value:.3f} on {name}" for name, value in auc.items() if value < WEAK_AUC]:
        sentences.append(
            f"The extractor is itself weak (AUC {', '.join(weak)}), so its features say little: give {extractor} "
            "more images, more epochs or another classifier.learning_rate."
        )
    return sentences


def _said(row: Mapping[str, Any], with_names: bool = False) -> str:
    """All distances of a row in words."""
    said = []
    for metric in distance_metrics():
        mean, (low, high) = row[metric.name]["mean"], row[metric.name]["interval"]
        name = f"{metric.title} distance " if with_names else ""
        said.append(f"{name}{mean:{metric.format}} ({low:{metric.format}} to {high:{metric.format}})")
    return " and ".join(said)
