"""Agreement beyond chance: Cohen's and Fleiss' kappa, Krippendorff's alpha."""

from typing import Literal

import numpy as np

Level = Literal["nominal", "ordinal"]


def cohen_kappas(values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """(p_o - p_e) / (1 - p_e) of every two readers on the cases both judged (Cohen 1960): float [readers, readers].

    NaN where two readers share no case, or gave all of them one and the same answer.

    Args:
      values: float [readers, cases], categories; NaN where not judged.
      weights: float [cases], how often each case counts; None for once.
    """
    weights = np.ones(values.shape[1]) if weights is None else weights
    given = (~np.isnan(values)).astype(float)
    shared = (given * weights) @ given.T
    observed, expected = np.zeros_like(shared), np.zeros_like(shared)
    for category in np.unique(values[~np.isnan(values)]):
        chosen = (values == category).astype(float)
        observed += (chosen * weights) @ chosen.T
        of_first = (chosen * weights) @ given.T  # how often the row's reader chose it among the cases shared
        expected += of_first * of_first.T
    with np.errstate(invalid="ignore", divide="ignore"):
        observed, expected = observed / shared, expected / shared**2
        return np.where(expected < 1 - 1e-12, (observed - expected) / (1 - expected), np.nan)


def cohen_kappa(first: np.ndarray, second: np.ndarray) -> float | None:
    """Cohen's kappa of two readers; None where undefined.

    Args:
      first: float [cases], categories; NaN where not judged.
      second: likewise.
    """
    kappa = cohen_kappas(np.stack([first, second]))[0, 1]
    return None if np.isnan(kappa) else float(kappa)


def mean_cohen_kappa(values: np.ndarray, weights: np.ndarray | None = None) -> float | None:
    """Mean of Cohen's kappa over all pairs of readers (Light 1971); pairs without one are left out.

    Args:
      values: float [readers, cases], categories; NaN where not judged.
      weights: float [cases]; None for once each.
    """
    kappas = pairs_of_readers(cohen_kappas(values, weights))
    return float(kappas.mean()) if len(kappas) else None


def pairs_of_readers(kappas: np.ndarray) -> np.ndarray:
    """The defined entries above the diagonal: float [pairs]."""
    above = kappas[np.triu_indices(len(kappas), 1)]
    return above[~np.isnan(above)]


def fleiss_kappa(values: np.ndarray, weights: np.ndarray | None = None) -> float | None:
    """(P - P_e) / (1 - P_e) for several readers (Fleiss 1971, equations 2 to 7); None where all answers are equal.

    Differs from the paper: cases may have different numbers of readers, each case's agreement then counts once. Cases
    with one reader are left out.

    Args:
      values: float [readers, cases], categories; NaN where not judged.
      weights: float [cases]; None for once each.
    """
    counts, weights = _counts(values, weights)
    if not weights.sum():
        return None
    judged = counts.sum(1)
    agreed = (counts * (counts - 1)).sum(1) / (judged * (judged - 1))
    observed = weights @ agreed / weights.sum()
    shares = weights @ counts / (weights @ judged)
    expected = (shares**2).sum()
    return None if expected > 1 - 1e-12 else float((observed - expected) / (1 - expected))


def krippendorff_alpha(values: np.ndarray, level: Level = "nominal", weights: np.ndarray | None = None) -> float | None:
    """1 - D_o / D_e, for any number of readers and with gaps (Krippendorff 2011, sections C and E).

    None where all answers are equal, or no case has two.

    Args:
      values: float [readers, cases]; NaN where not judged.
      level: "nominal" counts any difference alike, "ordinal" by how many answers lie between.
      weights: float [cases]; None for once each.

    Raises:
      ValueError: an unknown level.
    """
    if level not in ("nominal", "ordinal"):
        raise ValueError(f"expected the level nominal or ordinal, got {level!r}")
    counts, weights = _counts(values, weights)
    if not weights.sum():
        return None
    scaled = counts * (weights / (counts.sum(1) - 1))[:, None]
    coincidences = scaled.T @ counts - np.diag(scaled.sum(0))  # [categories, categories]
    totals = coincidences.sum(0)
    if level == "nominal":
        distances = 1 - np.eye(len(totals))
    else:
        below = np.cumsum(totals) - totals / 2
        distances = (below[:, None] - below) ** 2
    expected = totals @ distances @ totals
    if expected <= 0:
        return None
    return float(1 - (totals.sum() - 1) * (coincidences * distances).sum() / expected)


def _counts(values: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """(answers [cases, categories in ascending order], weights [cases]) of the cases that two readers judged."""
    categories = np.unique(values[~np.isnan(values)])
    counts = (values[:, :, None] == categories).sum(0).astype(float)
    kept = counts.sum(1) > 1
    return counts[kept], (np.ones(len(counts)) if weights is None else weights)[kept]
