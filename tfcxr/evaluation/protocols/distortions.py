"""Distortions: does a distance grow when real images are made worse? This validates an extractor before it is trusted.

Real test images are distorted by blur, noise, salt and pepper, and black blocks of growing strength, and compared with
the undistorted images of other patients, by every extractor and every `FeatureDistance`. An extractor that sees a
distortion has a distance that rises with its strength: Spearman's rank correlation near 1, Pearson's where it rises in
proportion, each with its p-value (MedFID's validation in Chetty 2023 takes Pearson's, on one image).

Differs from Chetty 2023: whole sets of images, and other patients on the undistorted side.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from scipy import stats
from tqdm import tqdm

from tfcxr.config import check_range
from tfcxr.evaluation.cohorts import check_folders, load_cohorts, split_off_validation
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.extractors.extractors import open_extractors
from tfcxr.evaluation.metrics import distance_metrics, metrics_of
from tfcxr.evaluation.metrics.metric import FeatureDistance
from tfcxr.evaluation.protocols.protocol import Protocol
from tfcxr.evaluation.report import html, plots
from tfcxr.evaluation.report.report import Findings

VERSION = 1
SEED = 0
SIGMA_SIZE = 64  # pixels that a blur's sigma is given for, so that images of all sizes blur alike
SIGNIFICANT = 0.05
LEAST_RANK = 0.8  # Spearman's correlation of a distance that rises

Distortion = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def _blurred(image: np.ndarray, sigma: float, random: np.random.Generator) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), sigma * len(image) / SIGMA_SIZE) if sigma else image


def _noisy(image: np.ndarray, deviation: float, random: np.random.Generator) -> np.ndarray:
    return np.clip(image + random.normal(0, deviation, image.shape), 0, 255).round().astype(np.uint8)


def _salted(image: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    spoiled = random.random(image.shape)
    return np.where(spoiled < share / 2, 0, np.where(spoiled > 1 - share / 2, 255, image)).astype(np.uint8)


def _blocked(image: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    side = round(np.sqrt(share) * len(image))
    top, left = random.integers(0, len(image) - side + 1, 2)
    image = image.copy()
    image[top : top + side, left : left + side] = 0
    return image


# name -> how, and strengths from none to strong
DISTORTIONS: dict[str, tuple[Distortion, Sequence[float]]] = {
    "blur, sigma in px at 64 px": (_blurred, (0, 0.5, 1, 1.5, 2, 3)),
    "noise, grey levels": (_noisy, (0, 3, 6, 12, 25, 50)),
    "salt and pepper, share": (_salted, (0, 0.01, 0.03, 0.1, 0.3, 0.9)),
    "black block, share": (_blocked, (0, 0.02, 0.05, 0.1, 0.2, 0.4)),
}


@dataclasses.dataclass(frozen=True)
class DistortionSettings:
    """How many images.

    Attributes:
      images: distorted, and undistorted of other patients, each; 0 is half of the largest test split.
    """

    images: int = 0

    def __post_init__(self) -> None:
        check_range(self, "images", minimum=0)


def run(evaluation: Evaluation, settings: DistortionSettings) -> Findings:
    """Distorts and measures.

    Raises:
      FileNotFoundError: a folder or shard is missing.
      ValueError: what `load_cohorts` refuses, or fewer images than are asked for.
    """
    check_folders(evaluation, allows_unlabelled=True)
    cohorts = load_cohorts(evaluation, evaluation.label_names)
    split, test = max(cohorts.tests.items(), key=lambda item: len(item[1].images))
    is_first = split_off_validation(test.patient_keys, 0.5, SEED)
    first, second = np.flatnonzero(is_first), np.flatnonzero(~is_first)
    count = settings.images or min(len(first), len(second))
    if count > min(len(first), len(second)):
        raise ValueError(
            f"distortions.images={count} were asked for, but halves of {split} that share no patient hold {len(first)} "
            f"and {len(second)} images"
        )
    distorted, clean = test.images[first[:count]][..., 0], test.images[second[:count]]
    extractors = open_extractors(evaluation, cohorts)
    found: dict[str, dict[str, Any]] = {}
    steps = len(extractors) * sum(len(strengths) for _, strengths in DISTORTIONS.values())
    with tqdm(total=steps, desc="distortions", unit="set", leave=False) as progress:
        for extractor in extractors:
            reference, found[extractor.name] = extractor.features(clean), {}
            for name, (distort, strengths) in DISTORTIONS.items():
                distances = []
                for strength in strengths:
                    rows = extractor.features(_distorted(distorted, distort, strength))
                    distances.append([metric.distance(rows, reference, SEED) for metric in metrics_of(FeatureDistance)])
                    progress.update()
                found[extractor.name][name] = _answers(strengths, np.array(distances))
    data = {
        "version": VERSION,
        "split": split,
        "images": count,
        "extractors": found,
        "passports": {extractor.name: extractor.passport for extractor in extractors},
    }
    return Findings(
        title="Distortions",
        verdict=[_sentence(name, of_extractor) for name, of_extractor in found.items()],
        data=data,
        introduction=f"{count} distorted images of {html.text(split)} against {count} clean ones of other patients.",
        parts=_page_parts(found),
        cohorts=cohorts.facts,
        shared_patients=cohorts.shared_patients,
        notices=cohorts.notices,
    )


def _distorted(images: np.ndarray, distort: Distortion, strength: float) -> np.ndarray:
    random = np.random.default_rng(SEED)
    return np.stack([distort(image, strength, random) for image in images])[..., None]


def _answers(strengths: Sequence[float], distances: np.ndarray) -> dict[str, Any]:
    """Of each metric: its values float [strengths] and their correlations with the strength."""
    answers: dict[str, Any] = {}
    for metric, values in zip(metrics_of(FeatureDistance), distances.T, strict=True):
        sign = 1 if metric.better == "lower" else -1  # so that 1 says: worse images score worse
        answer: dict[str, Any] = {"strengths": list(strengths), "values": values}
        for name, test in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr)):
            is_constant = np.ptp(values) == 0
            correlation, p_value = (0.0, 1.0) if is_constant else test(strengths, values)
            answer[name] = {"correlation": sign * float(correlation), "p": float(p_value)}
        answers[metric.name] = answer
    return answers


def _sentence(name: str, found: Mapping[str, Mapping[str, Any]]) -> str:
    headline = distance_metrics()[0]
    blind = [
        kind.partition(",")[0]
        for kind, answers in found.items()
        if answers[headline.name]["spearman"]["correlation"] < 0.8
        or answers[headline.name]["spearman"]["p"] > SIGNIFICANT
    ]
    if not blind:
        return f"The {headline.title} distance by {name} rises with every distortion."
    return f"The {headline.title} distance by {name} does not rise with {' and '.join(blind)}: it cannot judge that."


def _page_parts(found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    metrics, parts = metrics_of(FeatureDistance), []
    for name, kinds in found.items():
        rows = [
            [
                html.text(kind),
                *(
                    f"{_said(answers[metric.name], 'pearson')}, {_said(answers[metric.name], 'spearman')}"
                    for metric in metrics
                ),
            ]
            for kind, answers in kinds.items()
        ]
        headers = ["correlation: Pearson, Spearman (p)", *(html.text(metric.title) for metric in metrics)]
        lines = {kind: answers[metrics[0].name] for kind, answers in kinds.items()}
        parts += [
            f"<h3>{html.text(name)}</h3>",
            html.table(headers, rows),
            html.picture(plots.rising_lines(lines, metrics[0].title), f"{metrics[0].title} distance by strength"),
        ]
    return parts


def _said(answer: Mapping[str, Any], name: str) -> str:
    return f"{answer[name]['correlation']:.2f} ({answer[name]['p']:.3f})"


DISTORTIONS_PROTOCOL = Protocol(
    name="distortions",
    question="does a distance grow when real images are blurred, noisy, spoiled or covered? It validates extractors.",
    settings_class=DistortionSettings,
    run=run,
)
