"""Class distances: are the synthetic labels as far from each other as the real ones are?

Every pair of labels is compared by the Frechet distance of the images that have them, of real and of synthetic images
side by side; the label of no finding, where there is one, comes first. Distances are squared, so the root is taken
before they are drawn: as a map (classical scaling of the mean-free roots, Torgerson 1952: two axes, no random start, as
large as the distances) and as a dendrogram (average linkage). The Mantel test (Mantel 1967) says how well the two
matrices agree.

What real images have by themselves: on the diagonal, each label's two halves that share no patient; and the stratified
floor, two halves of all real images that share no patient and have the same shares of labels (iterative
stratification, Sechidis, Tsoumakas, Vlahavas 2011), as Segal et al. 2021 give it. Where the sex of enough images is
known, the distance of women from men stands beside it. Every distance compares as many images on both sides.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from tfcxr.config import check_range
from tfcxr.data.no_finding import is_no_finding
from tfcxr.evaluation.cohorts import Cohort, Cohorts, check_folders, load_cohorts, split_off_validation
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.extractors.extractors import open_extractors
from tfcxr.evaluation.metrics.frechet_distance import frechet_distance
from tfcxr.evaluation.protocols.label_distances import (
    SEED,
    TITLES,
    between_sexes,
    images_of_labels,
    label_distances,
    stratified_floor,
)
from tfcxr.evaluation.protocols.protocol import Protocol
from tfcxr.evaluation.report import html, plots
from tfcxr.evaluation.report.report import Findings
from tfcxr.evaluation.report.score import Score

VERSION = 3
SIDES = ("real", "synthetic")


@dataclasses.dataclass(frozen=True)
class ClassDistanceSettings:
    """What is compared.

    Attributes:
      images: of each label; 0 is as many as half of the rarest label's images, at most 500. Labels with fewer are left
        out and named.
      least_images: labels with fewer images on a side are left out where `images` is 0.
      permutations: of the Mantel test.
    """

    images: int = 0
    least_images: int = 40
    permutations: int = 1000

    def __post_init__(self) -> None:
        check_range(self, "images", minimum=0)
        check_range(self, "least_images", minimum=8)
        check_range(self, "permutations", minimum=99)


def run(evaluation: Evaluation, settings: ClassDistanceSettings) -> Findings:
    """Compares all pairs by each extractor.

    Raises:
      FileNotFoundError: a folder or shard is missing.
      ValueError: what `load_cohorts` refuses, or fewer than two labels with enough images.
    """
    check_folders(evaluation)
    cohorts = load_cohorts(evaluation, evaluation.label_names)
    sides = {"real": cohorts.real, "synthetic": cohorts.only_synthetic}
    counts = {
        name: min(int((side.labels[:, column] == 1).sum()) for side in sides.values())
        for column, name in enumerate(cohorts.label_names)
    }
    least = 2 * settings.images or settings.least_images
    names = [name for name, count in counts.items() if count >= least]
    names.sort(key=lambda name: not is_no_finding(name))
    if len(names) < 2:
        held = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise ValueError(f"class distances need two labels with {least} images or more on both sides, got {held}")
    count = settings.images or min(500, min(counts[name] for name in names) // 2)
    found: dict[str, Any] = {}
    extractors = open_extractors(evaluation, cohorts)
    for extractor in tqdm(extractors, desc="class distances", unit="extractor", leave=False):
        found[extractor.name] = {
            side: _matrix(extractor.features_of(cohort), cohort, cohorts.label_names, names, count)
            for side, cohort in sides.items()
        }
        found[extractor.name]["stratified_floor"] = stratified_floor(
            extractor.features_of(cohorts.real), cohorts.real, count
        )
        found[extractor.name]["between_sexes"] = {
            side: between_sexes(extractor.features_of(cohort), cohort, count) for side, cohort in sides.items()
        }
        features = {side: extractor.features_of(cohort) for side, cohort in sides.items()}
        found[extractor.name]["label_distances"] = label_distances(features, sides, cohorts.label_names, names, count)
        found[extractor.name]["ratio"] = _ratio(found[extractor.name])
        agreement = mantel(*(np.sqrt(found[extractor.name][side]) for side in sides), settings.permutations)
        found[extractor.name] |= {"agreement": agreement, "passport": extractor.passport}
    left_out = [name for name in counts if name not in names]
    notices = [f"left out, with fewer than {least} images on a side: {', '.join(left_out)}"] if left_out else []
    return Findings(
        title="Class distances",
        verdict=[_sentence(name, result) for name, result in found.items()],
        data={"version": VERSION, "label_names": names, "images": count, "extractors": found},
        introduction=f"Frechet distances of {count} images per label; on the diagonal, halves of one label.",
        parts=[part for name, result in found.items() for part in _page_part(name, result, names, count)],
        cohorts=cohorts.facts,
        shared_patients=cohorts.shared_patients,
        notices=[*cohorts.notices, *notices],
        scores=[
            score for name, result in found.items() for score in _scores(name, result, cohorts, names, count, settings)
        ],
    )


def _matrix(
    features: np.ndarray, cohort: Cohort, label_names: Sequence[str], names: Sequence[str], count: int
) -> np.ndarray:
    """float64 [labels, labels] of squared distances of `count` images each; floors on the diagonal."""
    rows = images_of_labels(cohort, label_names, names)
    matrix = np.zeros([len(names), len(names)])
    for (i, first), (j, second) in itertools.combinations(enumerate(names), 2):
        matrix[i, j] = matrix[j, i] = frechet_distance(features[rows[first][:count]], features[rows[second][:count]])
    for index, name in enumerate(names):
        is_first = split_off_validation(cohort.patient_keys[rows[name]], 0.5, SEED)
        halves = rows[name][is_first][:count], rows[name][~is_first][:count]
        if min(map(len, halves)) < 2:
            matrix[index, index] = np.nan  # one patient has them all
        else:
            matrix[index, index] = frechet_distance(*(features[half] for half in halves))
    return matrix


def mantel(first: np.ndarray, second: np.ndarray, permutations: int, seed: int = SEED) -> dict[str, float] | None:
    """Pearson's correlation of the upper triangles of two distance matrices, p by permuting labels of one (one-sided).

    None for fewer than three labels, whose triangles have one value.
    """
    size = len(first)
    if size < 3:
        return None
    upper = np.triu_indices(size, 1)
    random = np.random.default_rng(seed)
    correlate = lambda order: float(np.corrcoef(first[upper], second[np.ix_(order, order)][upper])[0, 1])  # noqa: E731
    observed = correlate(np.arange(size))
    reached = sum(correlate(random.permutation(size)) >= observed - 1e-12 for _ in range(permutations))
    return {"correlation": observed, "p": (1 + reached) / (1 + permutations), "permutations": permutations}


def _ratio(result: Mapping[str, Any]) -> float:
    """How many times as far apart synthetic labels are as real ones, by the root of their mean squared distance."""
    upper = np.triu_indices(len(result["real"]), 1)
    real, synthetic = (result[side][upper].mean() for side in ("real", "synthetic"))
    return float(np.sqrt(synthetic / real)) if real else float("nan")


def _scores(
    name: str,
    result: Mapping[str, Any],
    cohorts: Cohorts,
    names: Sequence[str],
    count: int,
    settings: ClassDistanceSettings,
) -> list[Score]:
    """The ratio of distances, and how well the matrices agree."""
    passport = {
        "version": VERSION,
        "seed": SEED,
        "labels": list(names),
        "extractor": result["passport"],
        "real": cohorts.real.facts["sha256"],
    }
    shared = {"images": count, "extractor": name, "split": ", ".join(cohorts.real.facts["splits"])}
    ratio = result["ratio"]
    scores = [
        Score(metric="class_distance_ratio", value=ratio, better="real", of_real=1.0, passport=passport, **shared)
    ]
    for row in result.get("label_distances", ()):
        of_real = (row["real"] or {"mean": float("nan")})["mean"]
        for side in (side for side in ("real", "synthetic") if row[side]):
            low, high = row[side]["interval"]
            name, value = f"frechet_{row['what']}", row[side]["mean"]
            facts = {"subject": side, "label": row["label"], "passport": passport, **shared}
            scores.append(Score(metric=name, value=value, low=low, high=high, of_real=of_real, better="real", **facts))
    if agreement := result["agreement"]:
        passport = passport | {"permutations": settings.permutations}
        correlation = agreement["correlation"]
        scores.append(
            Score(metric="mantel_correlation", value=correlation, better="higher", passport=passport, **shared)
        )
    return scores


def _sentence(name: str, result: Mapping[str, Any]) -> str:
    ratio = result["ratio"]
    said = f"By {name}, synthetic labels are {ratio:.2f} times as far apart as real ones (root of the mean distance)"
    if result["agreement"] is None:
        return f"{said}."
    agreement = result["agreement"]
    return f"{said}; the two matrices agree with correlation {agreement['correlation']:.2f} (p = {agreement['p']:.3f})."


def _page_part(name: str, result: Mapping[str, Any], names: Sequence[str], count: int) -> list[str]:
    floor = html.number(result["stratified_floor"], ".3g")
    rows = [
        [html.text(TITLES[row["what"]].format(row["label"])), *(html.estimate(row[side], ".3g") for side in SIDES)]
        for row in result["label_distances"]
    ]
    parts = [
        f"<h3>{html.text(name)}</h3>",
        f"<p class=small>Halves of all real images with equal shares of labels: {floor}. {_sexes_said(result)}</p>",
        html.table(["Frechet distance", *SIDES], rows, f"{count} images on each side; 95 % intervals by patient"),
    ]
    for side in ("real", "synthetic"):
        rows = [
            [html.text(label), *(html.number(value, ".3g") for value in row)]
            for label, row in zip(names, result[side], strict=True)
        ]
        parts.append(html.table([f"{side}: Frechet", *map(html.text, names)], rows))
    if len(names) > 2:
        roots = {side: np.sqrt(result[side]) for side in ("real", "synthetic")}
        parts.append(html.picture(plots.distance_maps(roots, names), "map and dendrogram of labels"))
    return parts


def _sexes_said(result: Mapping[str, Any]) -> str:
    said = [f"{side} {value:.3g}" for side, value in result["between_sexes"].items() if np.isfinite(value)]
    return f"Women from men: {', '.join(said)}." if said else "Too few images have a known sex."


CLASS_DISTANCES = Protocol(
    name="class_distances",
    question="are synthetic labels as far from each other as real ones, and in the same order?",
    settings_class=ClassDistanceSettings,
    run=run,
)
