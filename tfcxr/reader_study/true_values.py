"""What the simulated readers' answers estimate: the true rates over all readers and images of the model.

A normal variable added inside a probit widens it: E[Phi(a + b z)] = Phi(a / sqrt(1 + b^2)) for z ~ N(0, 1) (Zeger,
Liang & Albert 1988), so rates need no integration. The AUC of the ten grades is integrated over readers by
Gauss-Hermite quadrature.
"""

from collections.abc import Mapping
from math import sqrt

import numpy as np
from scipy.special import ndtr

from tfcxr.reader_study.design_file import Design, ImageOrigin
from tfcxr.reader_study.reader_model import CONFIDENCE_CUTS, Skill

QUADRATURE_POINTS = 64


def true_values(design: Design, key: Mapping[str, ImageOrigin], skill: Skill) -> dict[str, float]:
    """Population values of what a study measures, as shares from 0 to 1, over its items that count.

    Returns:
      Those that the study has of: "real_called_real", "synthetic_called_synthetic" and "synthetic_called_real" (rates
      over images in grids and alone), "correct" (over the same), "error_rate" (1 - correct), "balanced_error_rate"
      (mean over real and synthetic images), "pairs_right", and "auc" (of the confidence in single images).

    Raises:
      ValueError: exposures follow the answers, so no rate is fixed beforehand.
    """
    correct: dict[bool, list[float]] = {False: [], True: []}
    pairs, exposures = [], set()
    for item in design.items.values():
        if item.is_training or item.repeat_of:
            continue
        if item.is_staircase:
            raise ValueError("a staircase has no true rate to cover; simulate a study with fixed exposures or none")
        evidence = skill.evidence(item.exposure_seconds)
        if item.kind == "pair":
            pairs.append(_pair_rate(skill, evidence))
            continue
        for image in item.images:
            is_synthetic = key[image].is_synthetic
            correct[is_synthetic].append(_image_rate(skill, evidence, is_synthetic))
        if item.kind == "single":
            exposures.add(evidence)
    values = {"pairs_right": float(np.mean(pairs))} if pairs else {}
    if correct[False]:
        values["real_called_real"] = float(np.mean(correct[False]))
    if correct[True]:
        values["synthetic_called_synthetic"] = float(np.mean(correct[True]))
        values["synthetic_called_real"] = 1 - values["synthetic_called_synthetic"]
    if correct[False] and correct[True]:
        values["correct"] = float(np.mean(correct[False] + correct[True]))
        values["error_rate"] = 1 - values["correct"]
        balanced = (values["real_called_real"] + values["synthetic_called_synthetic"]) / 2
        values["balanced_error_rate"] = 1 - balanced
    if len(exposures) == 1:
        values["auc"] = _auc(skill, exposures.pop())
    return values


def _image_rate(skill: Skill, evidence: float, is_synthetic: bool) -> float:
    distance = evidence * skill.mean / 2 + (-skill.bias if is_synthetic else skill.bias)
    return float(ndtr(distance / sqrt(1 + (evidence * skill.reader_spread / 2) ** 2 + skill.case_spread**2)))


def _pair_rate(skill: Skill, evidence: float) -> float:
    """Two looks and two images differ by a normal variable of twice the variance of each."""
    return float(
        ndtr(evidence * skill.mean / sqrt(2 + 2 * skill.case_spread**2 + (evidence * skill.reader_spread) ** 2))
    )


def _auc(skill: Skill, evidence: float) -> float:
    """Mean over readers of P(grade of a synthetic image > of a real one) + P(equal) / 2."""
    points, weights = np.polynomial.hermite_e.hermegauss(QUADRATURE_POINTS)
    half = evidence * (skill.mean + skill.reader_spread * points) / 2  # [reader]
    cuts = np.array([*(-cut for cut in reversed(CONFIDENCE_CUTS)), 0, *CONFIDENCE_CUTS]) + skill.bias
    below = {}
    for sign in (-1, 1):
        inner = ndtr((cuts - sign * half[:, None]) / sqrt(1 + skill.case_spread**2))
        below[sign] = np.pad(inner, ((0, 0), (1, 1)), constant_values=((0, 0), (0, 1)))  # [reader, 11]
    grades = {sign: np.diff(edges) for sign, edges in below.items()}  # [reader, 10]
    areas = (grades[1] * (below[-1][:, :-1] + grades[-1] / 2)).sum(axis=1)
    return float(areas @ weights / weights.sum())
