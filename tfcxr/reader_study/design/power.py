"""How likely a planned study is to show that readers do better than chance.

Model: all readers judge all cases. Reader j is right about case i with probability Phi(mu + r_j + c_i), where r_j and
c_i are normal with mean 0 and standard deviations `reader_spread` and `case_spread`. The rate over the population is
Phi(mu / sqrt(1 + reader_spread^2 + case_spread^2)); chance is .5.

Test: the share of correct answers against .5, one-sided at the 5 % level, with readers and cases both random. Its
variance is (MS_reader + MS_case - MS_rest) / (readers x cases) by the mean squares of the two-way table, with the
degrees of freedom of Satterthwaite (Biometrics Bulletin 1946). It is never taken to be less than that of guessing,
.25 / (readers x cases), which keeps tables without any variance from passing as certain.

Power is calculated twice: by the noncentral t distribution with the variances that the model implies, and by
simulation.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import special, stats

LEVEL = 0.05
WANTED_POWER = 0.8
CHANCE = 0.5
STUDIES = 1000
VALUES_AT_ONCE = 2**20
QUADRATURE_POINTS = 40
SEARCH_STEPS = 30


@dataclasses.dataclass(frozen=True)
class Skill:
    """What is assumed of readers and cases.

    Attributes:
      rate: share of correct answers over the population of readers and cases, .5 for guessing.
      reader_spread: standard deviation between readers, on the probit scale.
      case_spread: standard deviation between cases, on the probit scale.
    """

    rate: float = 0.6
    reader_spread: float = 0.3
    case_spread: float = 0.5


def variance_components(skill: Skill) -> tuple[float, float, float]:
    """Variances of a correct answer (0 or 1) that the model implies: between readers, between cases, and the rest.

    The covariance of two answers that share a normal effect is the variance of their conditional rate, which
    Gauss-Hermite quadrature gives.
    """
    total = np.sqrt(1.0 + skill.reader_spread**2 + skill.case_spread**2)
    mean = special.ndtri(skill.rate) * total
    nodes, weights = np.polynomial.hermite_e.hermegauss(QUADRATURE_POINTS)
    weights = weights / weights.sum()

    def shared(spread: float) -> float:
        conditional = special.ndtr((mean + spread * nodes) / np.sqrt(total**2 - spread**2))
        return float(weights @ (conditional - skill.rate) ** 2)

    reader, case = shared(skill.reader_spread), shared(skill.case_spread)
    return reader, case, max(skill.rate * (1 - skill.rate) - reader - case, 0.0)


def p_values(correct: np.ndarray) -> np.ndarray:
    """One-sided p of the test against chance.

    Args:
      correct: 0 or 1, [..., readers, cases]; two cases or more. A single reader is tested over cases alone, so the
        result says nothing about other readers.

    Returns:
      float64 [...].
    """
    readers, cases = correct.shape[-2:]
    mean = correct.mean((-2, -1))
    of_readers, of_cases = correct.mean(-1), correct.mean(-2)
    case_square = readers * of_cases.var(-1, ddof=1)
    if readers == 1:
        sum_of_squares, freedom = case_square, np.full_like(mean, cases - 1)
    else:
        reader_square = cases * of_readers.var(-1, ddof=1)
        rest = correct - of_readers[..., None] - of_cases[..., None, :] + mean[..., None, None]
        rest_square = (rest**2).sum((-2, -1)) / ((readers - 1) * (cases - 1))
        sum_of_squares, freedom = _combined(reader_square, case_square, rest_square, readers, cases)
    error = np.sqrt(np.maximum(sum_of_squares, CHANCE * (1 - CHANCE)) / (readers * cases))
    return stats.t.sf((mean - CHANCE) / error, freedom)


def approximate_power(skill: Skill, readers: int, cases: int) -> float:
    """Power by the noncentral t distribution; `readers` 1 or more, `cases` 2 or more."""
    reader, case, rest = variance_components(skill)
    if readers == 1:
        sum_of_squares, freedom = case + rest, float(cases - 1)
    else:
        by_reader, by_case, left = map(np.array, (cases * reader + rest, readers * case + rest, rest))
        sum_of_squares, freedom = map(float, _combined(by_reader, by_case, left, readers, cases))
    error = np.sqrt(max(sum_of_squares, CHANCE * (1 - CHANCE)) / (readers * cases))
    return float(stats.nct.sf(stats.t.isf(LEVEL, freedom), freedom, (skill.rate - CHANCE) / error))


def simulated_power(skill: Skill, readers: int, cases: int, studies: int = STUDIES, seed: int = 0) -> float:
    """Share of simulated studies whose test is significant; for the rate .5 that is the error of the first kind."""
    random = np.random.default_rng(seed)
    mean = special.ndtri(skill.rate) * np.sqrt(1.0 + skill.reader_spread**2 + skill.case_spread**2)
    at_once = max(1, VALUES_AT_ONCE // (readers * cases))
    significant = 0
    for start in range(0, studies, at_once):
        count = min(at_once, studies - start)
        latent = mean + random.standard_normal((count, readers, cases))
        latent += skill.reader_spread * random.standard_normal((count, readers, 1)) * (readers > 1)
        latent += skill.case_spread * random.standard_normal((count, 1, cases))
        significant += int((p_values((latent > 0).astype(float)) < LEVEL).sum())
    return significant / studies


def smallest_rate(skill: Skill, readers: int, cases: int, power: float = WANTED_POWER) -> float | None:
    """The smallest true rate of correct answers that is found with the given power; None where even .999 is not."""
    low, high = CHANCE, 0.999
    if approximate_power(dataclasses.replace(skill, rate=high), readers, cases) < power:
        return None
    for _ in range(SEARCH_STEPS):
        middle = (low + high) / 2
        if approximate_power(dataclasses.replace(skill, rate=middle), readers, cases) < power:
            low = middle
        else:
            high = middle
    return high


def power_plan(skill: Skill, readers: int, cases: Mapping[str, int], seed: int = 0) -> dict[str, Any]:
    """Power of the tests that are planned.

    Args:
      skill: what is assumed.
      readers: how many are planned.
      cases: name of a test -> images, or pairs, that each reader judges for it.
      seed: of the simulation.

    Returns:
      "assumed", "readers", "method", "simulated_studies", and "kinds": name -> {"cases", "power", "simulated_power",
      "smallest_rate" (None where no rate has enough power), "table": [{"readers", "cases", "power"}]}; tests of fewer
      than two cases are left out.
    """
    tests: dict[str, Any] = {}
    for name, count in cases.items():
        if count < 2:
            continue
        table = [
            {
                "readers": of_readers,
                "cases": of_cases,
                "power": round(approximate_power(skill, of_readers, of_cases), 3),
            }
            for of_readers in sorted({max(2, readers // 2), readers, 2 * readers})
            for of_cases in sorted({max(2, count // 2), count, 2 * count, 4 * count})
        ]
        smallest = smallest_rate(skill, readers, count)
        tests[name] = {
            "cases": count,
            "power": round(approximate_power(skill, readers, count), 3),
            "simulated_power": simulated_power(skill, readers, count, seed=seed),
            "smallest_rate": None if smallest is None else round(smallest, 3),
            "table": table,
        }
    return {
        "assumed": dataclasses.asdict(skill),
        "readers": readers,
        "method": "share of correct answers against .5, one-sided, level .05, readers and cases random",
        "simulated_studies": STUDIES,
        "kinds": tests,
    }


def power_lines(plan: Mapping[str, Any]) -> list[str]:
    """What `power_plan` found, for the designer."""
    assumed = plan["assumed"]
    lines = [
        f"power, if the true rate of correct answers is {assumed['rate']:.0%} (standard deviation "
        f"{assumed['reader_spread']:g} between readers and {assumed['case_spread']:g} between cases, probit scale):"
    ]
    for name, found in plan["kinds"].items():
        smallest = found["smallest_rate"]
        reach = (
            f"a true rate of {smallest:.1%} or more has {WANTED_POWER:.0%} power"
            if smallest is not None
            else f"no true rate has {WANTED_POWER:.0%} power"
        )
        lines.append(
            f"  {name}: {found['cases']} cases x {plan['readers']} readers: {found['power']:.0%} "
            f"(simulated {found['simulated_power']:.0%}); {reach}"
        )
        of_cases = sorted({row["cases"] for row in found["table"]})
        lines.append("    readers" + "".join(f"{f'{count} cases':>12}" for count in of_cases))
        for of_readers in sorted({row["readers"] for row in found["table"]}):
            powers = {row["cases"]: row["power"] for row in found["table"] if row["readers"] == of_readers}
            lines.append(f"    {of_readers:7}" + "".join(f"{powers[count]:12.0%}" for count in of_cases))
    return lines


def _combined(
    reader: np.ndarray, case: np.ndarray, rest: np.ndarray, readers: int, cases: int
) -> tuple[np.ndarray, np.ndarray]:
    """MS_reader + MS_case - MS_rest, at least either of them, and its degrees of freedom."""
    value = np.maximum(reader + case - rest, np.maximum(reader, case))
    spread = reader**2 / (readers - 1) + case**2 / (cases - 1) + rest**2 / ((readers - 1) * (cases - 1))
    smallest = min(readers, cases) - 1
    freedom = np.divide(value**2, spread, out=np.full_like(value, smallest, dtype=float), where=spread > 0)
    return value, np.clip(freedom, smallest, readers * cases - 1)
