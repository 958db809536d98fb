"""Distribution distance: how far are synthetic images from real patients, in the eyes of a classifier of real ones?

A classifier is trained once on the real training split; its pooled features of N synthetic and of N real images are
compared by the Frechet distance (Heusel et al. 2017) and the kernel distance (Binkowski et al. 2018): against each
test split, and against the training split, which the generator was to imitate. Beside every distance stands the floor,
two patient-disjoint halves of the same real images against each other, and what real training images score.

The Frechet distance falls with N, so only distances of one N are compared: where halves of a split hold fewer than N
images, the synthetic score is given once more at the halves' size. Features have the scale of one extractor, so
distances of other weights are not comparable, nor are published ones.

Differs from Segal, Rubin, Rubin, Pantanowitz 2021, and Chetty 2023: the extractor starts from random weights and sees
grey images in their own size, no resize between.
"""

import dataclasses
import json
import math
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import logging
from tqdm import tqdm

from tfcxr.data.atomic import remove_temporary_files, write_atomically
from tfcxr.data.schema import DatasetInfo
from tfcxr.metrics.classification import roc_auc
from tfcxr.protocols.cohorts import (
    Cohort,
    check_alike,
    check_kinds,
    generator_leaks,
    load_cohort,
    prevalence_notices,
    read_infos,
    training_leaks,
)
from tfcxr.protocols.distance_measures import (
    FLOOR_DRAWS,
    KERNEL_SUBSET_SIZE,
    KERNEL_SUBSETS,
    MIN_HALF_IMAGES,
    MIN_IMAGES,
    MIN_PATIENTS,
    SEED,
    FeatureSet,
    compare,
    smallest_half,
)
from tfcxr.protocols.distance_report import render_html
from tfcxr.protocols.feature_extractor import FeatureExtractor, ready_extractor
from tfcxr.protocols.label_checks import (
    check_labels,
    check_validation,
    counts_of_splits,
    name_of_test_split,
    tell_labels,
)
from tfcxr.protocols.report_data import plain_json, software_versions
from tfcxr.protocols.scores import score_labels
from tfcxr.protocols.settings import EvaluationSettings

PROTOCOL = "distribution_distance"
PROTOCOL_VERSION = 1
REPORT_FILE = "distances.json"
HTML_FILE = "distances.html"
EXTRACTOR_FOLDER = "extractor"
TRAINING = "training images"  # beside names of test splits, so no name that a split would have
MIN_CLASS_IMAGES = 50  # for a distance of one label's images
WEAK_AUC = 0.7  # features of a classifier that learned less say little


@dataclasses.dataclass(frozen=True)
class _Sides:
    """What is compared: the cohort, the training patients and the test patients, all checked."""

    synthetic: Cohort
    real: Cohort
    validation: Cohort | None
    tests: dict[str, Cohort]
    label_names: tuple[str, ...]
    is_single_label: bool
    has_synthetic_labels: bool
    shared_patients: tuple[str, ...]
    notices: tuple[str, ...]


def run(settings: EvaluationSettings) -> dict[str, Any]:
    """Trains the extractor unless it is kept, measures, and writes `distances.json` and `distances.html`.

    Returns:
      the content of `distances.json`.

    Raises:
      FileNotFoundError: a folder or shard is missing.
      ValueError: a report is there; data that `load_comparison` refuses too, only that a cohort may have no labels;
        real data without labels; too few images or patients; or what `train_classifier` refuses.
    """
    started = time.monotonic()
    out_dir = pathlib.Path(settings.out_dir)
    if (out_dir / REPORT_FILE).exists() and not settings.overwrite:
        raise ValueError(f"{out_dir} already holds {REPORT_FILE}; choose another --out_dir or set --overwrite")
    sides = _load_sides(settings)
    for sentence in sides.shared_patients:
        logging.warning("NOT patient-disjoint: %s.", sentence)
    for sentence in sides.notices:
        logging.warning("%s.", sentence)
    out_dir.mkdir(parents=True, exist_ok=True)
    remove_temporary_files(out_dir)
    extractor = ready_extractor(
        settings.extractor_dir or out_dir / EXTRACTOR_FOLDER,
        settings.classifier,
        settings.classifier_seeds[0],
        sides.real,
        sides.validation,
        sides.label_names,
        sides.is_single_label,
    )
    report = plain_json(_report(settings, sides, extractor))
    report["seconds"] = {"extractor_training": extractor.facts["seconds"], "this_run": time.monotonic() - started}
    cohorts = {"synthetic images": sides.synthetic, TRAINING: sides.real, **sides.tests}
    pictures = {name: cohort.images for name, cohort in cohorts.items()}
    write_atomically(out_dir / HTML_FILE, render_html(report, pictures))
    write_atomically(out_dir / REPORT_FILE, json.dumps(report, indent=2, allow_nan=False) + "\n")
    return report


def _load_sides(settings: EvaluationSettings) -> _Sides:
    test_dir = settings.test_dir or settings.real_dir
    real_info, synthetic_info, test_info = read_infos(settings)
    check_kinds(settings, real_info, synthetic_info, test_info)
    names = real_info.label_names
    if not names:
        raise ValueError(f"--real_dir={settings.real_dir} has no labels to train a feature extractor on")
    has_labels = bool(synthetic_info.label_names)
    labelled = {} if has_labels else {"label_names": names, "is_single_label": real_info.is_single_label}
    check_alike(settings.real_dir, real_info, settings.synthetic_dir, dataclasses.replace(synthetic_info, **labelled))
    check_alike(settings.real_dir, real_info, test_dir, test_info)
    splits = settings.synthetic_splits or tuple(synthetic_info.splits)
    label_notices = _check_labels(settings, real_info, test_info)
    synthetic = load_cohort(settings.synthetic_dir, synthetic_info, splits, names if has_labels else ())
    real = load_cohort(settings.real_dir, real_info, settings.train_splits, names)
    validation = (
        load_cohort(settings.real_dir, real_info, settings.validation_splits, names)
        if settings.validation_splits
        else None
    )
    tests = {split: load_cohort(test_dir, test_info, [split], names) for split in settings.test_splits}
    _check_images(settings, synthetic, {TRAINING: real, **tests})
    shared = training_leaks(real, validation, tests, real_info, test_info)
    shared += generator_leaks(settings.synthetic_dir, synthetic_info, tests, test_info)
    if shared and not settings.allow_shared_patients:
        raise ValueError(f"{shared[0]}; choose other splits, or set --allow_shared_patients, which marks the report")
    said = [f"{info.name}: {info.notice}" for info in (real_info, synthetic_info, test_info) if info.notice]
    notices = [*dict.fromkeys(said), *label_notices]
    notices += prevalence_notices(names, synthetic, real) if has_labels else []
    return _Sides(
        synthetic, real, validation, tests, names, real_info.is_single_label, has_labels, tuple(shared), tuple(notices)
    )


def _check_labels(settings: EvaluationSettings, real_info: DatasetInfo, test_info: DatasetInfo) -> list[str]:
    """What labels the extractor cannot learn, or cannot be judged by.

    Raises:
      ValueError: training or validation splits without a usable label.
    """
    names, is_single_label = real_info.label_names, real_info.is_single_label
    where = f"--train_split={','.join(settings.train_splits)} of {settings.real_dir}"
    counts = counts_of_splits(real_info, settings.train_splits, names)
    notices = check_labels(where, counts, is_single_label, "learned") + check_validation(settings, real_info)
    for split in settings.test_splits:
        counts = counts_of_splits(test_info, [split], names)
        notices += tell_labels(name_of_test_split(settings, split), counts, is_single_label, "tested")
    return notices


def _check_images(settings: EvaluationSettings, synthetic: Cohort, real_sets: dict[str, Cohort]) -> None:
    if 0 < settings.distance_images < MIN_IMAGES:
        raise ValueError(f"--distance_images must be 0, or {MIN_IMAGES} or more, got {settings.distance_images}")
    for name, cohort in {"the cohort": synthetic, **real_sets}.items():
        count, patients = len(cohort.images), len(np.unique(cohort.patient_keys))
        where = f"{cohort.passport['folder']} ({', '.join(cohort.passport['splits'])})"
        if count < settings.distance_images:
            raise ValueError(
                f"--distance_images={settings.distance_images} were asked for on each side, but {where} holds {count}"
            )
        if count < MIN_IMAGES or (name in real_sets and patients < MIN_PATIENTS):
            of_patients = f" of {MIN_PATIENTS} patients" if name in real_sets else ""
            got = f"{count} of {patients}" if name in real_sets else f"{count}"
            raise ValueError(f"a distance needs {MIN_IMAGES} images{of_patients} or more, but {where} holds {got}")
        if name in real_sets and (fewest := smallest_half(cohort.patient_keys)) < MIN_HALF_IMAGES:
            raise ValueError(
                f"the floor needs halves of {MIN_HALF_IMAGES} images that share no patient, but {where} has halves of "
                f"{fewest}: few patients have most of its {count} images"
            )


def _report(settings: EvaluationSettings, sides: _Sides, extractor: FeatureExtractor) -> dict[str, Any]:
    synthetic = FeatureSet(extractor.features(sides.synthetic.images), sides.synthetic.labels)
    auc: dict[str, float] = {}
    features: dict[str, FeatureSet] = {}
    for name, cohort in {TRAINING: sides.real, **sides.tests}.items():
        probability, rows = extractor.probabilities_and_features(cohort.images)
        features[name] = FeatureSet(rows, cohort.labels, cohort.patient_keys)
        auc[name] = _mean_auc(sides, cohort.labels, probability)
    comparisons = []
    labels = list(enumerate(sides.label_names)) if sides.has_synthetic_labels else []
    with tqdm(total=len(features) * (1 + len(labels)), desc="distances", unit="set", leave=False) as progress:
        for (name, real), cohort in zip(features.items(), (sides.real, *sides.tests.values()), strict=True):
            training = None if name == TRAINING else features[TRAINING]
            comparison = {
                "role": "training" if training is None else "test",
                "set": ", ".join(cohort.passport["splits"]),
                **compare(synthetic, real, training, settings.distance_images),
                "by_label": {},
            }
            progress.update()
            for column, label in labels:
                positive = [side.where(side.labels[:, column] == 1) for side in (synthetic, real)]
                if _is_enough(*positive):
                    comparison["by_label"][label] = compare(*positive)
                progress.update()
            comparisons.append(comparison)
    return {
        "protocol": PROTOCOL,
        "protocol_version": PROTOCOL_VERSION,
        "verdict": _verdict(settings, comparisons, auc),
        "is_patient_disjoint": not sides.shared_patients,
        "shared_patients": sides.shared_patients,
        "notices": [*sides.notices, *_rank_notices(comparisons, synthetic.rows.shape[1])],
        "label_names": sides.label_names,
        "has_synthetic_labels": sides.has_synthetic_labels,
        "comparisons": comparisons,
        "extractor": {**extractor.facts, "auc": auc, "input": "stored pixels scaled to [-1, 1], grey, no resize"},
        "passport": {
            "cohorts": {
                "synthetic": sides.synthetic.passport,
                "training": sides.real.passport,
                "validation": sides.validation.passport if sides.validation else None,
                **{f"test: {split}": test.passport for split, test in sides.tests.items()},
            },
            "kernel": {"subsets": KERNEL_SUBSETS, "largest_subset": KERNEL_SUBSET_SIZE},
            "floor_draws": FLOOR_DRAWS,
            "seed": SEED,
            "software": software_versions(),
        },
    }


def _is_enough(synthetic: FeatureSet, real: FeatureSet) -> bool:
    """Whether the images of one label allow a distance of their own."""
    return (
        min(len(synthetic.rows), len(real.rows)) >= MIN_CLASS_IMAGES
        and len(np.unique(real.patients)) >= MIN_PATIENTS
        and smallest_half(real.patients) >= MIN_HALF_IMAGES
    )


def _mean_auc(sides: _Sides, labels: np.ndarray, probability: np.ndarray) -> float:
    """The extractor's AUC as a classifier, mean over labels that have positives and negatives; NaN where none has."""
    values = []
    for column in score_labels(sides.label_names, sides.is_single_label):
        known = ~np.isnan(labels[:, column])
        values.append(float(roc_auc(labels[known, column] == 1, probability[known, column])[0]))
    values = [value for value in values if np.isfinite(value)]
    return float(np.mean(values)) if values else float("nan")


def _rank_notices(comparisons: Sequence[dict[str, Any]], features: int) -> list[str]:
    fewest = min(comparison["floor"]["images"] for comparison in comparisons)
    if fewest > features:
        return []
    return [
        f"some sides have as few as {fewest} images for {features} features, so the Frechet distance is mostly that of "
        "few images: hold it only against the floor of the same number, and read the kernel distance"
    ]


def _verdict(settings: EvaluationSettings, comparisons: Sequence[dict[str, Any]], auc: dict[str, float]) -> list[str]:
    """Two sentences for each set, and a warning of a weak extractor."""
    sentences = []
    for comparison in sorted(comparisons, key=lambda item: item["role"] == "training"):
        score, floor, matched = (comparison[name] for name in ("score", "floor", "at_floor_size"))
        whom = f"real patients of {comparison['set']}" if comparison["role"] == "test" else "the real training images"
        training = comparison["real_training_images"]
        beside = (
            f", as many real training images at {_said(training['frechet'])} and {_said(training['kernel'])}"
            if training
            else ""
        )
        is_above = all(matched[name]["interval"][0] > floor[name]["interval"][1] for name in ("frechet", "kernel"))
        if is_above:
            conclusion = "the extractor tells synthetic images from real ones"
        elif comparison["role"] == "training" and matched["frechet"]["interval"][1] < floor["frechet"]["interval"][0]:
            conclusion = "they are nearer to the training images than real patients are to each other, as copies are"
        else:
            conclusion = "the intervals leave open whether synthetic images differ from real ones"
        times = "this floor has no Frechet distance to divide by"
        if floor["frechet"]["mean"] > 0:
            times = f"{matched['frechet']['mean'] / floor['frechet']['mean']:.3g} times this floor (Frechet)"
        sentences += [
            f"{score['images']} synthetic images are at Frechet distance {_said(score['frechet'])} and kernel distance "
            f"{_said(score['kernel'])} from {whom}{beside}.",
            f"At {floor['images']} images a side they are at {_said(matched['frechet'])} and "
            f"{_said(matched['kernel'])}, and two halves of these real patients at {_said(floor['frechet'])} and "
            f"{_said(floor['kernel'])}: {times}, so {conclusion}.",
        ]
    if unknown := [name for name, value in auc.items() if math.isnan(value)]:
        sentences.append(
            f"How well the extractor knows the labels of {', '.join(unknown)} cannot be told: no label is known to be "
            "in some of the images and not in others."
        )
    weak = {name: value for name, value in auc.items() if value < WEAK_AUC}
    if weak:
        named = ", ".join(f"{value:.3f} on {name}" for name, value in weak.items())
        sentences.append(
            f"The extractor is itself weak (AUC {named}), so its features say little: give "
            f"{settings.classifier.architecture} more images, more epochs or another learning_rate."
        )
    return sentences


def _said(summary: dict[str, Any]) -> str:
    low, high = summary["interval"]
    return f"{summary['mean']:.3g} ({low:.3g} to {high:.3g})"
