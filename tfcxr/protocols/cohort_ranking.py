"""Cohort ranking: which of several synthetic cohorts is nearest to real patients, and which differ at all.

One extractor, trained on real patients, describes every image. Each cohort is divided into equal independent draws, and
each draw has its distance from the same held-out real images; pairs of cohorts are compared by t-tests over their draws
(Chetty 2023). A draw's distance says what sampling from one generator does; that another training of the same settings
would give another generator, it cannot say.

Beside the distances stand diversity (MS-SSIM, so that a collapsed generator is seen) and the floor: real training
images, drawn alike, against the same held-out ones.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from absl import logging
from tqdm import tqdm

from tfcxr.data.atomic import write_atomically
from tfcxr.data.records import read_dataset_info
from tfcxr.metrics.diversity import mean_pairwise_ms_ssim, scales_of
from tfcxr.metrics.kernel_distance import MIN_ROWS
from tfcxr.metrics.pairwise_tests import pairwise_t_tests
from tfcxr.protocols.class_diversity import LEAST_DIVERSITY
from tfcxr.protocols.classifier import ClassifierConfig
from tfcxr.protocols.cohorts import Cohort, generator_leaks, load_cohort
from tfcxr.protocols.distance_measures import distances_of_draws
from tfcxr.protocols.feature_extractor import ready_extractor
from tfcxr.protocols.label_checks import check_labels, counts_of_splits
from tfcxr.protocols.report_data import plain_json

REPORT_FILE = "ranking.json"
DIVERSITY_PAIRS = 500
REAL = "real training images"  # the floor's name among the cohorts


@dataclasses.dataclass(frozen=True)
class RankingSettings:
    """What is ranked, and by whom.

    Attributes:
      cohorts: name -> data folder of a synthetic cohort.
      real_dir, train_split, test_split: real images of the kind that the generators learned from; distances are from
        `test_split`, the floor from `train_split`.
      extractor_data_dir: labelled real images that the extractor is trained on, its `extractor_splits`; none of its
        patients may be in `test_split`.
      extractor_dir: where trained extractors are kept. classifier, seed: what is trained.
      draws: equal parts that each cohort is divided into, two or more.
      out_dir: where ranking.json goes.
    """

    cohorts: Mapping[str, pathlib.Path]
    real_dir: pathlib.Path
    extractor_data_dir: pathlib.Path
    extractor_dir: pathlib.Path
    out_dir: pathlib.Path
    classifier: ClassifierConfig
    train_split: str = "train"
    test_split: str = "held_out"
    extractor_splits: tuple[str, ...] = ("train",)
    seed: int = 0
    draws: int = 10

    def __post_init__(self) -> None:
        if len(self.cohorts) < 2:
            raise ValueError(f"a ranking needs two cohorts or more, got {len(self.cohorts)}")
        if self.draws < 2:
            raise ValueError(f"a t-test needs two draws or more, got {self.draws}")


def run(settings: RankingSettings) -> dict[str, Any]:
    """Measures every cohort and writes `ranking.json`.

    Returns:
      its content: "table", a row a cohort, nearest first, with the floor; "tests", a row a pair and distance; N of a
      draw; the extractor's facts.

    Raises:
      FileNotFoundError: a folder or shard is missing.
      ValueError: real and synthetic data swapped, other image sizes, too few images, no label that the extractor could
        learn, or test patients that a generator or the extractor has seen.
    """
    seen, test, training = _load_real(settings)
    cohorts = {name: _load_synthetic(settings, name, folder, test) for name, folder in settings.cohorts.items()}
    of_draw = min(len(test.images), *(len(cohort.images) // settings.draws for cohort in cohorts.values()))
    if of_draw < MIN_ROWS:
        raise ValueError(
            f"{settings.draws} draws need {MIN_ROWS} images each or more, the smallest cohort or split "
            f"{settings.test_split!r} gives {of_draw}"
        )
    if len(training.images) < 2:
        raise ValueError(f"diversity needs two images, but split {settings.train_split!r} holds {len(training.images)}")
    scales_of(test.images.shape[1])  # refuses images too small for MS-SSIM
    info = read_dataset_info(settings.extractor_data_dir)
    extractor = ready_extractor(
        settings.extractor_dir,
        settings.classifier,
        settings.seed,
        seen,
        None,
        info.label_names,
        info.is_single_label,
    )
    real_features = extractor.features(test.images)
    distances, diversity, random = {}, {}, np.random.default_rng(settings.seed)
    for name, cohort in tqdm({**cohorts, REAL: training}.items(), desc="ranking", unit="cohort"):
        images = cohort.images.where(random.permutation(len(cohort.images)))
        draws = settings.draws if name != REAL else min(settings.draws, len(images) // of_draw)
        if draws >= 1:
            features = extractor.features(images.where(slice(draws * of_draw)))
            distances[name] = distances_of_draws(np.split(features, draws), real_features, settings.seed)
        diversity[name] = 1.0 - mean_pairwise_ms_ssim(images, pairs=DIVERSITY_PAIRS, resamples=1).mean
    rows = [
        {
            "cohort": name,
            **{
                f"{kind}_{statistic}": float(function(values))
                for kind, values in of_kinds.items()
                for statistic, function in (("mean", np.mean), ("deviation", _deviation))
            },
            "draws": len(of_kinds["frechet"]),
            "diversity_ratio": diversity[name] / diversity[REAL] if diversity[REAL] > LEAST_DIVERSITY else None,
        }
        for name, of_kinds in distances.items()
    ]
    report = plain_json(
        {
            "table": sorted(rows, key=lambda row: row["frechet_mean"]),
            "tests": {
                kind: [
                    dataclasses.asdict(test)
                    for test in pairwise_t_tests({name: distances[name][kind] for name in settings.cohorts})
                ]
                for kind in ("frechet", "kernel")
            },
            "notices": _notices(distances, diversity, of_draw),
            "images_a_draw": of_draw,
            "distances": {name: {kind: list(v) for kind, v in kinds.items()} for name, kinds in distances.items()},
            "extractor": extractor.facts,
            "cohorts": {name: cohort.passport for name, cohort in cohorts.items()},
            "real": {"test": test.passport, "training": training.passport},
        }
    )
    write_atomically(settings.out_dir / REPORT_FILE, json.dumps(report, indent=2, allow_nan=False) + "\n")
    return report


def table_text(report: dict[str, Any], kind: str = "frechet") -> str:
    """The ranking and its tests as two Markdown tables for people; `kind` is "frechet" or "kernel"."""
    lines = [
        f"{report['images_a_draw']} images a draw; mean and standard deviation over draws; diversity is 1 - MS-SSIM, "
        "real = 1.",
        *(f"{notice}." for notice in report["notices"]),
        "",
        "| cohort | Frechet distance | kernel distance | diversity |",
        "| --- | --- | --- | --- |",
    ]
    for row in report["table"]:
        deviations = [row[f"{name}_deviation"] for name in ("frechet", "kernel")]
        shown = ["" if np.isnan(value) else f" (sd {value:.2g})" for value in map(_number, deviations)]
        lines.append(
            f"| {row['cohort']} | {row['frechet_mean']:.3g}{shown[0]} | {row['kernel_mean']:.3g}{shown[1]} | "
            f"{'-' if row['diversity_ratio'] is None else format(row['diversity_ratio'], '.2f')} |"
        )
    names = [row["cohort"] for row in report["table"] if row["cohort"] != REAL]
    adjusted = {frozenset((test["first"], test["second"])): test for test in report["tests"][kind]}
    lines += [
        "",
        f"p of Welch's t-tests of the {kind} distance, adjusted by Holm for all pairs; * below .05:",
        "",
        f"| | {' | '.join(names)} |",
        f"| --- |{' --- |' * len(names)}",
    ]
    for first in names:
        cells = [
            "" if second == first else _p_text(adjusted[frozenset((first, second))]["adjusted_p"]) for second in names
        ]
        lines.append(f"| {first} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _notices(distances: Mapping[str, Any], diversity: Mapping[str, float], of_draw: int) -> list[str]:
    notices = []
    if REAL not in distances:
        notices.append(f"there is no floor: the {REAL} are fewer than the {of_draw} of a draw")
    if not diversity[REAL] > LEAST_DIVERSITY:
        notices.append(f"the {REAL} are all the same, so that diversity has no ratio to them")
    return notices


def _load_real(settings: RankingSettings) -> tuple[Cohort, Cohort, Cohort]:
    """The extractor's training patients, the test patients and the real training images."""
    real_info, extractor_info = read_dataset_info(settings.real_dir), read_dataset_info(settings.extractor_data_dir)
    for folder, info in ((settings.real_dir, real_info), (settings.extractor_data_dir, extractor_info)):
        if info.is_synthetic:
            raise ValueError(f"{folder} holds synthetic images ({info.name}), expected real patients")
    if extractor_info.image_size != real_info.image_size:
        raise ValueError(
            f"{settings.extractor_data_dir} holds images of {extractor_info.image_size} px, {settings.real_dir} of "
            f"{real_info.image_size} px; give one size"
        )
    if extractor_info.salt_fingerprint != real_info.salt_fingerprint:
        raise ValueError(
            f"{settings.extractor_data_dir} and {settings.real_dir} were built with different salts, so their "
            "patients cannot be compared; build both with one salt"
        )
    names, splits = extractor_info.label_names, settings.extractor_splits
    where = f"split {','.join(splits)} of {settings.extractor_data_dir}"
    check_labels(where, counts_of_splits(extractor_info, splits, names), extractor_info.is_single_label, "learned")
    seen = load_cohort(settings.extractor_data_dir, extractor_info, splits, names)
    test = load_cohort(settings.real_dir, real_info, [settings.test_split], ())
    if shared := int(np.isin(np.unique(test.patient_keys), seen.patient_keys).sum()):
        raise ValueError(
            f"{shared} patients of split {settings.test_split!r} in {settings.real_dir} are in the extractor's "
            f"training data {settings.extractor_data_dir}; build both with --split_by=hash"
        )
    return seen, test, load_cohort(settings.real_dir, real_info, [settings.train_split], ())


def _load_synthetic(settings: RankingSettings, name: str, folder: pathlib.Path, test: Cohort) -> Cohort:
    info, real_info = read_dataset_info(folder), read_dataset_info(settings.real_dir)
    if not info.is_synthetic:
        raise ValueError(f"cohort {name} in {folder} holds real images ({info.name}), expected generated ones")
    if info.image_size != real_info.image_size:
        raise ValueError(
            f"cohort {name} in {folder} holds images of {info.image_size} px, {settings.real_dir} of "
            f"{real_info.image_size} px; give one size"
        )
    if leaks := generator_leaks(folder, info, {settings.test_split: test}, real_info):
        raise ValueError(f"{name}: {leaks[0]}")
    logging.info("%s: %s", name, folder)
    return load_cohort(folder, info, tuple(info.splits), ())


def _deviation(values: np.ndarray) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _p_text(p: float) -> str:
    return f"{p:.3f}{'*' if p < 0.05 else ''}" if p >= 0.001 else "<.001*"
