"""Logistic regression by maximum likelihood, for a few columns."""

import dataclasses

import numpy as np
from scipy import special

STEPS = 50
TOLERANCE = 1e-9
LARGEST = 30.0  # a coefficient beyond this is on its way to infinity


@dataclasses.dataclass(frozen=True)
class LogisticFit:
    """A fit.

    Attributes:
      coefficients: float [columns], log odds per unit.
      covariance: float [columns, columns], inverse of the observed information: rows are independent.
      scores: float [rows, columns], derivative of each row's log likelihood at the fit.
    """

    coefficients: np.ndarray
    covariance: np.ndarray
    scores: np.ndarray

    def clustered_variance(self, *clusters: np.ndarray) -> np.ndarray:
        """Variance of each coefficient where rows of one cluster go together: float [columns], never below 0.

        With two sets of clusters, such as readers and cases: the sum of both minus that of their intersection (Cameron,
        Gelbach, Miller 2011, equation 2.11).

        Args:
          clusters: one or two of int [rows].
        """
        sums = [self._variance(of_rows) for of_rows in clusters]
        both = self._variance(np.unique(np.stack(clusters), axis=1, return_inverse=True)[1].ravel())
        return np.maximum(0, sum(sums) - (len(clusters) - 1) * both)

    def _variance(self, cluster: np.ndarray) -> np.ndarray:
        numbers = np.unique(cluster, return_inverse=True)[1]
        sums = np.zeros((numbers.max() + 1, self.scores.shape[1]))
        np.add.at(sums, numbers, self.scores)
        return ((sums @ self.covariance) ** 2).sum(0)


def logistic_regression(columns: np.ndarray, is_one: np.ndarray) -> LogisticFit | None:
    """Newton's method (McCullagh, Nelder 1989, section 4.4); None where no finite fit exists.

    That is the case where the columns separate ones from zeros, or where one is a combination of others.

    Args:
      columns: float [rows, columns], with a column of ones or group columns for intercepts.
      is_one: float [rows], 0 or 1.
    """
    coefficients = np.zeros(columns.shape[1])
    for _ in range(STEPS):
        chance = special.expit(columns @ coefficients)
        information = (columns * (chance * (1 - chance))[:, None]).T @ columns
        if np.linalg.matrix_rank(information) < len(information):
            return None
        step = np.linalg.solve(information, columns.T @ (is_one - chance))
        coefficients = coefficients + step
        if np.abs(coefficients).max() > LARGEST:
            return None
        if np.abs(step).max() < TOLERANCE:
            scores = columns * (is_one - special.expit(columns @ coefficients))[:, None]
            return LogisticFit(coefficients, np.linalg.inv(information), scores)
    return None
