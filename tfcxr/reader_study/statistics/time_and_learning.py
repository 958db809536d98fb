"""How long do readers take, and do they get better as they go on?"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import special

from tfcxr.reader_study.readings import Reading
from tfcxr.reader_study.statistics.analysis import Analysis, Estimate, Table
from tfcxr.reader_study.statistics.logistic_regression import logistic_regression
from tfcxr.reader_study.statistics.simple_intervals import TAIL, t_interval

SHORTEST_SECONDS, LONGEST_SECONDS = 0.2, 1800.0
ITEMS_PER_STEP = 10


def time_and_learning(readings: Sequence[Reading]) -> Analysis | None:
    """Seconds per question by kind and correctness, and correctness by position; None without readings.

    A question is right if all its images are. Times below 0.2 s or above 30 minutes are no reading times: they are
    counted and left out, as are unknown ones. Learning is judged on questions without time limit, since a staircase
    keeps its own rate; repeats are left out of it, since their images were seen before.
    """
    if not readings:
        return None
    seconds, left_out = _seconds(readings)
    ratio = _slowness_of_mistakes(seconds)
    judged = [r for r in readings if r.exposure_seconds is None and not r.repeat_of]
    learning, halves = _learning(judged), _halves(judged)
    quartiles = _quartiles(seconds)
    sentences, tables = _sentences(left_out, ratio, learning, halves), _tables(quartiles, halves)
    numbers = {"seconds": quartiles, "left_out": left_out, "mistakes_over_right": ratio}
    return Analysis("Time and learning", sentences, tables, numbers | {"learning": learning, "halves": halves})


def _seconds(readings: Sequence[Reading]) -> tuple[dict[tuple[str, str, bool], list[float]], dict[str, int]]:
    """((reader, kind, all right) -> seconds of each question, how many were left out and why)."""
    questions: dict[tuple[str, str], list[Reading]] = {}
    for reading in readings:
        questions.setdefault((reading.reader, reading.item), []).append(reading)
    kept: dict[tuple[str, str, bool], list[float]] = {}
    left_out = {"unknown": 0, "too_short": 0, "too_long": 0}
    for (reader, _), images in questions.items():
        seconds = images[0].seconds
        if seconds is None or not np.isfinite(seconds):
            left_out["unknown"] += 1
        elif seconds < SHORTEST_SECONDS:
            left_out["too_short"] += 1
        elif seconds > LONGEST_SECONDS:
            left_out["too_long"] += 1
        else:
            is_right = all(image.is_correct for image in images)
            kept.setdefault((reader, images[0].kind, is_right), []).append(float(seconds))
    return kept, left_out


def _quartiles(seconds: Mapping[tuple[str, str, bool], list[float]]) -> dict[str, dict[str, dict[str, float]]]:
    found: dict[str, dict[str, dict[str, float]]] = {}
    for kind in sorted({kind for _, kind, _ in seconds}):
        for name, wanted in (("right", (True,)), ("mistakes", (False,)), ("all", (True, False))):
            times = [
                t for (_, k, is_right), values in seconds.items() if k == kind and is_right in wanted for t in values
            ]
            if times:
                low, median, high = (float(value) for value in np.quantile(times, (0.25, 0.5, 0.75)))
                cells = {"median": median, "lower_quartile": low, "upper_quartile": high, "questions": len(times)}
                found.setdefault(kind, {})[name] = cells
    return found


def _slowness_of_mistakes(seconds: Mapping[tuple[str, str, bool], list[float]]) -> Estimate | None:
    """Ratio of geometric mean times, mistakes to right, within readers and kinds; t interval over readers."""
    differences: dict[str, list[float]] = {}
    for (reader, kind, is_right), times in seconds.items():
        if not is_right and (right := seconds.get((reader, kind, True))):
            differences.setdefault(reader, []).append(float(np.mean(np.log(times)) - np.mean(np.log(right))))
    means = np.array([np.mean(values) for values in differences.values()])
    if len(means) < 2:
        return None
    low, high = t_interval(means)
    return Estimate(float(np.exp(means.mean())), float(np.exp(low)), float(np.exp(high)), len(means))


def _learning(readings: Sequence[Reading]) -> dict[str, Any] | None:
    """Odds ratio of a right answer per `ITEMS_PER_STEP` questions, by logistic regression.

    Each reader has an intercept, and so has each kind of question, real and synthetic apart. Readers who were always
    right or always wrong tell nothing of a slope and are left out. The error is the largest of three: of independent
    answers, clustered by case (which matters where all readers have one order), and clustered by reader and case. The
    interval takes Student's t on readers - 1 degrees of freedom.
    """
    rights: dict[str, set[bool]] = {}
    for reading in readings:
        rights.setdefault(reading.reader, set()).add(reading.is_correct)
    used = [reading for reading in readings if len(rights[reading.reader]) == 2]
    if len({reading.position for reading in used}) < 2:
        return None
    readers = sorted({reading.reader for reading in used})
    kinds = sorted({(reading.kind, reading.is_synthetic) for reading in used})
    columns = [[reading.position / ITEMS_PER_STEP for reading in used]]
    columns += [[float(reading.reader == reader) for reading in used] for reader in readers]
    columns += [[float((reading.kind, reading.is_synthetic) == kind) for reading in used] for kind in kinds[1:]]
    right = np.array([reading.is_correct for reading in used], float)
    fit = logistic_regression(np.array(columns).T, right)
    if fit is None:
        return None
    of_reader, of_case = (
        np.unique(keys, return_inverse=True)[1] for keys in ([r.reader for r in used], [r.case for r in used])
    )
    variances = fit.covariance[0, 0], fit.clustered_variance(of_case)[0], fit.clustered_variance(of_reader, of_case)[0]
    slope, error = float(fit.coefficients[0]), float(np.sqrt(max(variances)))
    degrees = len(readers) - 1 or len(used) - len(fit.coefficients)
    half_width = special.stdtrit(degrees, 1 - TAIL) * error
    odds, low, high = (float(np.exp(slope + shift)) for shift in (0, -half_width, half_width))
    return {
        "odds_ratio_per_ten_questions": Estimate(odds, low, high, len(used)),
        "slope": slope,
        "standard_error": error,
        "p": float(2 * special.stdtr(degrees, -abs(slope) / error)),
        "readers": len(readers),
    }


def _halves(readings: Sequence[Reading]) -> dict[str, Estimate] | None:
    """Correct rates in the first and the second half of each reader's questions; t intervals over readers."""
    of_readers: dict[str, list[Reading]] = {}
    for reading in readings:
        of_readers.setdefault(reading.reader, []).append(reading)
    rates = []
    for own in of_readers.values():
        positions = sorted({reading.position for reading in own})
        middle = positions[len(positions) // 2]
        halves = [[r.is_correct for r in own if (r.position >= middle) == is_second] for is_second in (False, True)]
        if all(halves):
            rates.append([np.mean(half) for half in halves])
    if len(rates) < 2:
        return None
    first, second = np.array(rates).T
    named = {"first": first, "second": second, "second_minus_first": second - first}
    estimates = {}
    for name, values in named.items():
        low, high = t_interval(values)
        estimates[name] = Estimate(float(values.mean()), low, high, len(values))
    return estimates


def _tables(quartiles: Mapping[str, Any], halves: Mapping[str, Estimate] | None) -> tuple[Table, ...]:
    rows = tuple(
        (
            kind,
            name,
            round(q["median"], 1),
            round(q["lower_quartile"], 1),
            round(q["upper_quartile"], 1),
            q["questions"],
        )
        for kind, cells in quartiles.items()
        for name, q in cells.items()
    )
    columns = ("kind", "answers", "median, s", "lower quartile", "upper quartile", "questions")
    tables = (
        [Table("Seconds per question; a grid with one mistake is among the mistakes.", columns, rows)] if rows else []
    )
    if halves:
        caption = "Correct rates by half of each reader's questions; t intervals over readers."
        named = tuple((name.replace("_", " "), estimate) for name, estimate in halves.items())
        tables.append(Table(caption, ("half", "correct"), named))
    return tuple(tables)


def _sentences(
    left_out: Mapping[str, int],
    ratio: Estimate | None,
    learning: Mapping[str, Any] | None,
    halves: Mapping[str, Estimate] | None,
) -> tuple[str, ...]:
    sentences = []
    if ratio:
        sentences.append(
            f"Questions with mistakes took {ratio.value:.2f} times as long as those answered right ({ratio.low:.2f} to "
            f"{ratio.high:.2f}, {ratio.count} readers)."
        )
    if learning:
        odds = learning["odds_ratio_per_ten_questions"]
        verdict = "better" if odds.low > 1 else "worse" if odds.high < 1 else "neither clearly better nor worse"
        sentences.append(
            f"Readers got {verdict} as they went on: the odds of a right answer change by a factor of {odds.value:.2f} "
            f"({odds.low:.2f} to {odds.high:.2f}) per ten questions (logistic regression)."
        )
    elif halves is None:
        sentences.append("There are too few answers to see whether readers get better.")
    if total := sum(left_out.values()):
        sentences.append(
            f"The times of {total} questions are left out: {left_out['unknown']} unknown, {left_out['too_short']} "
            f"below {SHORTEST_SECONDS:g} s, {left_out['too_long']} above {LONGEST_SECONDS / 60:.0f} minutes."
        )
    return tuple(sentences)
