"""What a metric is: the data it needs, which way is better, and how reports show it. `METRICS` consists of these.

Each kind below is a table, or a part of one, in every report that has its data: a metric of that kind gets a column
there, with the interval and the reference that the kind has.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from tfcxr.evaluation.metrics.jackknife import jackknife_interval


class Estimate(NamedTuple):
    """A value with its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric:
    """What all kinds have.

    Attributes:
      name: in report.json and in settings.
      title: the header of its column.
      better: which way is better; "real" says as real images have it.
      meaning: one plain sentence that stands where the metric is shown: what it is, and which way is better.
      note: sentences for the report's method section, plain text.
      format: of a value, as for `format`.
      settings: what else a value depends on, for its passport.
    """

    name: str
    title: str
    better: Literal["higher", "lower", "real"]
    meaning: str
    note: str = ""
    format: str = ".3f"
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelScore(Metric):
    """Of one label's true values and a classifier's scores; reported by label and as the mean over labels.

    Attributes:
      score: (is_positive bool [images], score float [images], weights float [rows, images]) -> float64 [rows], where
        weights say how often a row counts each image; NaN where a row has no value.
      chance: the score of a guess; what a classifier has learned is what its score has above it.
      clear_from: of a classifier trained on real images, the interval must begin here or above for anything to be said
        of synthetic ones.
    """

    score: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    chance: float = 0.0
    clear_from: float = 0.0

    def is_clear(self, summary: Mapping[str, Any]) -> bool:
        """Whether {"mean", "interval"} of a score is clearly above chance; NaN is not."""
        return summary["mean"] > self.chance and summary["interval"][0] >= self.clear_from


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConfusionScore(Metric):
    """Of confusion matrices, at each threshold rule.

    Attributes:
      score: confusion float [..., classes, classes], true classes in rows -> float64 [...], or [..., classes] where
        `is_per_class`; NaN where there is no value.
      is_per_class: shown in the table of classes.
      over_classes: how one value of all classes is made of theirs.
    """

    score: Callable[[np.ndarray], np.ndarray]
    is_per_class: bool = False
    over_classes: Literal["mean", "sum"] = "mean"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureDistance(Metric):
    """Between two sets of features; reported with its interval and its floor, halves of the real images.

    Attributes:
      distance: (first, second, seed) -> distance of float [images, features].
      interval: (first, second, first_groups, second_groups, seed) -> `Estimate`, where groups keep a patient's images
        together; a jackknife over patients where None.
      can_be_negative: an unbiased estimate of a small distance may be.
      is_in_verdicts: where lower is better: verdicts and rankings go by it.
    """

    distance: Callable[[np.ndarray, np.ndarray, int], float]
    interval: Callable[..., Estimate] | None = None
    can_be_negative: bool = False
    is_in_verdicts: bool = True
    format: str = ".3g"

    def estimate(
        self,
        first: np.ndarray,
        second: np.ndarray,
        first_groups: np.ndarray | None = None,
        second_groups: np.ndarray | None = None,
        seed: int = 0,
    ) -> Estimate:
        """The distance with its interval; each image is a group of its own where groups are None."""
        if self.interval is not None:
            return self.interval(first, second, first_groups, second_groups, seed)
        distance = lambda *sides: self.distance(*sides, seed)  # noqa: E731
        low, high = jackknife_interval(distance, first, second, first_groups, second_groups, seed=seed)
        return Estimate(distance(first, second), low if self.can_be_negative else max(low, 0.0), high)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassDiversity(Metric):
    """How much images of one class differ; reported for synthetic and real images, and as their ratio.

    Attributes:
      measure: (images or features of one class, pairs, seed) -> `Estimate`; two images or more.
      reads: "images", uint8 [images, size, size, 1], or "features" of a classifier trained on real images, float
        [images, features].
      spread: turns the value into one that is 0 for equal images, of which the ratio is taken.
      spread_title: header of the ratio's column.
      least_spread: real images that spread no more are all the same, and there is no ratio to them.
    """

    measure: Callable[..., Estimate]
    reads: Literal["images", "features"]
    spread: Callable[[float], float]
    spread_title: str
    least_spread: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairedImages(Metric):
    """Of images and references of the same content, such as enlarged and real ones; logged while SRGAN trains.

    Attributes:
      score: (images, references) -> float64 [images].
      largest: values above it count as this much, as no log can hold infinity.
    """

    score: Callable[[np.ndarray, np.ndarray], np.ndarray]
    largest: float = float("inf")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageDistance(Metric):
    """Between two sets of images, without an extractor; reported with its floor, and logged while a generator trains.

    Attributes:
      distance: two sets uint8 [images, size, size, 1] of one shape -> their distance, 0 for equal sets.
    """

    distance: Callable[[np.ndarray, np.ndarray], float]
