"""Similarity: mean structural similarity (SSIM) of synthetic images to real patients, as Li, Guo, Zhang 2025 report it.

The paper gives neither pairing nor N; it prints .3739 for the generator before fine-tuning and .5925 after.
`preset=li2025` measures at the size that its images had, 224 px (bilinear, antialiased), by SSIM alone. Otherwise
images are compared as they are stored. Every synthetic image is compared with a random real one (`pairing`), as many on
each side as the smaller side has (`images`), and the same real images in two halves that share no patient are compared
with each other by the same pairing. Intervals are by patient.

SSIM knows no distribution: a blurred average of the real images is more similar to each of them than they are to each
other. So a ratio above 1 is no praise, and one picture repeated can score best.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfcxr.config import check_range
from tfcxr.evaluation.cohorts import Cohort, check_folders, load_cohorts
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.metrics.image_diversity import scales_of
from tfcxr.evaluation.metrics.metric import Estimate
from tfcxr.evaluation.metrics.pairwise_similarity import PAIRINGS, similarity_to_real
from tfcxr.evaluation.metrics.structural_similarity import SimilarityMeasure
from tfcxr.evaluation.protocols.protocol import Protocol
from tfcxr.evaluation.report import html
from tfcxr.evaluation.report.report import Findings
from tfcxr.evaluation.report.score import Score

VERSION = 1
SEED = 0
MIN_IMAGES = 8
RESIZED_AT_ONCE = 64
MAX_IMAGES = 2000  # where `images` is 0
PRESETS = {"as_stored": 0, "li2025": 224}  # name -> pixels that images are resized to; 0 leaves them


@dataclasses.dataclass(frozen=True)
class SimilaritySettings:
    """How images are paired.

    Attributes:
      images: N, on each side; 0 is as many as the smaller side has, at most 2,000.
      pairing: random, in_order or all (every synthetic with every real image, N times the work).
      is_multiscale: multi-scale SSIM beside SSIM.
      preset: as_stored compares images as they are; li2025 at 224 px by SSIM alone, as that paper did.
    """

    images: int = 0
    pairing: str = "random"
    is_multiscale: bool = True
    preset: str = "as_stored"

    def __post_init__(self) -> None:
        check_range(self, "images", minimum=0)
        if self.images and self.images < MIN_IMAGES:
            raise ValueError(f"similarity.images must be 0, or {MIN_IMAGES} or more, got {self.images}")
        if self.pairing not in PAIRINGS:
            raise ValueError(f"similarity.pairing must be one of {', '.join(PAIRINGS)}, got {self.pairing}")
        if self.preset not in PRESETS:
            raise ValueError(f"similarity.preset must be one of {', '.join(PRESETS)}, got {self.preset}")


def run(evaluation: Evaluation, settings: SimilaritySettings) -> Findings:
    """Compares the cohort with each test split.

    Raises:
      FileNotFoundError: a folder or shard is missing.
      ValueError: what `load_cohorts` refuses, or fewer images than are asked for.
    """
    check_folders(evaluation, same_labels=False)
    cohorts = load_cohorts(evaluation, evaluation.label_names)
    image_size = PRESETS[settings.preset]
    is_multiscale = settings.is_multiscale and not image_size
    scales = scales_of(cohorts.real.images.shape[1]) if is_multiscale else 1
    measures = {"ssim": 1} | ({"ms_ssim": scales} if scales > 1 else {})
    found: dict[str, dict[str, Any]] = {}
    scores: list[Score] = []
    for split, test in cohorts.tests.items():
        made, real = _drawn(cohorts.only_synthetic, test, split, settings)
        sides = [
            _resized(side.images[rows], image_size) for side, rows in ((cohorts.only_synthetic, made), (test, real))
        ]
        found[split] = {"images": len(made), "image_size": sides[0].shape[1], "measures": {}}
        for name, count in measures.items():
            measure = SimilarityMeasure(255.0, count)
            result = similarity_to_real(
                *sides,
                pairing=settings.pairing,
                measure=measure,
                real_groups=test.patient_keys[real],
                seed=SEED,
            )
            ratio = Estimate(result.ratio, result.ratio_low, result.ratio_high)
            rows = {"to_real": result.to_real, "real_to_real": result.real_to_real, "ratio": ratio}
            found[split]["measures"][name] = {key: _summary(value) for key, value in rows.items()}
            found[split]["measures"][name]["weights"] = measure.weights
            passport = {"version": VERSION, "seed": SEED, "pairing": settings.pairing, "weights": measure.weights}
            passport |= {"image_size": image_size} if image_size else {}
            scores.append(
                Score(
                    metric=f"{name}_to_real",
                    value=result.to_real.mean,
                    low=result.to_real.low,
                    high=result.to_real.high,
                    of_real=result.real_to_real.mean,
                    images=len(made),
                    better="real",
                    split=split,
                    passport={**passport, "real": test.facts["sha256"]},
                )
            )
    return Findings(
        title="Similarity",
        verdict=[_sentence(split, result, settings) for split, result in found.items()],
        data={"version": VERSION, "pairing": settings.pairing, "splits": found},
        introduction="Structural similarity to real images; it is no measure of quality by itself.",
        parts=_page_parts(found),
        cohorts=cohorts.facts,
        shared_patients=cohorts.shared_patients,
        notices=cohorts.notices,
        scores=scores,
    )


def _drawn(synthetic: Cohort, test: Cohort, split: str, settings: SimilaritySettings) -> list[np.ndarray]:
    """Positions of as many images of each, at random."""
    sides = {"the cohort": synthetic, f"the test split {split}": test}
    count = settings.images or min(MAX_IMAGES, *(len(side.images) for side in sides.values()))
    for name, side in sides.items():
        if len(side.images) < max(count, MIN_IMAGES):
            raise ValueError(
                f"similarity needs {max(count, MIN_IMAGES)} images on each side, but {name} holds {len(side.images)}; "
                "give a larger one, or a smaller --set=similarity.images"
            )
    random = np.random.default_rng(SEED)
    return [np.sort(random.permutation(len(side.images))[:count]) for side in sides.values()]


def _resized(images: np.ndarray, image_size: int) -> np.ndarray:
    """uint8 images [images, size, size, 1] in another size, rounded; as they are where it is 0."""
    if not image_size:
        return images
    batches = [images[start : start + RESIZED_AT_ONCE] for start in range(0, len(images), RESIZED_AT_ONCE)]
    resized = [tf.image.resize(batch, [image_size] * 2, "bilinear", antialias=True) for batch in batches]
    return np.concatenate([np.clip(np.rint(batch), 0, 255).astype(np.uint8) for batch in resized])


def _summary(estimate: Estimate) -> dict[str, Any]:
    return {"mean": estimate.mean, "interval": [estimate.low, estimate.high]}


def _sentence(split: str, result: Mapping[str, Any], settings: SimilaritySettings) -> str:
    of_ssim = result["measures"]["ssim"]
    said = {name: f"{of_ssim[name]['mean']:.3f}" for name in ("to_real", "real_to_real")}
    low, high = of_ssim["ratio"]["interval"]
    conclusion = "as similar to real images as these are to each other"
    if math.isnan(low):
        conclusion = "not to be judged, as real images are not similar to each other on average"
    elif low > 1:
        conclusion = "more similar to real images than these are to each other, as blurred or average images are"
    elif high < 1:
        conclusion = "less similar to real images than these are to each other"
    return (
        f"Synthetic images are {conclusion}: mean SSIM {said['to_real']} to real patients of {split}, "
        f"{said['real_to_real']} between these (pairing {settings.pairing}, {result['images']} images per side, "
        f"{result['image_size']} px)."
    )


def _measure_words(weights: Sequence[float]) -> str:
    if len(weights) == 1:
        return "SSIM"
    return f"SSIM at {len(weights)} scales, weights {', '.join(f'{weight:.3f}' for weight in weights)}"


def _page_parts(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    rows = [
        [
            html.text(split),
            str(result["images"]),
            _measure_words(of_measure["weights"]),
            *(html.estimate(of_measure[column]) for column in ("to_real", "real_to_real", "ratio")),
        ]
        for split, result in found.items()
        for of_measure in result["measures"].values()
    ]
    header = ["test split", "images per side", "measure", "synthetic to real", "real to real, other patients", "ratio"]
    method = (__doc__ or "").partition("\n\n")[2]
    return [html.table(header, rows), f"<h2>How it was done</h2><p>{html.text(method)}</p>"]


SIMILARITY = Protocol(
    name="similarity",
    question="how similar are synthetic images to real ones on average (SSIM), beside real ones to each other?",
    settings_class=SimilaritySettings,
    run=run,
    unused=("classifier_seeds", "extractor", "extractor_dir"),
)
