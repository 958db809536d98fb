"""How fast latents of an exported generator are optimised, many at once and one at a time, by one classifier or more.

    python -m tfcxr.benchmark --measure=optimize --saved_model=saved_models/pggan \\
        --classifiers=saved_models/densenet,saved_models/discriminator

Classifiers optimise from the same starts, so that their shares of success and their steps can be compared (Segal et al.
2021 compare a DenseNet with a repurposed discriminator).
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfcxr.backbones.stored_classifier import StoredClassifier
from tfcxr.benchmarks.measurement import Measurement, MeasurementArguments
from tfcxr.sampling.cohort_labels import counted_labels
from tfcxr.sampling.latent_optimization import LatentObjective, LatentStart, OptimizationSettings, optimize_latents
from tfcxr.sampling.patient_optimizer import OptimizedCohortOptions, PatientOptimizer
from tfcxr.sampling.pseudo_patients import MOST
from tfcxr.serving.loaded_model import LoadedModel

ROUNDS = 2  # of both ways in turn, of which the fastest counts: the machine's load is the same for both


def measure_optimization(arguments: MeasurementArguments) -> dict[str, Any]:
    """Optimises `generate_batch_size` latents at once, and `repeats` of them one at a time.

    A step of a latent is one image with its classification and gradient. Labels with a threshold take turns as targets.

    Returns:
      batch_size, max_steps, and under "classifiers" for each: steps_per_second and latents_per_second at once,
      single_steps_per_second, ratio (of steps per second), success_rate, median_steps of latents that succeeded.

    Raises:
      ValueError: no generator or no classifier is given, or they do not fit each other.
    """
    if arguments.saved_model is None or not arguments.classifiers:
        raise ValueError(
            "--measure=optimize needs a generator and a classifier: --saved_model=FOLDER --classifiers=FOLDER,FOLDER"
        )
    model = LoadedModel(arguments.saved_model)
    settings = OptimizationSettings(batch_size=arguments.generate_batch_size)
    found = {path: _measure(model, path, settings, arguments.repeats) for path in arguments.classifiers}
    return {
        "saved_model": model.description.version_name,
        "batch_size": settings.batch_size,
        "max_steps": settings.max_steps,
        "classifiers": found,
    }


def describe_optimization(figures: dict[str, Any]) -> str:
    """A line per classifier."""
    lines = [
        f"latents of {figures['saved_model']}, {figures['batch_size']} at once; steps/s are of single latents",
        f"{'latents/s':>10}{'steps/s':>10}{'one by one':>12}{'ratio':>8}{'reached':>9}{'steps':>7}  classifier",
    ]
    for path, of_path in figures["classifiers"].items():
        rates = f"{of_path['latents_per_second']:>10.2f}{of_path['steps_per_second']:>10.1f}"
        single = f"{of_path['single_steps_per_second']:>12.1f}{of_path['ratio']:>8.1f}"
        success = f"{of_path['success_rate']:>9.0%}{of_path['median_steps']:>7g}"
        lines.append(f"{rates}{single}{success}  {path}")
    return "\n".join(lines)


def _measure(model: LoadedModel, path: str, settings: OptimizationSettings, repeats: int) -> dict[str, float]:
    classifier = StoredClassifier(path)
    targets = [name for name in classifier.label_names if classifier.thresholds[name] is not None]
    if not targets:
        raise ValueError(f"{classifier.path} has no threshold of any label, so there is nothing to optimise for")
    counts = dict.fromkeys(targets, MOST * -(-settings.batch_size // len(targets)))
    labels = counted_labels(counts, classifier.label_names, classifier.is_single_label, seed=0)
    optimizer = PatientOptimizer(model, classifier, labels, OptimizedCohortOptions())
    starts = [optimizer.start(patient, 1) for patient in optimizer.patients[: settings.batch_size]]
    one_by_one = OptimizationSettings(settings.learning_rate, settings.max_steps, batch_size=1)
    _timed(optimizer.objective, starts[:1], OptimizationSettings(max_steps=1, batch_size=1))  # traces
    at_once: dict[str, Any] = {}
    single: dict[str, Any] = {}
    for _ in range(ROUNDS):
        at_once = max(at_once, _timed(optimizer.objective, starts, settings), key=_rate)
        single = max(single, _timed(optimizer.objective, starts[:repeats], one_by_one), key=_rate)
    return {
        "steps_per_second": _rate(at_once),
        "latents_per_second": len(starts) / at_once["seconds"],
        "single_steps_per_second": _rate(single),
        "ratio": _rate(at_once) / _rate(single),
        "success_rate": at_once["success_rate"],
        "median_steps": at_once["median_steps"],
    }


def _timed(
    objective: LatentObjective, starts: Sequence[LatentStart], settings: OptimizationSettings
) -> dict[str, float]:
    waiting = iter(starts)
    begin = time.perf_counter()
    latents = list(optimize_latents(objective, lambda: next(waiting, None), settings))
    seconds = time.perf_counter() - begin
    reached = [latent.steps for latent in latents if latent.is_reached]
    return {
        "seconds": seconds,
        "evaluations": sum(len(latent.shortfalls) for latent in latents),
        "success_rate": len(reached) / len(latents),
        "median_steps": float(np.median(reached)) if reached else float("nan"),
    }


def _rate(timing: dict[str, float]) -> float:
    """Steps of single latents per second; 0 of no timing."""
    return timing["evaluations"] / timing["seconds"] if timing else 0.0


OPTIMIZE = Measurement(measure_optimization, describe_optimization)
