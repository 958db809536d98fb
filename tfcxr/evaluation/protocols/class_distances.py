"""Class distances: are the synthetic labels as far from each other as the real ones are?

Every pair of labels is compared by the Frechet distance of the images that have them, of real and of synthetic images
side by side. Distances are squared, so the root is taken before they are drawn: as a map (classical scaling) and as a
dendrogram (average linkage). The Mantel test (Mantel 1967) says how well the two matrices agree. On the diagonal stands
the floor of each label: two halves of its images that share no patient; each row compares as many images on both sides.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from tfcxr.config import check_range
from tfcxr.evaluation.cohorts import Cohort, check_folders, load_cohorts, split_off_validation
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.extractors.extractors import open_extractors
from tfcxr.evaluation.metrics.frechet_distance import frechet_distance
from tfcxr.evaluation.protocols.protocol import Protocol
from tfcxr.evaluation.report import html, plots
from tfcxr.evaluation.report.report import Findings

VERSION = 1
SEED = 0


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
        agreement = mantel(*(np.sqrt(found[extractor.name][side]) for side in sides), settings.permutations)
        found[extractor.name] |= {"agreement": agreement, "passport": extractor.passport}
    left_out = [name for name in counts if name not in names]
    notices = [f"left out, with fewer than {least} images on a side: {', '.join(left_out)}"] if left_out else []
    return Findings(
        title="Class distances",
        verdict=[_sentence(name, result, names) for name, result in found.items()],
        data={"version": VERSION, "label_names": names, "images": count, "extractors": found},
        introduction=f"Frechet distances of {count} images per label; on the diagonal, halves of one label.",
        parts=[part for name, result in found.items() for part in _page_part(name, result, names)],
        cohorts=cohorts.facts,
        shared_patients=cohorts.shared_patients,
        notices=[*cohorts.notices, *notices],
    )


def _matrix(
    features: np.ndarray, cohort: Cohort, label_names: Sequence[str], names: Sequence[str], count: int
) -> np.ndarray:
    """float64 [labels, labels] of squared distances of `count` images each; floors on the diagonal."""
    random = np.random.default_rng(SEED)
    rows = {name: random.permutation(np.flatnonzero(cohort.labels[:, label_names.index(name)] == 1)) for name in names}
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


def _sentence(name: str, result: Mapping[str, Any], names: Sequence[str]) -> str:
    between = [np.array(result[side])[np.triu_indices(len(names), 1)] for side in ("real", "synthetic")]
    ratio = np.sqrt(between[1].mean() / between[0].mean()) if between[0].mean() else float("nan")
    said = f"By {name}, synthetic labels are {ratio:.2f} times as far apart as real ones (root of the mean distance)"
    if result["agreement"] is None:
        return f"{said}."
    agreement = result["agreement"]
    return f"{said}; the two matrices agree with correlation {agreement['correlation']:.2f} (p = {agreement['p']:.3f})."


def _page_part(name: str, result: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    parts = [f"<h3>{html.text(name)}</h3>"]
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


CLASS_DISTANCES = Protocol(
    name="class_distances",
    question="are synthetic labels as far from each other as real ones, and in the same order?",
    settings_class=ClassDistanceSettings,
    run=run,
)
