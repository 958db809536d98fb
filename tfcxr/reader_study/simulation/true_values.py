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
from tfcxr.reader_study.simulation.reader_model import CONFIDENCE_CUTS, ReaderSkill

QUADRATURE_POINTS = 64
VALUES = (
    "real_called_real",
    "real_called_synthetic",
    "synthetic_called_synthetic",
    "synthetic_called_real",
    "error_share",
    "hype_infinity",
    "pairs_right",
    "auc",
)


def true_values(design: Design, key: Mapping[str, ImageOrigin], skill: ReaderSkill) -> dict[str, float]:
    """Population values of what a study measures, as shares from 0 to 1.

    As in the analyses, training examples and repeats do not count, and timed items only where there are no others.
    Staircases have none: their exposures follow the answers.

    Returns:
      Those that the study has of: "real_called_real", "real_called_synthetic", "synthetic_called_synthetic" and
      "synthetic_called_real" (over images in grids and alone), "error_share" (wrong answers over the same),
      "hype_infinity" (mean of the error rates on real and on synthetic images), "pairs_right", and "auc" (of the
      confidence in single images of one exposure).
    """
    items = [item for item in design.items.values() if not (item.is_training or item.repeat_of or item.is_staircase)]
    counted = [item for item in items if item.exposure_seconds is None] or items
    correct: dict[bool, list[float]] = {False: [], True: []}
    for item in counted:
        for image in item.images if item.kind != "pair" else ():
            is_synthetic = key[image].is_synthetic
            correct[is_synthetic].append(_image_rate(skill, skill.evidence(item.exposure_seconds), is_synthetic))
    pairs = [_pair_rate(skill, skill.evidence(item.exposure_seconds)) for item in counted if item.kind == "pair"]

    values = {"pairs_right": float(np.mean(pairs))} if pairs else {}
    for is_synthetic, right, wrong in ((False, "real", "synthetic"), (True, "synthetic", "real")):
        if correct[is_synthetic]:
            values[f"{right}_called_{right}"] = float(np.mean(correct[is_synthetic]))
            values[f"{right}_called_{wrong}"] = 1 - values[f"{right}_called_{right}"]
    if correct[False] and correct[True]:
        values["error_share"] = 1 - float(np.mean(correct[False] + correct[True]))
        values["hype_infinity"] = (values["real_called_synthetic"] + values["synthetic_called_real"]) / 2
    singles = [item for item in items if item.kind == "single"]
    exposures = {item.exposure_seconds for item in singles}
    if len(exposures) == 1 and len({key[item.images[0]].is_synthetic for item in singles}) == 2:
        values["auc"] = _auc(skill, skill.evidence(exposures.pop()))
    return values


def _image_rate(skill: ReaderSkill, evidence: float, is_synthetic: bool) -> float:
    distance = evidence * skill.mean / 2 + (-skill.bias if is_synthetic else skill.bias)
    return float(ndtr(distance / sqrt(1 + (evidence * skill.reader_spread / 2) ** 2 + skill.case_spread**2)))


def _pair_rate(skill: ReaderSkill, evidence: float) -> float:
    """Two looks and two images differ by a normal variable of twice the variance of each."""
    return float(
        ndtr(evidence * skill.mean / sqrt(2 + 2 * skill.case_spread**2 + (evidence * skill.reader_spread) ** 2))
    )


def _auc(skill: ReaderSkill, evidence: float) -> float:
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
