"""Synthetic-train/real-test: does a classifier learn from synthetic images what it learns from real ones?

For each seed one classifier is trained on N synthetic images, one on N images of real training patients and one on
both together (2N), and each is tested on real patients whom nobody has seen. The ratio of the synthetic to the real
AUC is the score (Singh, Lala, Macwan, Chaurasia 2023; Segal, Rubin, Rubin, Pantanowitz 2021, section "downstream").

Differs from the papers: a real-trained classifier with as many images stands beside the synthetic-trained one;
patients are kept apart; intervals resample patients; and diversity within each class is reported, because a generator
that has collapsed to one picture a class can still teach a classifier a good deal, which this score alone hides.

Each finished training is kept in `out_dir/arms`, so a killed evaluation goes on where it stopped.
"""

import dataclasses
import hashlib
import io
import json
import math
import pathlib
import time
from typing import Any

import numpy as np
from absl import logging

from tfcxr.config import to_plain
from tfcxr.data.atomic import remove_temporary_files, write_atomically
from tfcxr.metrics.classification import patient_resamples
from tfcxr.metrics.diversity import scales_of
from tfcxr.protocols.arms import arm_images, check_kept_back
from tfcxr.protocols.class_diversity import diversity_notices, diversity_rows, feature_distances
from tfcxr.protocols.classifier import predict, train_classifier
from tfcxr.protocols.cohorts import Comparison, load_comparison
from tfcxr.protocols.report import ReportPictures, render_html
from tfcxr.protocols.report_data import plain_json, software_versions
from tfcxr.protocols.scores import ArmScores, ratio_summary, score_arm, score_text, youden_thresholds
from tfcxr.protocols.settings import EvaluationSettings

PROTOCOL = "synthetic_train_real_test"
PROTOCOL_VERSION = 1  # raise it when a change makes kept trainings wrong
BOOTSTRAP_SEED = 0
WEAK_AUC = 0.7  # a judge that learns less than this from real images says little about synthetic ones
REPORT_FILE = "report.json"
HTML_FILE = "report.html"


def run(settings: EvaluationSettings) -> dict[str, Any]:
    """Trains what is not trained yet, tests it and writes `report.json` and `report.html`.

    Returns:
      the content of `report.json`.

    Raises:
      FileNotFoundError, ValueError: what `load_comparison` and `train_classifier` refuse, or a report that is there.
    """
    started = time.monotonic()
    out_dir = pathlib.Path(settings.out_dir)
    if (out_dir / REPORT_FILE).exists() and not settings.overwrite:
        raise ValueError(f"{out_dir} already holds a report; choose another --out_dir or set --overwrite")
    comparison = load_comparison(settings)
    scales_of(comparison.real.images.shape[1])  # refuses images too small for MS-SSIM
    kept_back = check_kept_back(settings, comparison)
    comparison = dataclasses.replace(comparison, notices=(*comparison.notices, *kept_back))
    for sentence in comparison.shared_patients:
        logging.warning("NOT patient-disjoint: %s.", sentence)
    for sentence in comparison.notices:
        logging.warning("%s.", sentence)
    (out_dir / "arms").mkdir(parents=True, exist_ok=True)
    remove_temporary_files(out_dir / "arms")
    trainings: dict[str, list[dict[str, Any]]] = {arm: [] for arm in settings.arms}
    total = len(settings.arms) * len(settings.classifier_seeds)
    for seed in settings.classifier_seeds:
        for arm in settings.arms:
            number = 1 + sum(len(finished) for finished in trainings.values())
            trainings[arm].append(_finished_training(settings, comparison, arm, seed, f"{number} of {total}"))
    scores = _scores(settings, comparison, trainings)
    report = _report(settings, comparison, trainings, scores)
    report["seconds"] = {
        "training": sum(item["seconds"] for finished in trainings.values() for item in finished),
        "this_run": time.monotonic() - started,
    }
    pictures = ReportPictures(
        synthetic=comparison.synthetic.images,
        synthetic_labels=comparison.synthetic.labels,
        real=comparison.real.images,
        real_labels=comparison.real.labels,
        test_labels={split: test.labels for split, test in comparison.tests.items()},
        probabilities={
            arm: {split: [item["arrays"][f"test/{split}"] for item in finished] for split in comparison.tests}
            for arm, finished in trainings.items()
        },
    )
    plain = plain_json(report)
    write_atomically(out_dir / HTML_FILE, render_html(plain, pictures))
    write_atomically(out_dir / REPORT_FILE, json.dumps(plain, indent=2, allow_nan=False) + "\n")
    return plain


def _finished_training(
    settings: EvaluationSettings, comparison: Comparison, arm: str, seed: int, number: str
) -> dict[str, Any]:
    """One training's curves, thresholds and predictions, from `out_dir/arms` where they are kept, else made now."""
    cohorts = {
        "synthetic": comparison.synthetic.passport,
        "real": comparison.real.passport,
        "validation": comparison.validation.passport if comparison.validation else None,
        **{f"test/{split}": test.passport for split, test in comparison.tests.items()},
    }
    depends_on = {
        "version": PROTOCOL_VERSION,
        "arm": arm,
        "seed": seed,
        "classifier": to_plain(settings.classifier),
        "cohorts": {
            name: passport and {key: passport[key] for key in ("sha256", "splits", "label_names", "images")}
            for name, passport in cohorts.items()
        },
        "software": software_versions(),
    }
    key = hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()
    facts_path = pathlib.Path(settings.out_dir) / "arms" / f"{arm}-seed{seed}.json"
    arrays_path = facts_path.with_suffix(".npz")
    if facts_path.is_file() and arrays_path.is_file():
        facts = json.loads(facts_path.read_text(encoding="utf-8"))
        if facts["key"] == key:
            logging.info("%s: %s, seed %d is taken from %s", number, arm, seed, facts_path)
            with np.load(arrays_path) as arrays:
                return {**facts, "arrays": dict(arrays)}
        logging.info("%s was made from other data or settings and is made again", facts_path)
    facts, arrays = _train(settings, comparison, arm, seed, number)
    facts = plain_json({"key": key, **facts})
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    facts_path.unlink(missing_ok=True)  # never old facts beside new arrays
    write_atomically(arrays_path, buffer.getvalue())
    write_atomically(facts_path, json.dumps(facts, indent=2, allow_nan=False) + "\n")
    return {**facts, "arrays": arrays}


def _train(
    settings: EvaluationSettings, comparison: Comparison, arm: str, seed: int, number: str
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    (images, labels), (validation_images, validation_labels) = arm_images(settings, comparison, arm, seed)
    logging.info("%s: training on %d images (%s), seed %d", number, len(images), arm, seed)
    classifier = train_classifier(
        settings.classifier,
        images,
        labels,
        validation_images,
        validation_labels,
        comparison.is_single_label,
        seed,
        description=f"{number}: {arm}, seed {seed}",
    )
    probability, _ = predict(classifier, validation_images)
    facts = {
        "arm": arm,
        "seed": seed,
        "training_images": len(images),
        "validation_images": len(validation_images),
        "curves": classifier.curves,
        "best_epoch": classifier.best_epoch,
        "seconds": classifier.seconds,
        "images_per_second": len(images) * len(classifier.curves["loss"]) / classifier.seconds,
        "thresholds": youden_thresholds(validation_labels, probability, comparison.is_single_label),
        "feature_distances": feature_distances(comparison, classifier) if arm == "real" else None,
    }
    arrays = {f"test/{split}": predict(classifier, test.images)[0] for split, test in comparison.tests.items()}
    return facts, arrays


def _scores(
    settings: EvaluationSettings, comparison: Comparison, trainings: dict[str, list[dict[str, Any]]]
) -> dict[str, dict[str, ArmScores]]:
    """Scores by test split and arm; the arms of one split share their resampled patients."""
    scores: dict[str, dict[str, ArmScores]] = {}
    for split, test in comparison.tests.items():
        logging.info("resampling the patients of %s %d times", split, settings.bootstrap_resamples)
        resamples = patient_resamples(test.patient_keys, settings.bootstrap_resamples, BOOTSTRAP_SEED)
        scores[split] = {
            arm: score_arm(
                comparison.label_names,
                comparison.is_single_label,
                test.labels,
                [item["arrays"][f"test/{split}"] for item in finished],
                [item["thresholds"] for item in finished],
                resamples,
            )
            for arm, finished in trainings.items()
        }
    return scores


def _report(
    settings: EvaluationSettings,
    comparison: Comparison,
    trainings: dict[str, list[dict[str, Any]]],
    scores: dict[str, dict[str, ArmScores]],
) -> dict[str, Any]:
    tests = {}
    for split, by_arm in scores.items():
        tests[split] = {
            **comparison.tests[split].passport,
            "arms": {arm: arm_scores.summary for arm, arm_scores in by_arm.items()},
            "auc_ratio_to_real": {
                arm: ratio_summary(by_arm[arm], by_arm["real"]) for arm in by_arm if arm != "real" and "real" in by_arm
            },
        }
    distances = [item["feature_distances"] for item in trainings.get("real", [])]
    diversity = diversity_rows(comparison, distances, settings.diversity_pairs)
    notices = [*comparison.notices, *diversity_notices(diversity)]
    return {
        "protocol": PROTOCOL,
        "protocol_version": PROTOCOL_VERSION,
        "verdict": _verdict(settings, tests, diversity),
        "is_patient_disjoint": not comparison.shared_patients,
        "shared_patients": comparison.shared_patients,
        "notices": notices,
        "label_names": comparison.label_names,
        "is_single_label": comparison.is_single_label,
        "images_a_side": len(comparison.real.images),
        "tests": tests,
        "diversity": diversity,
        "trainings": [
            {name: value for name, value in item.items() if name not in ("arrays", "key", "feature_distances")}
            for finished in trainings.values()
            for item in finished
        ],
        "passport": {
            "classifier": to_plain(settings.classifier),
            "classifier_seeds": settings.classifier_seeds,
            "cohorts": {
                "synthetic": comparison.synthetic.passport,
                "real": comparison.real.passport,
                "validation": comparison.validation.passport if comparison.validation else None,
            },
            "bootstrap": {"unit": "patient", "resamples": settings.bootstrap_resamples, "seed": BOOTSTRAP_SEED},
            "software": software_versions(),
        },
    }


def _verdict(settings: EvaluationSettings, tests: dict[str, Any], diversity: list[dict[str, Any]]) -> list[str]:
    """One sentence a test set, and one on diversity."""
    sentences = []
    for split, test in tests.items():
        arms = test["arms"]
        if "synthetic" in arms and "real" in arms:
            ratio = test["auc_ratio_to_real"]["synthetic"]
            sentences.append(
                f"On real patients of {split}, {settings.classifier.architecture} trained on synthetic images reaches "
                f"AUC {score_text(arms['synthetic']['auc'])}, trained on as many real ones "
                f"{score_text(arms['real']['auc'])}: {_ratio_text(ratio)}."
            )
        else:
            scores = ", ".join(f"{arm} {score_text(summary['auc'])}" for arm, summary in arms.items())
            sentences.append(f"On real patients of {split}, {settings.classifier.architecture} reaches AUC: {scores}.")
        if "real" in arms and arms["real"]["auc"]["mean"] < WEAK_AUC:
            sentences.append(
                f"The classifier trained on real images is itself weak on {split}, so the comparison says little: "
                "give it more images, more epochs (patience, max_epochs) or another learning_rate."
            )
    ratios = [row["diversity_ratio"] for row in diversity if row["diversity_ratio"] is not None]
    if ratios:
        lowest = min(ratios)
        sentences.append(
            f"Within a class, synthetic images differ from each other {lowest:.2f} times as much as real ones "
            f"(1 - MS-SSIM, the least diverse class){': the generator has collapsed' if lowest < 0.5 else ''}."
        )
    return sentences


def _ratio_text(ratio: dict[str, Any]) -> str:
    return f"a ratio of {score_text(ratio)}" if math.isfinite(ratio["mean"]) else "there is no ratio to an AUC of 0"
