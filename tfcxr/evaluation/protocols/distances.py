"""Distances: how far are synthetic images from real patients, by the features of a classifier of real ones?

A classifier is trained once on the real training split; its pooled features of N synthetic and of N real images are
compared by every `FeatureDistance` of `METRICS`, such as the Frechet distance (Heusel et al. 2017) and the kernel
distance (Binkowski et al. 2018): against each test split, and against the training split, which the generator was to
imitate. Beside every distance stands the floor, two patient-disjoint halves of the same real images against each other,
and what real training images score. The verdict is in `distance_verdict.py`.

Beside them stand distances of the images themselves, every `ImageDistance` of `METRICS`.

The Frechet distance falls with N, so only distances of one N are compared: where halves of a split hold fewer than N
images, the synthetic score is given once more at the halves' size. Features have the scale of one extractor, so
distances of other weights are not comparable, nor are published ones.

Differs from Segal, Rubin, Rubin, Pantanowitz 2021, and Chetty 2023: the extractor starts from random weights and sees
grey images in their own size, no resize between.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from tqdm import tqdm

from tfcxr.evaluation import kept, label_checks
from tfcxr.evaluation.cohorts import Cohort, Cohorts, check_folders, load_cohorts
from tfcxr.evaluation.evaluation import TRAINED, Evaluation
from tfcxr.evaluation.extractors.extractors import Extractor, open_extractors
from tfcxr.evaluation.feature_distances import (
    FLOOR_DRAWS,
    MIN_HALF_IMAGES,
    MIN_IMAGES,
    MIN_PATIENTS,
    MIN_TELLING_IMAGES,
    SEED,
    FeatureSet,
    compare,
    smallest_half,
)
from tfcxr.evaluation.image_distances import compare_images
from tfcxr.evaluation.protocols.distance_page import TRAINING, page_parts
from tfcxr.evaluation.protocols.distance_scores import distance_scores
from tfcxr.evaluation.protocols.distance_verdict import tells_apart, verdict
from tfcxr.evaluation.protocols.protocol import Protocol
from tfcxr.evaluation.report import html
from tfcxr.evaluation.report.report import Findings
from tfcxr.evaluation.scores import mean_auc
from tfcxr.evaluation.subgroups import usable_groups

VERSION = 4


@dataclasses.dataclass(frozen=True)
class DistanceSettings:
    """What is compared.

    Attributes:
      images: N, on each side, no more than the smallest split holds; 0 is, for each split, as many as the smaller side
        has.
    """

    images: int = 0

    def __post_init__(self) -> None:
        if self.images and self.images < MIN_IMAGES:
            raise ValueError(f"distances.images must be 0, or {MIN_IMAGES} or more, got {self.images}")


def run(evaluation: Evaluation, settings: DistanceSettings) -> Findings:
    """Trains the extractor unless it is kept, and measures.

    Raises:
      FileNotFoundError: a folder or shard is missing.
      ValueError: what `load_cohorts` and `train_classifier` refuse; real data without labels; too few images or
        patients.
    """
    cohorts = _load(evaluation, settings)
    extractors = open_extractors(evaluation, cohorts)
    found: dict[str, Any] = {}
    for extractor in extractors:
        comparisons, auc = _compare(cohorts, extractor, settings)
        found[extractor.name] = {"comparisons": comparisons, "auc": auc, "passport": extractor.passport}
    data = {
        "version": VERSION,
        "label_names": cohorts.label_names,
        "has_synthetic_labels": bool(cohorts.only_synthetic.labels.shape[1]),
        "extractors": found,
        "of_images": {name: compare_images(cohorts.only_synthetic, real) for name, real in cohorts.real_sets.items()},
        "floor_draws": FLOOR_DRAWS,
        "seed": SEED,
    }
    verdicts = [
        verdict(extractor.words, found[extractor.name]["comparisons"], found[extractor.name]["auc"])
        for extractor in sorted(extractors, key=lambda extractor: not tells_apart(found[extractor.name]["comparisons"]))
    ]
    notices = [notice for extractor in extractors for notice in _rank_notices(extractor, found[extractor.name])]
    return Findings(
        title="Distances",
        verdict=[sentence for sentences in verdicts for sentence in sentences],
        data=data,
        introduction=" ".join(_introduction(extractor, found[extractor.name]) for extractor in extractors),
        parts=page_parts(kept.plain_json(data), cohorts),
        cohorts=cohorts.facts,
        shared_patients=cohorts.shared_patients,
        notices=[*cohorts.notices, *notices],
        scores=distance_scores(data, cohorts, settings.images),
    )


def _introduction(extractor: Extractor, found: Mapping[str, Any]) -> str:
    aucs = ", ".join(f"{value:.3f} on {name}" for name, value in found["auc"].items() if not math.isnan(value))
    where = ", trained on the real training images" if extractor.name == TRAINED else ""
    trained = f"{where} (AUC {html.text(aucs)})" if extractor.is_classifier else ""
    weights = (
        f", weights <code>{html.text(found['passport']['sha256'])}</code>" if "sha256" in found["passport"] else ""
    )
    return f"Features of {html.text(extractor.words)}{trained}{weights}."


def _load(evaluation: Evaluation, settings: DistanceSettings) -> Cohorts:
    check_folders(evaluation, allows_unlabelled=True, only_extractors=True)
    names = evaluation.label_names
    counts = label_checks.counts_of_splits(evaluation.real_info, evaluation.train_splits, names)
    notices = []
    if evaluation.trains_extractor:
        notices += label_checks.tell_labels(evaluation.train_splits_flag, counts, "learned")
    notices += label_checks.check_label_splits(evaluation, must_test=False)
    cohorts = load_cohorts(evaluation, names)
    _check_images(settings, cohorts.only_synthetic, {TRAINING: cohorts.real, **cohorts.tests})
    return cohorts.with_notices(notices)


def _check_images(settings: DistanceSettings, synthetic: Cohort, real_sets: dict[str, Cohort]) -> None:
    for name, cohort in {"the cohort": synthetic, **real_sets}.items():
        count, patients = len(cohort.images), len(np.unique(cohort.patient_keys))
        where = f"{cohort.facts['folder']} ({', '.join(cohort.facts['splits'])})"
        if count < settings.images:
            raise ValueError(
                f"distances.images={settings.images} were asked for on each side, but {where} holds {count}"
            )
        if count < MIN_IMAGES or (name in real_sets and patients < MIN_PATIENTS):
            of_patients = f" of {MIN_PATIENTS} patients" if name in real_sets else ""
            got = f"{count} of {patients}" if name in real_sets else f"{count}"
            raise ValueError(f"a distance needs {MIN_IMAGES} images{of_patients} or more, but {where} holds {got}")
        if name in real_sets and (fewest := smallest_half(cohort.patient_keys)) < MIN_HALF_IMAGES:
            raise ValueError(
                f"the floor needs halves of {MIN_HALF_IMAGES} images that share no patient, but {where} has halves of "
                f"{fewest}: its {count} images are too few, or most are of few of its {patients} patients"
            )


def _compare(
    cohorts: Cohorts, extractor: Extractor, settings: DistanceSettings
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """The comparison with each real set, and the AUC on it of an extractor that is a classifier."""
    names, cohort = cohorts.label_names, cohorts.only_synthetic
    synthetic = FeatureSet(extractor.features_of(cohort), cohort.labels)
    auc: dict[str, float] = {}
    features: dict[str, FeatureSet] = {}
    sets = {TRAINING: cohorts.real, **cohorts.tests}
    for name, real in sets.items():
        arrays = extractor.read_cohort(real)
        features[name] = FeatureSet(arrays["features"], real.labels, real.patient_keys)
        if extractor.is_classifier:
            auc[name] = mean_auc(names, cohorts.is_single_label, real.labels, arrays["probability"])
    comparisons = []
    labels = list(enumerate(names)) if cohort.labels.shape[1] else []
    with tqdm(total=len(sets) * (1 + len(labels)), desc="distances", unit="set", leave=False) as progress:
        for name, real in features.items():
            training = None if name == TRAINING else features[TRAINING]
            comparison = {
                "role": "training" if training is None else "test",
                "set": ", ".join(cohorts.real.facts["splits"]) if training is None else name,
                "features": synthetic.rows.shape[1],
                **compare(synthetic, real, training, settings.images),
                "by_label": {},
                "by_group": {} if training is None else _by_group(synthetic, real, cohort, sets[name]),
            }
            progress.update()
            for column, label in labels:
                positive = [side.where(side.labels[:, column] == 1) for side in (synthetic, real)]
                if _is_enough(*positive):
                    comparison["by_label"][label] = compare(*positive)
                progress.update()
            comparisons.append(comparison)
    return comparisons, auc


def _by_group(synthetic: FeatureSet, real: FeatureSet, cohort: Cohort, patients: Cohort) -> dict[str, Any]:
    """Each group of patients against the synthetic images of that group or, where these have none, against all."""
    of_cohort = usable_groups(cohort.groups, cohort.patient_keys)
    found = {}
    for group, chosen in usable_groups(patients.groups, patients.patient_keys).items():
        made = synthetic.where(of_cohort[group]) if group in of_cohort else synthetic
        if _is_enough(made, of_group := real.where(chosen)):
            found[group] = compare(made, of_group)
    return found


def _is_enough(synthetic: FeatureSet, real: FeatureSet) -> bool:
    """Whether the images of one label or group allow a distance of their own."""
    return (
        min(len(synthetic.rows), len(real.rows)) >= MIN_TELLING_IMAGES
        and len(np.unique(real.patients)) >= MIN_PATIENTS
        and smallest_half(real.patients) >= MIN_HALF_IMAGES
    )


def _rank_notices(extractor: Extractor, found: Mapping[str, Any]) -> list[str]:
    features = found["comparisons"][0]["features"]
    fewest = min(comparison["floor"]["images"] for comparison in found["comparisons"])
    if fewest > features:
        return []
    return [
        f"some sides have as few as {fewest} images for {features} features of {extractor.words}, so a distance that "
        "depends on the number "
        "of images is mostly that of few images: compare it only with the floor of the same number"
    ]


DISTANCES = Protocol(
    name="distances",
    question="how far are synthetic images from real patients, beside the distance that real images have among "
    "themselves, in the eyes of each --extractor?",
    settings_class=DistanceSettings,
    run=run,
)
