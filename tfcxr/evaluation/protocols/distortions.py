"""Distortions: does a distance grow when real images are made worse? This validates an extractor before it is trusted.

Real test images are distorted by blur, noise, salt and pepper, and black blocks of growing strength, and compared with
the undistorted images of other patients, by every extractor and every `FeatureDistance`. An extractor that sees a
distortion has a distance that rises with its strength: Spearman's rank correlation near 1, Pearson's where it rises in
proportion, each with its p-value.

`preset=chetty2023` is the validation of MedFID in Chetty 2023 instead: its distortions and Pearson's correlation, with
the same images undistorted on the other side. `images=1` does it on one image at random, as published; the Frechet
distance of two images is the squared distance of their features, since one image has no spread. The steps of strength
and the area of its blocks are not published; ours are in `image_distortions`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats
from tqdm import tqdm

from tfcxr.config import check_range
from tfcxr.evaluation.cohorts import check_folders, load_cohorts, split_off_validation
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.extractors.extractors import open_extractors
from tfcxr.evaluation.feature_distances import MIN_HALF_IMAGES
from tfcxr.evaluation.image_distortions import CHETTY2023, CHETTY2023_PEARSON, DISTORTIONS, distorted
from tfcxr.evaluation.metrics import distance_metrics, metrics_of
from tfcxr.evaluation.metrics.frechet_distance import FRECHET
from tfcxr.evaluation.metrics.metric import FeatureDistance
from tfcxr.evaluation.protocols.protocol import Protocol
from tfcxr.evaluation.report import html, plots
from tfcxr.evaluation.report.report import Findings
from tfcxr.evaluation.report.score import Score

VERSION = 2
SEED = 0
SINGLE = dataclasses.replace(  # of one image on each side
    FRECHET, distance=lambda first, second, seed: float(np.square(first.astype(np.float64) - second).sum())
)
SIGNIFICANT = 0.05
LEAST_RANK = 0.8  # Spearman's correlation of a distance that rises
PRESETS = ("sets", "chetty2023")


@dataclasses.dataclass(frozen=True)
class DistortionSettings:
    """What is distorted.

    Attributes:
      images: distorted, and undistorted ones, each; 0 is half of the largest test split.
      preset: sets compares with other patients; chetty2023 is the validation of MedFID, against the same images, and
        takes images=1 too.
    """

    images: int = 0
    preset: str = "sets"

    def __post_init__(self) -> None:
        check_range(self, "images", minimum=0)
        if self.preset not in PRESETS:
            raise ValueError(f"distortions.preset must be one of {', '.join(PRESETS)}, got {self.preset}")
        if 0 < self.images < MIN_HALF_IMAGES and not (self.images == 1 and self.is_published):
            raise ValueError(
                f"distortions.images must be 0, or {MIN_HALF_IMAGES} or more, got {self.images}; "
                "--set=distortions.preset=chetty2023 takes 1"
            )

    @property
    def is_published(self) -> bool:
        """Whether it is the validation of MedFID."""
        return self.preset == "chetty2023"


def run(evaluation: Evaluation, settings: DistortionSettings) -> Findings:
    """Distorts and measures.

    Raises:
      FileNotFoundError: a folder or shard is missing.
      ValueError: what `load_cohorts` refuses, or fewer images than are asked for.
    """
    check_folders(evaluation, allows_unlabelled=True, only_extractors=True)
    cohorts = load_cohorts(evaluation, evaluation.label_names)
    split, test = max(cohorts.tests.items(), key=lambda item: len(item[1].images))
    is_first = split_off_validation(test.patient_keys, 0.5, SEED)
    first, second = np.flatnonzero(is_first), np.flatnonzero(is_first if settings.is_published else ~is_first)
    count = settings.images or min(len(first), len(second))
    if count > min(len(first), len(second)):
        raise ValueError(
            f"distortions.images={count} were asked for, but halves of {split} that share no patient hold {len(first)} "
            f"and {len(second)} images"
        )
    if settings.is_published:  # at random, and the same on both sides
        first = second = np.random.default_rng(SEED).permutation(first)
    originals, clean = test.images[first[:count]][..., 0], test.images[second[:count]]
    distortions = CHETTY2023 if settings.is_published else DISTORTIONS
    metrics = [SINGLE] if count == 1 else metrics_of(FeatureDistance)
    extractors = open_extractors(evaluation, cohorts)
    found: dict[str, dict[str, Any]] = {}
    steps = len(extractors) * sum(len(strengths) for _, strengths in distortions.values())
    with tqdm(total=steps, desc="distortions", unit="set", leave=False) as progress:
        for extractor in extractors:
            reference, found[extractor.name] = extractor.features(clean), {}
            for name, (distort, strengths) in distortions.items():
                distances = []
                for strength in strengths:
                    rows = extractor.features(distorted(originals, distort, strength, SEED))
                    distances.append([metric.distance(rows, reference, SEED) for metric in metrics])
                    progress.update()
                found[extractor.name][name] = _answers(metrics, strengths, np.array(distances))
    data = {
        "version": VERSION,
        "preset": settings.preset,
        "split": split,
        "images": count,
        "extractors": found,
        "passports": {extractor.name: extractor.passport for extractor in extractors},
    }
    return Findings(
        title="Distortions",
        verdict=[
            (_published_sentence if settings.is_published else _sentence)(name, of_extractor)
            for name, of_extractor in found.items()
        ],
        data=data,
        introduction=f"{count} distorted images of {html.text(split)} against "
        + ("the same, clean." if settings.is_published else f"{count} clean ones of other patients."),
        parts=_page_parts(metrics, found, CHETTY2023_PEARSON if settings.is_published else {}),
        cohorts=cohorts.facts,
        shared_patients=cohorts.shared_patients,
        notices=cohorts.notices,
        scores=_scores(data, {"preset": settings.preset, "real": test.facts["sha256"]}),
    )


def _scores(data: Mapping[str, Any], passport: Mapping[str, Any]) -> list[Score]:
    """The correlations of the distances that verdicts go by."""
    return [
        Score(
            metric=name,
            value=answers[metric.name][name]["correlation"],
            images=data["images"],
            better="higher",
            subject=f"{metric.name}: {kind}",
            extractor=extractor,
            split=data["split"],
            passport={
                **passport,
                "version": data["version"],
                "extractor": data["passports"][extractor],
                "strengths": answers[metric.name]["strengths"],
            },
        )
        for extractor, kinds in data["extractors"].items()
        for kind, answers in kinds.items()
        for metric in distance_metrics()
        if metric.name in answers
        for name in ("pearson", "spearman")
    ]


def _answers(metrics: Sequence[FeatureDistance], strengths: Sequence[float], distances: np.ndarray) -> dict[str, Any]:
    """Of each metric: its values float [strengths] and their correlations with the strength."""
    answers: dict[str, Any] = {}
    for metric, values in zip(metrics, distances.T, strict=True):
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
        if answers[headline.name]["spearman"]["correlation"] < LEAST_RANK
        or answers[headline.name]["spearman"]["p"] > SIGNIFICANT
    ]
    if not blind:
        return f"The {headline.title} distance by {name} rises with every distortion."
    return f"The {headline.title} distance by {name} does not rise with {' and '.join(blind)}: it cannot judge that."


def _published_sentence(name: str, found: Mapping[str, Mapping[str, Any]]) -> str:
    headline = distance_metrics()[0]
    said = [
        f"{kind.partition(',')[0]} {answers[headline.name]['pearson']['correlation']:.3f} (p = "
        f"{answers[headline.name]['pearson']['p']:.3f}; published {CHETTY2023_PEARSON[kind][0]:.3f})"
        for kind, answers in found.items()
    ]
    return f"Pearson's correlation of the {headline.title} distance by {name} with the strength: {', '.join(said)}."


def _page_parts(
    metrics: Sequence[FeatureDistance],
    found: Mapping[str, Mapping[str, Mapping[str, Any]]],
    published: Mapping[str, Sequence[float]],
) -> list[str]:
    """HTML; `published` are Pearson's correlations of MedFID and of CelebA's Inception, by distortion."""
    parts = []
    for name, kinds in found.items():
        rows = [
            [
                html.text(kind),
                *(
                    f"{_said(answers[metric.name], 'pearson')}, {_said(answers[metric.name], 'spearman')}"
                    for metric in metrics
                ),
                *(f"{value:.3f}" for value in published.get(kind, ())),
            ]
            for kind, answers in kinds.items()
        ]
        headers = ["correlation: Pearson, Spearman (p)", *(html.text(metric.title) for metric in metrics)]
        headers += ["Pearson, MedFID as published", "CelebA as published"] if published else []
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
    takes_several=True,
)
