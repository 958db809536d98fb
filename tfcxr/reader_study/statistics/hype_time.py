"""HYPE-time: how long must people see an image to tell whether it is real?

Zhou, Gordon, Krishna, Narcomey, Fei-Fei, Bernstein 2019, section 3.1: a staircase shortens the exposure after right
answers and lengthens it after wrong ones, between 100 and 1,000 ms. A reader's threshold in a block is the exposure
shown most often, as the staircase stays where the reader begins to fail.

    HYPE-time = mean over readers of (mean over blocks of the modal exposure)

Differs from the paper: exposures are rounded to 10 ms before the mode is taken, since screens show whole frames, and of
several modes their mean is taken. Beside it stands the exposure at which 75 % of answers are right, from a psychometric
function fitted to all timed answers (Wichmann, Hill 2001, without lapses), which no staircase's rule shifts:

    P(right | t) = 1/2 + 1/2 logistic((log t - log threshold) / width)
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy import optimize, special

from tfcxr.reader_study.readings import Reading
from tfcxr.reader_study.statistics.analysis import Analysis, Estimate, Table
from tfcxr.reader_study.statistics.crossed_effects import rate_of_readings
from tfcxr.reader_study.statistics.simple_intervals import TAIL, t_interval

BIN_SECONDS = 0.01
SHORTEST_SECONDS, LONGEST_SECONDS = 0.1, 1.0
GUESS_RATE = 0.5
NARROWEST, WIDEST = 0.02, 5.0  # of the psychometric function, in log seconds


def hype_time(readings: Sequence[Reading]) -> Analysis | None:
    """Thresholds of exposure in seconds, from single images with a time limit; None without any.

    Where all exposures are equal there is no staircase: the analysis then has the correct rate at this exposure alone,
    and no threshold. With one reader, thresholds are plain numbers without an interval. Repeats do not count.
    """
    timed = [r for r in readings if r.exposure_seconds and r.kind == "single" and not r.repeat_of]
    if not timed:
        return None
    table = _rates_by_exposure(timed)
    if len({_bin(reading) for reading in timed}) < 2:
        seconds = _bin(timed[0])
        sentence = f"All timed images were shown for {1000 * seconds:.0f} ms, so there is no threshold to estimate."
        return Analysis("HYPE-time", (sentence,), (table,), {"hype_time_seconds": None, "threshold_seconds": None})
    by_reader = modal_exposures(timed)
    means = np.array([np.mean(list(blocks.values())) for blocks in by_reader.values()])
    value: Estimate | float = float(means.mean())
    if len(means) > 1:
        low, high = t_interval(means)
        value = Estimate(float(means.mean()), max(0.0, low), high, len(means))
    threshold = _threshold(timed)
    numbers = {
        "hype_time_seconds": value,
        "threshold_seconds": threshold,
        "modal_exposures": by_reader,
        "at_shortest": int((means <= SHORTEST_SECONDS + BIN_SECONDS / 2).sum()),
        "at_longest": int((means >= LONGEST_SECONDS - BIN_SECONDS / 2).sum()),
    }
    rows = tuple((r, float(mean), len(blocks)) for (r, blocks), mean in zip(by_reader.items(), means, strict=True))
    by_reader_table = Table("Modal exposure per reader, mean over blocks.", ("reader", "seconds", "blocks"), rows)
    return Analysis("HYPE-time", _sentences(value, threshold, numbers), (by_reader_table, table), numbers)


def modal_exposures(readings: Sequence[Reading]) -> dict[str, dict[str, float]]:
    """Reader -> block -> the exposure shown most often, seconds; the mean where several are equally often."""
    shown: dict[str, dict[str, Counter[float]]] = {}
    for reading in readings:
        blocks = shown.setdefault(reading.reader, {})
        blocks.setdefault(reading.block, Counter())[_bin(reading)] += 1
    return {
        reader: {
            block: float(np.mean([seconds for seconds, times in counter.items() if times == max(counter.values())]))
            for block, counter in sorted(blocks.items())
        }
        for reader, blocks in sorted(shown.items())
    }


def psychometric_threshold(seconds: np.ndarray, is_correct: np.ndarray) -> float | None:
    """Exposure at which 75 % of answers are right, by maximum likelihood; None outside the exposures shown.

    Args:
      seconds: float [answers], above 0.
      is_correct: bool [answers].
    """
    logs = np.log(seconds)
    low, high = logs.min(), logs.max()

    def loss(parameters: np.ndarray) -> float:
        threshold, log_width = parameters
        right = GUESS_RATE + (1 - GUESS_RATE) * special.expit((logs - threshold) / np.exp(log_width))
        return -float(np.log(np.where(is_correct, right, 1 - right) + 1e-12).sum())

    # The range goes on beyond what was shown: a best fit out there means that the data hold no threshold.
    bounds = ((low - 1, high + 1), (np.log(NARROWEST), np.log(WIDEST)))
    starts = [(low + share * (high - low), np.log(width)) for share in (0.25, 0.5, 0.75) for width in (0.1, 0.5)]
    fits = [optimize.minimize(loss, start, method="L-BFGS-B", bounds=bounds) for start in starts]
    threshold = min(fits, key=lambda fit: fit.fun).x[0]
    return float(np.exp(threshold)) if low <= threshold <= high else None


def _threshold(timed: Sequence[Reading]) -> Estimate | float | None:
    """With a 95 % interval by the jackknife over readers (Tukey 1958), on the log scale."""
    seconds = np.array([reading.exposure_seconds for reading in timed], float)
    right = np.array([reading.is_correct for reading in timed])
    keys = np.array([reading.reader for reading in timed])
    readers = np.unique(keys)
    value = psychometric_threshold(seconds, right)
    if value is None or len(readers) < 2:
        return value
    left_out = [psychometric_threshold(seconds[keys != reader], right[keys != reader]) for reader in readers]
    logs = np.log([left for left in left_out if left is not None])
    if len(logs) < len(readers):
        return None
    count = len(readers)
    error = np.sqrt((count - 1) / count * ((logs - logs.mean()) ** 2).sum())
    half_width = special.stdtrit(count - 1, 1 - TAIL) * error
    return Estimate(value, float(value * np.exp(-half_width)), float(value * np.exp(half_width)), count)


def _bin(reading: Reading) -> float:
    return round(round((reading.exposure_seconds or 0) / BIN_SECONDS) * BIN_SECONDS, 3)


def _rates_by_exposure(timed: Sequence[Reading]) -> Table:
    edges = (0, 0.15, 0.25, 0.35, 0.5, 0.75, 1.0, np.inf)
    rows = []
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        inside = [reading for reading in timed if low < _bin(reading) <= high]
        if rate := rate_of_readings(inside, lambda reading: reading.is_correct):
            name = f"{1000 * low:.0f} to {1000 * high:.0f}" if np.isfinite(high) else f"above {1000 * low:.0f}"
            rows.append((name, rate.estimate, rate.count))
    return Table("Correct rate by exposure.", ("exposure, ms", "correct", "answers"), tuple(rows))


def _sentences(value: Estimate | float, threshold: Estimate | float | None, numbers: dict) -> tuple[str, ...]:
    sentences = [
        f"HYPE-time is {_show(value, 't interval over readers')}: the more realistic the images, the longer.",
        "HYPE-time = mean over readers of (mean over blocks of the exposure shown most often) (Zhou et al. 2019).",
    ]
    if threshold is None:
        sentences.append("The exposures shown do not contain one at which 75 % of answers are right.")
    else:
        shown = _show(threshold, "jackknife over readers")
        sentences.append(f"By the psychometric function, 75 % of answers are right at {shown}.")
    if numbers["at_longest"]:
        sentences.append(f"Readers who stayed at the longest exposure: {numbers['at_longest']}; theirs may be longer.")
    if numbers["at_shortest"]:
        sentences.append(
            f"{numbers['at_shortest']} readers stayed at the shortest exposure: their threshold is shorter."
        )
    return tuple(sentences)


def _show(seconds: Estimate | float, method: str) -> str:
    if isinstance(seconds, float):
        return f"{1000 * seconds:.0f} ms"
    return f"{1000 * seconds.value:.0f} ms ({1000 * seconds.low:.0f}-{1000 * seconds.high:.0f}, {method})"
