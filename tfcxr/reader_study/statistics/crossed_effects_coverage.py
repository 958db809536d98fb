"""How often the intervals of `crossed_effects` hold the true rate, and how often the simple ones do.

    python -c "from tfcxr.reader_study.statistics.crossed_effects_coverage import print_table; print_table()"

Studies are drawn from a crossed probit model (Roe, Metz 1997, for binary answers): reader r is right on case c where

    m + s_R a_r + s_C b_c + e_rc > 0,   a, b, e standard normal

so the true rate over all readers and cases is Phi(m / sqrt(1 + s_R^2 + s_C^2)).
"""

import itertools

import numpy as np
from scipy import special

from tfcxr.reader_study.statistics.crossed_effects import crossed_rate
from tfcxr.reader_study.statistics.simple_intervals import t_interval, wilson_interval

READERS, CASES, RATES = (3, 5, 8, 20), (20, 40, 100), (0.5, 0.7, 0.95)
DEVIATIONS = {  # s_R and s_C: readers and cases alike, or one of them, differ little or much
    "small": (0.2, 0.3),
    "large": (0.6, 1.0),
    "readers": (0.6, 0.3),
    "cases": (0.2, 1.0),
}
METHODS = ("crossed", "t over readers", "Wilson over answers")


def simulate(
    readers: int, cases: int, rate: float, deviations: tuple[float, float], generator: np.random.Generator
) -> np.ndarray:
    """Whether readers are right: float [readers, cases], 0 or 1.

    Args:
      rate: over all readers and cases, between 0 and 1.
      deviations: s_R and s_C, on the probit scale.
    """
    of_readers, of_cases = deviations
    latent = special.ndtri(rate) * np.sqrt(1 + of_readers**2 + of_cases**2)
    latent = latent + of_readers * generator.standard_normal((readers, 1))
    latent = latent + of_cases * generator.standard_normal(cases)
    return (latent + generator.standard_normal((readers, cases)) > 0).astype(float)


def coverage(
    readers: int, cases: int, rate: float, deviations: tuple[float, float], simulations: int = 1000, seed: int = 0
) -> dict[str, float]:
    """Share of simulated studies whose 95 % interval holds the true rate, for each of `METHODS`."""
    generator = np.random.default_rng(seed)
    held = dict.fromkeys(METHODS, 0)
    for _ in range(simulations):
        values = simulate(readers, cases, rate, deviations, generator)
        crossed = crossed_rate(values)
        intervals = (crossed.low, crossed.high), t_interval(values.mean(1)), wilson_interval(values.mean(), values.size)
        for method, (low, high) in zip(METHODS, intervals, strict=True):
            held[method] += low <= rate <= high
    return {method: count / simulations for method, count in held.items()}


def hype_coverage(
    readers: int, deviations: tuple[float, float, float], cases: int = 36, simulations: int = 1000, seed: int = 0
) -> float:
    """Share of simulated studies whose interval of HYPE-infinity holds the true one.

    Half of the cases are synthetic. A reader's bias raises errors on one half as it lowers them on the other; without
    any spread, 31 % of answers are wrong.

    Args:
      deviations: of the bias, of skill and of cases, on the probit scale.
    """
    generator, strata = np.random.default_rng(seed), np.arange(cases) % 2
    of_bias, of_skill, of_cases = deviations
    rate = special.ndtr(-0.5 / np.sqrt(1 + of_bias**2 + of_skill**2 + of_cases**2))
    held = 0
    for _ in range(simulations):
        latent = -0.5 + np.where(strata == 1, 1, -1) * of_bias * generator.standard_normal((readers, 1))
        latent = (
            latent + of_skill * generator.standard_normal((readers, 1)) + of_cases * generator.standard_normal(cases)
        )
        is_wrong = latent + generator.standard_normal((readers, cases)) > 0
        found = crossed_rate(is_wrong.astype(float), strata, (0.5, 0.5))
        held += found.low <= rate <= found.high
    return float(held / simulations)


def print_table(simulations: int = 1000) -> None:
    """Prints the table of README.md, percent of studies whose interval holds the true rate: ten minutes."""
    columns = [f"{method}, {cases} cases" for method in METHODS for cases in CASES]
    print(f"| spread | rate | readers | {' | '.join(columns)} |\n|{'---|' * (3 + len(columns))}")
    for number, (name, rate, readers) in enumerate(itertools.product(DEVIATIONS, RATES, READERS)):
        found = [coverage(readers, cases, rate, DEVIATIONS[name], simulations, seed=number) for cases in CASES]
        cells = [f"{100 * of_cases[method]:.1f}" for method in METHODS for of_cases in found]
        print(f"| {name} | {rate:g} | {readers} | {' | '.join(cells)} |", flush=True)
