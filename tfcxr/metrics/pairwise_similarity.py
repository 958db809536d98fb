"""Mean pairwise SSIM of a synthetic and a real cohort, as Li, Guo, Zhang 2025 report it, or within one cohort.

    measure = SimilarityMeasure(data_range=255)  # or scales=5: multi-scale
    result = similarity_to_real(
        synthetic, real, synthetic_images=1000, real_images=1000, pairing="random", measure=measure,
        real_groups=patients,
    )
    result.to_real, result.real_to_real, result.ratio

The paper gives neither pairing nor N, so both are arguments without a default. Which pairs: one of `PAIRINGS`.

- "random": every image of the first set with one of the second, drawn at random, each as seldom as possible;
- "in_order": the first with the first, the second with the second ..., as a loop over two loaders does;
- "all": every image of the first set with every one of the second: the mean that "random" estimates, with a narrower
  interval, for N times the work.

**Read it with care.** SSIM knows no distribution. A blurred average of the real images is more similar to each of them
than real images are to each other, so a ratio above 1 is no praise, and one picture drawn again and again can score
best. Without the ratio, the figure says as much about how the radiographs are aligned as about the generator.
"""

import dataclasses

import numpy as np
from scipy import stats

from tfcxr.metrics.diversity import random_pairs
from tfcxr.metrics.paired_images import Images, compare_crossed, compare_matched, hold_images, stream_images
from tfcxr.metrics.structural_similarity import SimilarityMeasure

PAIRINGS = ("random", "in_order", "all")
MIN_HALVED_PATIENTS = 4  # two in each half


@dataclasses.dataclass(frozen=True)
class MeanSimilarity:
    """Mean over `pairs` pairs with its 95 % interval, and N of each side (of one set: the same N twice)."""

    mean: float
    low: float
    high: float
    pairs: int
    first_images: int
    second_images: int


@dataclasses.dataclass(frozen=True)
class SimilarityToReal:
    """How similar synthetic images are to real ones, and real ones to those of other patients, by the same pairing.

    Attributes:
      to_real: the synthetic set against the real one.
      real_to_real: two equal halves of the real set that share no patient.
      ratio: of the two means, with the 95 % interval from ratio_low to ratio_high, in which the real images that both
        share move together; NaN where the halves' mean is not positive.
    """

    to_real: MeanSimilarity
    real_to_real: MeanSimilarity
    ratio: float
    ratio_low: float
    ratio_high: float


@dataclasses.dataclass(frozen=True)
class _Side:
    images: Images
    count: int
    groups: np.ndarray | None
    name: str


@dataclasses.dataclass(frozen=True)
class _Pairs:
    """float64 [pairs], and the group (int [pairs], numbered through both sides) that either image belongs to."""

    values: np.ndarray
    first: np.ndarray
    second: np.ndarray
    first_images: int
    second_images: int

    @property
    def groups(self) -> int:
        """How many there are on the side that has fewer."""
        return min(len(np.unique(self.first)), len(np.unique(self.second)))


def mean_similarity(
    first: Images,
    second: Images,
    *,
    first_images: int,
    second_images: int,
    pairing: str,
    measure: SimilarityMeasure,
    first_groups: np.ndarray | None = None,
    second_groups: np.ndarray | None = None,
    seed: int = 0,
) -> MeanSimilarity:
    """Mean similarity of the images of two sets that share no patient, such as a synthetic and a real one.

    The first set is read a chunk at a time and never held. The second is held in its own dtype, except with
    "in_order", which holds neither. Of the pairs only the values are kept.

    The interval is that of other images (or patients) on both sides: variance clustered by either side (Cameron,
    Gelbach, Miller 2011, section 2.2), and Student's t with one degree less than the fewer groups. It is what a
    bootstrap that draws both sides' images gives with "all". Where each image has one partner, that bootstrap would be
    about 1.7 times too wide, for the weight of a pair is then the product of two counts.

    Args:
      first, second: see `paired_images.Images`; of one height, width and number of channels.
      first_images, second_images: N of each side. Its first N are compared, so draw them at random beforehand, as
        `data.pipeline.load_images` does.
      pairing: one of `PAIRINGS`. measure: window, scales and data range.
      first_groups, second_groups: [N], equal for images of one patient; each image is its own where left out.
      seed: of "random".

    Raises:
      ValueError: no such pairing, unequal N with "in_order", fewer than N images, images of other shapes, too small or
        with values that are not finite, groups of another number than N, or fewer than two patients on a side.
    """
    sides = _Side(first, first_images, first_groups, "first"), _Side(second, second_images, second_groups, "second")
    return _summary(_compare(*sides, pairing, measure, seed))


def mean_similarity_within(
    images: Images,
    *,
    count: int,
    pairing: str,
    measure: SimilarityMeasure,
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> MeanSimilarity:
    """Mean similarity of different images of one set; pairs of one patient are left out where `groups` are given.

    Args:
      images: see `paired_images.Images`; held in its own dtype. count: N; the first N are compared.
      pairing: "random", each image with its neighbours in one random circle; or "all", each two once.
      measure, groups, seed: as of `mean_similarity`. So is the interval, where an image's pairs move together
        whichever of the two it is (Aronow, Samii, Assenova 2015).

    Raises:
      ValueError: "in_order" or no such pairing, or what `mean_similarity` refuses of a set.
    """
    if pairing not in ("random", "all"):
        raise ValueError(f"pairing within one set must be random or all, got {pairing!r}")
    side = _Side(hold_images(images, count, "given"), count, groups, "given")
    group = _group_numbers(side)
    if pairing == "random":
        first, second = random_pairs(count, count, seed)
        values = measure.of_rows(side.images, side.images, first, second)
    else:
        first, second = np.triu_indices(count, 1)
        values = compare_crossed(iter(side.images), side.images, measure, is_within=True)[first, second]
    is_apart = group[first] != group[second]  # of some pairs always, as there are two patients
    return _summary(_Pairs(values[is_apart], group[first[is_apart]], group[second[is_apart]], count, count))


def similarity_to_real(
    synthetic: Images,
    real: Images,
    *,
    synthetic_images: int,
    real_images: int,
    pairing: str,
    measure: SimilarityMeasure,
    synthetic_groups: np.ndarray | None = None,
    real_groups: np.ndarray | None = None,
    seed: int = 0,
) -> SimilarityToReal:
    """Similarity of synthetic to real images, beside that of the same real images to each other.

    Args:
      synthetic: read a chunk at a time. real: held in its own dtype. Both: see `paired_images.Images`.
      synthetic_images, real_images: N of each side; each half has about half of real_images.
      seed: of the pairing and of the halves. The rest: as of `mean_similarity`.

    Raises:
      ValueError: what `mean_similarity` refuses, or real images of fewer than four patients.
    """
    synthetic_side = _Side(synthetic, synthetic_images, synthetic_groups, "synthetic")
    real_side = _Side(hold_images(real, real_images, "real"), real_images, real_groups, "real")
    patient = _group_numbers(real_side)
    if patient.max() + 1 < MIN_HALVED_PATIENTS:
        raise ValueError(f"halves of the real set need {MIN_HALVED_PATIENTS} patients or more, got {patient.max() + 1}")
    to_real = _compare(synthetic_side, real_side, pairing, measure, seed)
    rows = _halves(patient, seed)
    halves = [_Side(real_side.images[half], len(half), None, "real") for half in rows]
    between = _compare(*halves, pairing, measure, seed)
    # the patients' numbers in `to_real`, so that both know which pairs move together
    number = to_real.first.max() + 1 + patient[np.concatenate(rows)]
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


def _compare(first: _Side, second: _Side, pairing: str, measure: SimilarityMeasure, seed: int) -> _Pairs:
    if pairing not in PAIRINGS:
        raise ValueError(f"unknown pairing {pairing!r}; valid names: {', '.join(PAIRINGS)}")
    if pairing == "in_order" and first.count != second.count:
        raise ValueError(f"pairing in_order needs as many images on each side, got {first.count} and {second.count}")
    first_group, second_group = (_group_numbers(side) for side in (first, second))
    second_group = second_group + first_group.max() + 1
    stream = stream_images(first.images, first.count, first.name)
    if pairing == "in_order":
        values = compare_matched(stream, stream_images(second.images, second.count, second.name), measure)
        return _Pairs(values, first_group, second_group, first.count, second.count)
    held = hold_images(second.images, second.count, second.name)
    if pairing == "random":
        generator = np.random.default_rng(seed)
        orders = [generator.permutation(second.count) for _ in range(-(-first.count // second.count))]
        partners = np.concatenate(orders)[: first.count]
        values = compare_matched(stream, (held[row] for row in partners), measure)
        return _Pairs(values, first_group, second_group[partners], first.count, second.count)
    values = compare_crossed(stream, held, measure)
    firsts, seconds = np.broadcast_arrays(first_group[:, None], second_group[None])
    return _Pairs(values.reshape(-1), firsts.reshape(-1), seconds.reshape(-1), first.count, second.count)


def _group_numbers(side: _Side) -> np.ndarray:
    """int [N], from 0 without gaps."""
    if side.groups is None:
        numbers = np.arange(side.count)
    elif np.shape(side.groups) != (side.count,):
        raise ValueError(
            f"expected one group for each of the {side.count} images of the {side.name} set, "
            f"got shape {np.shape(side.groups)}"
        )
    else:
        numbers = np.unique(side.groups, return_inverse=True)[1]
    if len(np.unique(numbers)) < 2:
        raise ValueError(f"an interval needs two images or more, of two patients, in the {side.name} set")
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


def _summary(pairs: _Pairs) -> MeanSimilarity:
    mean, count = pairs.values.mean(), len(pairs.values)
    reach = _reach((pairs.values - mean) / count, pairs.first, pairs.second, pairs.groups)
    return MeanSimilarity(
        float(mean), float(mean - reach), float(mean + reach), count, pairs.first_images, pairs.second_images
    )


def _reach(errors: np.ndarray, first: np.ndarray, second: np.ndarray, groups: int) -> float:
    """Half of the 95 % interval of a sum of errors, of which those that share a group on either side move together.

    Args:
      errors: float [pairs], what each pair adds to the error of the estimate.
      first, second: int [pairs], the groups of its images.
      groups: how many there are, for Student's t.
    """
    numbers = max(first.max(), second.max()) + 1
    by_group = np.bincount(first, errors, numbers) + np.bincount(second, errors, numbers)
    _, same_two = np.unique(np.minimum(first, second) * numbers + np.maximum(first, second), return_inverse=True)
    by_two = np.square(np.bincount(same_two, errors)).sum()  # counted under both groups, so once too often
    variance = max(np.square(by_group).sum() - by_two, by_two)
    return float(stats.t.ppf(0.975, groups - 1) * np.sqrt(variance * groups / (groups - 1)))
