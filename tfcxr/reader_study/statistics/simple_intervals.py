"""The simple formulas that reader studies often use: each counts readers or answers as samples, never cases too."""

import math

import numpy as np
from scipy import special

CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2
CHANCE = 0.5


def t_interval(rates: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean of readers' rates, as if all had judged all cases that there are; may leave 0 to 1."""
    half_width = special.stdtrit(len(rates) - 1, 1 - TAIL) * np.std(rates, ddof=1) / np.sqrt(len(rates))
    return float(np.mean(rates) - half_width), float(np.mean(rates) + half_width)


def wilson_interval(rate: float, count: int) -> tuple[float, float]:
    """95 % interval of a share of independent answers (Wilson 1927)."""
    z = special.ndtri(1 - TAIL)
    middle = (rate + z**2 / (2 * count)) / (1 + z**2 / count)
    half_width = z / (1 + z**2 / count) * np.sqrt(rate * (1 - rate) / count + z**2 / (4 * count**2))
    return max(0.0, float(middle - half_width)), min(1.0, float(middle + half_width))


def t_test(rates_of: np.ndarray, chance: float = CHANCE) -> dict[str, float] | None:
    """One-sided t-test of readers' rates against chance (Student 1908): is their mean greater?

    Args:
      rates_of: float [readers], 0 to 1.

    Returns:
      "t", "degrees_of_freedom" and "p"; None for one reader, or where all have the same rate.
    """
    if len(rates_of) < 2 or np.ptp(rates_of) == 0:
        return None
    t = (np.mean(rates_of) - chance) / (np.std(rates_of, ddof=1) / math.sqrt(len(rates_of)))
    degrees = len(rates_of) - 1
    return {"t": float(t), "degrees_of_freedom": degrees, "p": float(special.stdtr(degrees, -t))}
