"""Memorization: does the cohort hold copies of training images? Calibrated by held-out patients and planted copies.

For each extractor, the distance of every synthetic image to its nearest real training image is compared with the same
distance of as many held-out real images, which the generator has not seen. Synthetic images that are nearer than all
but the nearest `false_alarms` of held-out ones count as copies; a generator that copies nothing has about that share.
C_T (Meehan, Chaudhuri, Dasgupta 2020, section 3) is the Mann-Whitney z of the two sets of distances: below -3 synthetic
images lie systematically nearer to the training images, above 3 farther. The copy ratio of an image is the median
nearest distance of held-out images over its own: a single copy hides in a share, but not in the largest ratio.

The check itself is proven by planted copies: training images themselves, exact, flipped, cropped, brighter, noisy and
re-encoded, and the share of each that the same threshold finds. What an extractor does not find when planted, it cannot
rule out in the cohort.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
from scipy import stats
from tqdm import tqdm

from tfcxr.config import check_range
from tfcxr.evaluation.cohorts import Cohorts, check_folders, load_cohorts
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.extractors.extractors import Extractor, open_extractors
from tfcxr.evaluation.metrics.nearest_neighbours import nearest
from tfcxr.evaluation.protocols import memorization_verdict as verdict
from tfcxr.evaluation.protocols.protocol import Protocol
from tfcxr.evaluation.report import html, plots
from tfcxr.evaluation.report.report import Findings

SEED = 0
MAX_RATIO = 1000.0  # a copy ratio at most: that of an exact copy, whose distance is 0


def _cropped(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    size = round(0.9 * len(image))
    top, left = random.integers(0, len(image) - size + 1, 2)
    return cv2.resize(image[top : top + size, left : left + size], image.shape[::-1], interpolation=cv2.INTER_CUBIC)


def _noisy(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return np.clip(image + random.normal(0, 5, image.shape), 0, 255).round().astype(np.uint8)


def _encoded(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_GRAYSCALE)


# how a copy is planted: uint8 [size, size] and random numbers -> uint8 [size, size]
PLANTED: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "exact": lambda image, random: image,
    "flipped": lambda image, random: np.ascontiguousarray(image[:, ::-1]),
    "cropped to 90 %": _cropped,
    "brighter by 10 %": lambda image, random: np.clip(image * 1.1, 0, 255).round().astype(np.uint8),
    "noise of 5 grey levels": _noisy,
    "JPEG of quality 60": _encoded,
}


@dataclasses.dataclass(frozen=True)
class MemorizationSettings:
    """How copies are looked for.

    Attributes:
      images: synthetic and held-out images, each; 0 is as many as the smaller side has.
      false_alarms: share of held-out real images that count as copies, which sets the threshold.
      planted: copies of each kind.
      pairs: nearest pairs shown.
    """

    images: int = 0
    false_alarms: float = 0.01
    planted: int = 200
    pairs: int = 8

    def __post_init__(self) -> None:
        check_range(self, "images", minimum=0)
        check_range(self, "false_alarms", above=0, below=0.5)
        check_range(self, "planted", "pairs", minimum=1)


def run(evaluation: Evaluation, settings: MemorizationSettings) -> Findings:
    """Measures by each extractor.

    Raises:
      FileNotFoundError: a folder or shard is missing.
      ValueError: what `load_cohorts` refuses, or too few images for a threshold.
    """
    check_folders(evaluation, allows_unlabelled=True, only_extractors=True)
    cohorts = load_cohorts(evaluation, evaluation.label_names)
    split, test = max(cohorts.tests.items(), key=lambda item: len(item[1].images))
    sides = {"the cohort": len(cohorts.only_synthetic.images), f"the test split {split}": len(test.images)}
    count = settings.images or min(sides.values())
    least, held = 1 / settings.false_alarms, ", ".join(f"{side} holds {images}" for side, images in sides.items())
    if count < least or count > min(sides.values()):
        said = f"memorization.images={settings.images} gives" if settings.images else "there are"
        raise ValueError(
            f"memorization at {settings.false_alarms:.0%} false alarms needs {least:.0f} images or more of both sides, "
            f"but {said} {count}; {held}: give larger ones, or --set=memorization.false_alarms=0.05"
        )
    found = {}
    for extractor in tqdm(open_extractors(evaluation, cohorts), desc="memorization", unit="extractor", leave=False):
        found[extractor.name] = _measure(extractor, cohorts, split, count, settings)
    data = {
        "version": verdict.VERSION,
        "held_out_split": split,
        "images": count,
        "training_images": len(cohorts.real.images),
        "false_alarms": settings.false_alarms,
        "planted": min(settings.planted, len(cohorts.real.images)),
        "extractors": {name: result for name, (result, _) in found.items()},
    }
    return Findings(
        title="Memorization",
        verdict=[verdict.sentence(name, result, settings.false_alarms) for name, (result, _) in found.items()],
        data=data,
        introduction=f"Nearest of {len(cohorts.real.images)} real training images, for {count} synthetic images and "
        f"{count} held-out real images of {html.text(split)}.",
        parts=_page_parts(found, cohorts, settings),
        cohorts=cohorts.facts,
        shared_patients=cohorts.shared_patients,
        notices=cohorts.notices,
        scores=verdict.scores(data, cohorts),
        nearest_pairs=_pair_images(next(iter(found.values()))[1], cohorts),
    )


def _measure(
    extractor: Extractor, cohorts: Cohorts, split: str, count: int, settings: MemorizationSettings
) -> tuple[dict[str, Any], list[tuple[int, int]]]:
    """The result of one extractor, and the nearest pairs (synthetic image, training image)."""
    random = np.random.default_rng(SEED)
    test = cohorts.tests[split]
    synthetic, training, held_out = map(extractor.features_of, (cohorts.only_synthetic, cohorts.real, test))
    of_synthetic, of_held_out = (np.sort(random.permutation(len(side))[:count]) for side in (synthetic, held_out))
    made = nearest(synthetic[of_synthetic], training)
    real = nearest(held_out[of_held_out], training)
    threshold = float(np.quantile(real.distance, settings.false_alarms, method="lower"))
    is_copy = made.distance < threshold
    low, high = stats.binomtest(int(is_copy.sum()), count).proportion_ci(method="wilson")
    chosen = random.permutation(len(training))[: settings.planted]
    pixels = cohorts.real.images[np.sort(chosen)][..., 0]
    planted = {
        name: float((nearest(_features(extractor, change, pixels), training).distance < threshold).mean())
        for name, change in PLANTED.items()
    }
    order = np.argsort(made.distance)[: settings.pairs]
    pairs = [(int(of_synthetic[row]), int(made.index[row])) for row in order]
    typical = np.median(real.distance)
    result = {
        "copies": float(is_copy.mean()),
        "interval": [float(low), float(high)],
        "largest_ratio": {
            "synthetic": _largest_ratio(made.distance, typical),
            "held_out": _largest_ratio(real.distance, typical),
        },
        "threshold": threshold,
        "c_t": _c_t(made.distance, real.distance),
        "median_distance": {"synthetic": float(np.median(made.distance)), "held_out": float(typical)},
        "planted_found": planted,
        "passport": extractor.passport,
    }
    return result, pairs


def _features(extractor: Extractor, change: Callable, pixels: np.ndarray) -> np.ndarray:
    random = np.random.default_rng(SEED)
    return extractor.features(np.stack([change(image, random) for image in pixels])[..., None])


def _largest_ratio(distance: np.ndarray, typical: float) -> float:
    nearest_distance = max(distance.min(), typical / MAX_RATIO)
    return float(typical / nearest_distance) if nearest_distance else float("nan")


def _c_t(synthetic: np.ndarray, held_out: np.ndarray) -> float:
    """Mann-Whitney z of synthetic against held-out distances: negative where synthetic ones are smaller."""
    n, m = len(synthetic), len(held_out)
    u = stats.mannwhitneyu(synthetic, held_out).statistic
    return float((u - n * m / 2) / np.sqrt(n * m * (n + m + 1) / 12))


def _pair_images(pairs: list[tuple[int, int]], cohorts: Cohorts) -> tuple[np.ndarray, np.ndarray]:
    """Synthetic images and the training image nearest to each, both uint8 [pairs, size, size, 1]."""
    made, real = (np.array(column) for column in zip(*pairs, strict=True))
    return cohorts.only_synthetic.images[made], cohorts.real.images[real]


def _page_parts(
    found: Mapping[str, tuple[Mapping[str, Any], list[tuple[int, int]]]],
    cohorts: Cohorts,
    settings: MemorizationSettings,
) -> list[str]:
    rows = [
        [
            html.text(name),
            f"{result['copies']:.1%} ({result['interval'][0]:.1%} to {result['interval'][1]:.1%})",
            f"{result['c_t']:.1f}",
            f"{result['largest_ratio']['synthetic']:.3g} (held-out {result['largest_ratio']['held_out']:.3g})",
            *(f"{share:.0%}" for share in result["planted_found"].values()),
        ]
        for name, (result, _) in found.items()
    ]
    headers = [
        "extractor",
        f"copies (chance {settings.false_alarms:.0%})",
        "C_T",
        "largest copy ratio",
        *(f"found: {kind}" for kind in PLANTED),
    ]
    parts = [html.table(headers, rows)]
    for name, (_, pairs) in found.items():
        images = np.concatenate(_pair_images(pairs, cohorts))
        rows_of = np.repeat(np.eye(2, dtype=np.float32), len(pairs), axis=0)
        grid = plots.sample_grid(images, rows_of, ["synthetic", "nearest training image"], len(pairs))
        parts += [f"<h3>Nearest pairs by {html.text(name)}</h3>", html.picture(grid, f"nearest pairs by {name}")]
    method = (__doc__ or "").partition("\n\n")[2]
    return [*parts, f"<h2>How it was done</h2><p>{html.text(method)}</p>"]


MEMORIZATION = Protocol(
    name="memorization",
    question="does the cohort hold copies of training images, more than held-out patients would by chance, and would "
    "planted copies be found?",
    settings_class=MemorizationSettings,
    run=run,
)
