"""HYPE-infinity: how often do people take real for synthetic and synthetic for real, given all the time they want?

Zhou, Gordon, Krishna, Narcomey, Fei-Fei, Bernstein 2019, section 3.2: the share of wrong answers over 50 real and 50
synthetic images, each shown alone without a time limit. 50 % means that nobody can tell; above 50 % synthetic images
look more real than real ones.
"""

from collections.abc import Sequence

from tfcxr.reader_study.readings import Reading
from tfcxr.reader_study.statistics.analysis import Analysis, Estimate, Table
from tfcxr.reader_study.statistics.crossed_effects import CrossedRate, rate_of_readings
from tfcxr.reader_study.statistics.rates import PAPER, PUBLISHED, show_percent, untimed

PUBLISHED_HYPE = Estimate(0.33, 0.24, 0.43, 8)
BALANCED = (0.5, 0.5)


def hype(readings: Sequence[Reading]) -> Analysis | None:
    """HYPE-infinity over readers and cases, from grids and single images without a time limit.

    Two numbers, equal where a study has as many real as synthetic images:
      - "hype_infinity", the balanced one: (error rate on real images + error rate on synthetic images) / 2.
      - "error_share", the plain one: wrong answers / all answers. It moves with the mix of images alone, so it is not
        called HYPE where the numbers differ.

    Repeats do not count. None without real or without synthetic images.
    """
    judged = [reading for reading in untimed(readings) if reading.kind != "pair" and not reading.repeat_of]
    if len({reading.is_synthetic for reading in judged}) < 2:
        return None
    balanced, plain = _errors(judged, BALANCED), _errors(judged, None)
    real = _errors([reading for reading in judged if not reading.is_synthetic], None)
    synthetic = _errors([reading for reading in judged if reading.is_synthetic], None)
    groups = {
        group or "no group": errors.estimate
        for group in sorted({reading.group for reading in judged})
        if (errors := _balanced_of_group(judged, group))
    }
    numbers = {
        "hype_infinity": balanced.estimate,
        "error_share": plain.estimate,
        "real_errors": real.estimate,
        "synthetic_errors": synthetic.estimate,
        "real_cases": real.cases,
        "synthetic_cases": synthetic.cases,
        "by_group": groups,
        "segal2021": {"hype_infinity": PUBLISHED_HYPE, "mean_of_its_error_rates": mean_of_published_errors()},
    }
    rows = (
        ("HYPE-infinity: mean of the two error rates", balanced.estimate, PUBLISHED_HYPE),
        ("wrong answers of all answers", plain.estimate, None),
        ("real images called synthetic", real.estimate, _complement(PUBLISHED["real_called_real"])),
        ("synthetic images called real", synthetic.estimate, PUBLISHED["synthetic_called_real"]),
    )
    tables = [
        Table("Error rates with 95 % intervals for other readers and cases.", ("rate", "this study", PAPER), rows)
    ]
    if len(groups) > 1:
        caption = "HYPE-infinity by reader group; of a group of one, the interval is for this reader on other cases."
        tables.append(Table(caption, ("group", "HYPE-infinity"), tuple(groups.items())))
    return Analysis("HYPE-infinity", _sentences(balanced, plain, real, synthetic), tuple(tables), numbers)


def mean_of_published_errors() -> float:
    """What the definition gives for Segal et al. 2021: (.27 + .61) / 2 = .44, where the paper prints .33."""
    return round((1 - PUBLISHED["real_called_real"].value + PUBLISHED["synthetic_called_real"].value) / 2, 4)


def _errors(readings: Sequence[Reading], weights: tuple[float, float] | None) -> CrossedRate:
    rate = rate_of_readings(readings, lambda reading: not reading.is_correct, weights)
    assert rate is not None, "asked of readings that exist"
    return rate


def _balanced_of_group(readings: Sequence[Reading], group: str) -> CrossedRate | None:
    part = [reading for reading in readings if reading.group == group]
    return _errors(part, BALANCED) if len({reading.is_synthetic for reading in part}) > 1 else None


def _complement(estimate: Estimate) -> Estimate:
    value, low, high = (round(1 - end, 4) for end in (estimate.value, estimate.high, estimate.low))
    return Estimate(value, low, high, estimate.count)


def _sentences(balanced: CrossedRate, plain: CrossedRate, real: CrossedRate, synthetic: CrossedRate) -> tuple[str, ...]:
    formula = (
        f"HYPE-infinity = (real called synthetic + synthetic called real) / 2 = ({100 * real.value:.1f} % + "
        f"{100 * synthetic.value:.1f} %) / 2 = {100 * balanced.value:.1f} % (Zhou et al. 2019)."
    )
    if balanced.high < 0.5:
        verdict = "so readers tell real from synthetic images better than by guessing"
    elif balanced.low > 0.5:
        verdict = "so synthetic images look more real than real ones"
    else:
        verdict = "so these answers do not show that readers can tell real from synthetic images"
    sentences = [
        f"HYPE-infinity is {show_percent(balanced.estimate)}; guessing gives 50 %, {verdict}.",
        formula,
    ]
    if abs(balanced.value - plain.value) > 5e-4:
        sentences.append(
            f"There are {real.cases} real and {synthetic.cases} synthetic images, so the plain share of wrong answers "
            f"is another: {show_percent(plain.estimate)}."
        )
    sentences.append(
        f"{PAPER} print 33 %. The definition gives 44 % for their rates, (27 % + 61 %) / 2; 33 % is what it gives if "
        "61 % is the share of synthetic images that were recognised, (27 % + 39 %) / 2."
    )
    return tuple(sentences)
