"""Frechet distances that real images have among themselves, beside the cohort's: table 1 of Segal et al. 2021.

Halves of the real images with equal shares of labels, women from men, synthetic from real images, and each label from
no finding, of real and of synthetic images. All compare as many images; intervals are by patient.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit

from tfcxr.data.no_finding import is_no_finding
from tfcxr.evaluation.cohorts import Cohort
from tfcxr.evaluation.metrics.frechet_distance import FRECHET, frechet_distance

SEED = 0
STRATIFIED_DRAWS = 3
TITLES = {
    "halves": "halves with equal shares of labels",
    "between_sexes": "women from men",
    "synthetic_to_real": "synthetic from real images",
    "from_no_finding": "{} from no finding",
}


def label_distances(
    features: Mapping[str, np.ndarray],
    sides: Mapping[str, Cohort],
    label_names: Sequence[str],
    names: Sequence[str],
    count: int,
) -> list[dict[str, Any]]:
    """The rows of the table, each with "what" of `TITLES`, "label", and "real" and "synthetic" estimates or None.

    Args:
      features: side ("real", "synthetic") -> float [images, features].
      sides: the cohorts, by the same names.
      label_names: of the columns of their labels.
      names: that have enough images; no finding is the first where there is one.
      count: images on each side of every distance.
    """
    real, random = sides["real"], np.random.default_rng(SEED)
    halves = [
        _estimate(features["real"], real, first, features["real"], real, second)
        for first, second in stratified_halves(real, count)
    ]
    rows = [_row("halves", _mean(halves))]
    by_sex = {}
    for side, cohort in sides.items():
        of_sex = _women_and_men(cohort, count)
        is_enough = min(map(len, of_sex)) == count
        by_sex[side] = (
            _estimate(features[side], cohort, of_sex[0], features[side], cohort, of_sex[1]) if is_enough else None
        )
    rows.append(_row("between_sexes", by_sex["real"], by_sex["synthetic"]))
    all_images = {side: random.permutation(len(cohort.labels))[:count] for side, cohort in sides.items()}
    made, synthetic = sides["synthetic"], features["synthetic"]
    of_all = _estimate(synthetic, made, all_images["synthetic"], features["real"], real, all_images["real"])
    rows.append(_row("synthetic_to_real", None, of_all))
    if not is_no_finding(names[0]):
        return rows
    by_label = {side: images_of_labels(cohort, label_names, names) for side, cohort in sides.items()}
    for name in names[1:]:
        found = {
            side: _estimate(
                features[side], cohort, by_label[side][name][:count],
                features[side], cohort, by_label[side][names[0]][:count],
            )
            for side, cohort in sides.items()
        }  # fmt: skip
        rows.append(_row("from_no_finding", found["real"], found["synthetic"], name))
    return rows


def images_of_labels(cohort: Cohort, label_names: Sequence[str], names: Sequence[str]) -> dict[str, np.ndarray]:
    """Positions of the images that have each label, in random order."""
    random = np.random.default_rng(SEED)
    return {name: random.permutation(np.flatnonzero(cohort.labels[:, label_names.index(name)] == 1)) for name in names}


def stratified_halves(cohort: Cohort, count: int) -> Iterator[list[np.ndarray]]:
    """Positions of as many images, `count` or fewer, of halves that share no patient and have equal shares of labels.

    A patient has a label where any of the images has it.
    """
    patients, number = np.unique(cohort.patient_keys, return_inverse=True)
    has_label = np.zeros([len(patients), cohort.labels.shape[1]], int)
    np.maximum.at(has_label, number, (cohort.labels == 1).astype(int))
    splitter = MultilabelStratifiedShuffleSplit(n_splits=STRATIFIED_DRAWS, test_size=0.5, random_state=SEED)
    random = np.random.default_rng(SEED)
    for halves in splitter.split(has_label, has_label):
        chosen = [random.permutation(np.flatnonzero(np.isin(number, half)))[:count] for half in halves]
        fewest = min(map(len, chosen))
        yield [rows[:fewest] for rows in chosen]


def stratified_floor(features: np.ndarray, cohort: Cohort, count: int) -> float:
    """Mean squared distance of `stratified_halves`; NaN where one patient has all images of a half."""
    distances = [
        frechet_distance(*(features[rows] for rows in halves)) if len(halves[0]) > 1 else np.nan
        for halves in stratified_halves(cohort, count)
    ]
    return float(np.mean(distances))


def between_sexes(features: np.ndarray, cohort: Cohort, count: int) -> float:
    """Squared distance of `count` images of women from as many of men, NaN where fewer are known to be of either."""
    rows = _women_and_men(cohort, count)
    return frechet_distance(*(features[of_sex] for of_sex in rows)) if min(map(len, rows)) == count else float("nan")


def _women_and_men(cohort: Cohort, count: int) -> list[np.ndarray]:
    random = np.random.default_rng(SEED)
    return [random.permutation(np.flatnonzero(cohort.groups["sex"] == sex))[:count] for sex in ("F", "M")]


def _estimate(
    first: np.ndarray, first_cohort: Cohort, first_rows: np.ndarray,
    second: np.ndarray, second_cohort: Cohort, second_rows: np.ndarray,
) -> dict[str, Any] | None:  # fmt: skip
    """{"mean", "interval"} of the distance of some images of two sets; None where a side has a single patient."""
    patients = [first_cohort.patient_keys[first_rows], second_cohort.patient_keys[second_rows]]
    if min(len(np.unique(keys)) for keys in patients) < 2:
        return None
    found = FRECHET.estimate(first[first_rows], second[second_rows], *patients, SEED)
    return {"mean": found.mean, "interval": [found.low, found.high]}


def _mean(estimates: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    known = [[one["mean"], *one["interval"]] for one in estimates if one]
    if not known:
        return None
    mean, low, high = np.mean(known, axis=0).tolist()
    return {"mean": mean, "interval": [low, high]}


def _row(
    what: str, real: Mapping[str, Any] | None, synthetic: Mapping[str, Any] | None = None, label: str = ""
) -> dict[str, Any]:
    return {"what": what, "label": label, "real": real, "synthetic": synthetic}
