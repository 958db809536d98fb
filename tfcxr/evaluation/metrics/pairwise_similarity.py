"""Mean pairwise SSIM of a synthetic and a real cohort, as Li, Guo, Zhang 2025 report it.

    measure = SimilarityMeasure(data_range=255)  # or scales=5: multi-scale
    result = similarity_to_real(synthetic, real, pairing="random", measure=measure, real_groups=patients)
    result.to_real, result.real_to_real, result.ratio

The paper gives neither pairing nor N. The pairing is an argument without a default, one of `PAIRINGS`; N is the number
of images given, which are best drawn at random.

- "random": every image of the first set with a random one of the second, each used as seldom as possible;
- "in_order": the first with the first, the second with the second ..., as a loop over two loaders does;
- "all": every image of the first set with every one of the second: the mean that "random" estimates, with a narrower
  interval, for N times the work.

**Read it with care.** SSIM knows no distribution. A blurred average of the real images is more similar to each of them
than real images are to each other, so a ratio above 1 is no praise, and one picture repeated can score best. Without
the ratio, the value says as much about how the radiographs are aligned as about the generator.
"""

import dataclasses

import numpy as np
from scipy import stats

from tfcxr.data.stored_images import StoredImages
from tfcxr.evaluation.metrics.metric import Estimate
from tfcxr.evaluation.metrics.structural_similarity import SimilarityMeasure

PAIRINGS = ("random", "in_order", "all")
MIN_PATIENTS = 2  # for an interval

Images = np.ndarray | StoredImages
"""[images, height, width, channels] of any real dtype."""


@dataclasses.dataclass(frozen=True)
class SimilarityToReal:
    """How similar synthetic images are to real ones, and real ones to those of other patients, by the same pairing.

    Attributes:
      to_real: the synthetic set against the real one.
      real_to_real: two equal halves of the real set that share no patient.
      ratio: of the two means; NaN where the halves' mean is not positive.
      ratio_low: its 95 % interval up to `ratio_high`, in which the real images that both share move together.
    """

    to_real: Estimate
    real_to_real: Estimate
    ratio: float
    ratio_low: float
    ratio_high: float


@dataclasses.dataclass(frozen=True)
class _Pairs:
    """float64 [pairs], and the group (int [pairs], numbered through both sides) that either image belongs to."""

    values: np.ndarray
    first: np.ndarray
    second: np.ndarray

    @property
    def groups(self) -> int:
        """How many there are on the side that has fewer."""
        return min(len(np.unique(self.first)), len(np.unique(self.second)))


def similarity_to_real(
    synthetic: Images,
    real: Images,
    *,
    pairing: str,
    measure: SimilarityMeasure,
    synthetic_groups: np.ndarray | None = None,
    real_groups: np.ndarray | None = None,
    seed: int = 0,
) -> SimilarityToReal:
    """Similarity of synthetic to real images, beside that of the same real images to each other.

    The synthetic set is read a chunk at a time and never held; of the pairs only the values are kept.

    The interval is that of other images (or patients) on both sides: variance clustered by either side (Cameron,
    Gelbach, Miller 2011, section 2.2), and Student's t with one degree less than the fewer groups. It is what a
    bootstrap that draws both sides' images gives with "all". Where each image has one partner, that bootstrap would be
    about 1.7 times too wide, for the weight of a pair is then the product of two counts.

    Args:
      pairing: one of `PAIRINGS`.
      measure: scales and data range.
      synthetic_groups: [images], equal for images of one patient; each image is its own where left out.
      real_groups: likewise.
      seed: of the pairing and of the halves.

    Raises:
      ValueError: no such pairing, unequal numbers with "in_order", images of other shapes, too small or with values
        that are not finite, groups of another number than images, fewer than two synthetic images or patients, or fewer
        than four real ones.
    """
    of_synthetic = _group_numbers(synthetic, synthetic_groups, "synthetic", MIN_PATIENTS)
    patient = _group_numbers(real, real_groups, "real", 2 * MIN_PATIENTS)  # so many in each half
    to_real = _compare(synthetic, real, of_synthetic, patient, pairing, measure, seed)
    first, second = _halves(patient, seed)
    between = _compare(real[first], real[second], np.arange(len(first)), np.arange(len(second)), pairing, measure, seed)
    # the patients' numbers in `to_real`, so that both know which pairs move together
    number = of_synthetic.max() + 1 + patient[np.concatenate([first, second])]
    between = dataclasses.replace(between, first=number[between.first], second=number[between.second])
    mean, floor = to_real.values.mean(), between.values.mean()
    ratio = reach = float("nan")
    if floor > 0:
        ratio = mean / floor
        errors = [
            (to_real.values - mean) / (len(to_real.values) * floor),
            (floor - between.values) * ratio / (len(between.values) * floor),
        ]
        firsts, seconds = (
            np.concatenate(groups) for groups in ((to_real.first, between.first), (to_real.second, between.second))
        )
        reach = _reach(np.concatenate(errors), firsts, seconds, min(to_real.groups, between.groups))
    return SimilarityToReal(
        _summary(to_real), _summary(between), float(ratio), float(ratio - reach), float(ratio + reach)
    )


def _compare(
    first: Images,
    second: Images,
    first_group: np.ndarray,
    second_group: np.ndarray,
    pairing: str,
    measure: SimilarityMeasure,
    seed: int,
) -> _Pairs:
    if pairing not in PAIRINGS:
        raise ValueError(f"unknown pairing {pairing!r}; valid names: {', '.join(PAIRINGS)}")
    if first.shape[1:] != second.shape[1:]:
        raise ValueError(f"expected sets of images of one shape, got {first.shape[1:]} and {second.shape[1:]}")
    count, others = len(first), len(second)
    second_group = second_group + first_group.max() + 1
    if pairing == "all":
        rows, partners = np.divmod(np.arange(count * others), others)
        return _Pairs(_each_with_each(first, second[:], measure).ravel(), first_group[rows], second_group[partners])
    if pairing == "random":
        generator = np.random.default_rng(seed)
        partners = np.concatenate([generator.permutation(others) for _ in range(-(-count // others))])[:count]
    elif count != others:
        raise ValueError(f"pairing in_order needs as many images on each side, got {count} and {others}")
    else:
        partners = np.arange(count)
    return _Pairs(measure.of_rows(first, second, None, partners), first_group, second_group[partners])


def _each_with_each(first: Images, second: np.ndarray, measure: SimilarityMeasure) -> np.ndarray:
    """Similarity of every image of one set with every one of another, float64 [first, second]."""
    size = measure.chunk_images(first.shape[1:])
    table = np.empty([len(first), len(second)])
    for start in range(0, len(first), size):
        prepared = measure.prepare(first[start : start + size])
        for column in range(0, len(second), size):
            others = measure.prepare(second[column : column + size])
            for row in range(len(prepared[0].values)):
                one = [level.rows(slice(row, row + 1)) for level in prepared]
                table[start + row, column : column + size] = measure.compare(one, others)
    return table


def _group_numbers(images: Images, groups: np.ndarray | None, name: str, min_patients: int) -> np.ndarray:
    """Checks a set; int [images], its groups numbered from 0 without gaps."""
    if images.ndim != 4:
        raise ValueError(f"expected images [N, H, W, C] as the {name} set, got an array of shape {images.shape}")
    if images.dtype.kind == "f" and not (is_finite := np.isfinite(images).all((1, 2, 3))).all():
        raise ValueError(f"image {int(np.argmin(is_finite))} of the {name} set has values that are not finite")
    if groups is None:
        numbers = np.arange(len(images))
    elif np.shape(groups) != (len(images),):
        raise ValueError(
            f"expected one group for each of the {len(images)} images of the {name} set, got shape {np.shape(groups)}"
        )
    else:
        numbers = np.unique(groups, return_inverse=True)[1]
    if len(np.unique(numbers)) < min_patients:
        raise ValueError(
            f"the {name} set needs images of {min_patients} patients or more, got {len(np.unique(numbers))}"
        )
    return numbers


def _halves(patient: np.ndarray, seed: int) -> list[np.ndarray]:
    """Rows, in random order, of two halves of equal size that share no patient."""
    generator = np.random.default_rng(seed)
    sizes = np.bincount(patient)
    is_second, totals = np.zeros(len(sizes), bool), [0, 0]
    for one in generator.permutation(len(sizes)):
        is_second[one] = totals[1] < totals[0]
        totals[int(is_second[one])] += sizes[one]
    rows = [generator.permutation(np.flatnonzero(is_second[patient] == half)) for half in (False, True)]
    return [half[: min(totals)] for half in rows]


def _summary(pairs: _Pairs) -> Estimate:
    mean = pairs.values.mean()
    reach = _reach((pairs.values - mean) / len(pairs.values), pairs.first, pairs.second, pairs.groups)
    return Estimate(float(mean), float(mean - reach), float(mean + reach))


def _reach(errors: np.ndarray, first: np.ndarray, second: np.ndarray, groups: int) -> float:
    """Half of the 95 % interval of a sum of errors, of which those that share a group on either side move together.

    `errors`, float [pairs], is what each pair adds to the error of the estimate; `first` and `second`, int [pairs], are
    the groups of its images; of `groups` there are so many, for Student's t.
    """
    numbers = max(first.max(), second.max()) + 1
    by_group = np.bincount(first, errors, numbers) + np.bincount(second, errors, numbers)
    _, same_two = np.unique(np.minimum(first, second) * numbers + np.maximum(first, second), return_inverse=True)
    by_two = np.square(np.bincount(same_two, errors)).sum()  # counted under both groups, so once too often
    variance = max(np.square(by_group).sum() - by_two, by_two)
    return float(stats.t.ppf(0.975, groups - 1) * np.sqrt(variance * groups / (groups - 1)))
