"""How often are readers right, and is that more than chance?"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfcxr.reader_study.readings import Reading
from tfcxr.reader_study.statistics.analysis import Analysis, Estimate, Table
from tfcxr.reader_study.statistics.crossed_effects import CrossedRate, rate_of_readings
from tfcxr.reader_study.statistics.simple_intervals import CHANCE, t_interval, t_test, wilson_interval

PAPER = "Segal et al. 2021"
PUBLISHED = {  # 8 radiologists, six grids of six and 20 pairs; the paper's means and 95 % intervals
    "real_called_real": Estimate(0.73, 0.63, 0.82, 8),
    "synthetic_called_real": Estimate(0.61, 0.51, 0.70, 8),
    "pairs_right": Estimate(0.71, 0.55, 0.86, 8),
}
PUBLISHED_P = {"real_called_real": "<.0001", "synthetic_called_real": ".0155"}
NAMES = {
    "real_called_real": "real images called real",
    "synthetic_called_synthetic": "synthetic images called synthetic",
    "synthetic_called_real": "synthetic images called real",
    "pairs_right": "pairs with the real image found",
}
_Rule = Callable[[Reading], bool]
_RATES: dict[str, tuple[_Rule, _Rule]] = {  # which readings, and which of them count
    "real_called_real": (lambda r: r.kind != "pair" and not r.is_synthetic, lambda r: not r.said_synthetic),
    "synthetic_called_synthetic": (lambda r: r.kind != "pair" and r.is_synthetic, lambda r: r.said_synthetic),
    "synthetic_called_real": (lambda r: r.kind != "pair" and r.is_synthetic, lambda r: not r.said_synthetic),
    "pairs_right": (lambda r: r.kind == "pair", lambda r: r.is_correct),
}


def rates(readings: Sequence[Reading]) -> Analysis | None:
    """Rates with crossed-effects intervals, beside the simple intervals and the published study's; None without any.

    Repeats do not count here, since they would weigh their cases twice. Images shown for a limited time do not count
    either, unless there are no others: a staircase keeps readers near 75 % right by itself.
    """
    first = [reading for reading in readings if not reading.repeat_of]
    counted = untimed(first) or first
    found: dict[str, tuple[CrossedRate, np.ndarray]] = {}
    for name, (is_asked, is_counted) in _RATES.items():
        asked = [reading for reading in counted if is_asked(reading)]
        crossed = rate_of_readings(asked, is_counted)
        if crossed:
            found[name] = crossed, rates_of_readers(asked, is_counted)
    if not found:
        return None
    split = {attribute: _by(counted, attribute) for attribute in ("group", "kind", "reader")}
    numbers: dict[str, Any] = {name: crossed.estimate for name, (crossed, _) in found.items()}
    numbers["simple"] = {name: _simple(*both) for name, both in found.items()}
    numbers["t_tests"] = {name: t_test(of_readers) for name, (_, of_readers) in found.items()}
    numbers["components"] = {name: _components(crossed) for name, (crossed, _) in found.items()}
    numbers |= {f"by_{attribute}": cells for attribute, cells in split.items()}
    numbers["segal2021"] = dict(PUBLISHED)
    return Analysis(
        title="How often readers were right",
        sentences=(*_verdicts(found), *_method(len(counted) < len(first), counted)),
        tables=(_main_table(found), _published_table(found), *_tables_by(split)),
        numbers=numbers,
    )


def untimed(readings: Sequence[Reading]) -> list[Reading]:
    """Readings of images that stayed until the answer."""
    return [reading for reading in readings if reading.exposure_seconds is None]


def rates_of_readers(readings: Sequence[Reading], is_counted: Callable[[Reading], bool]) -> np.ndarray:
    """Share of each reader's answers that are counted: float [readers], 0 to 1, by reader key."""
    of_reader: dict[str, list[bool]] = {}
    for reading in readings:
        of_reader.setdefault(reading.reader, []).append(is_counted(reading))
    return np.array([np.mean(of_reader[reader]) for reader in sorted(of_reader)])


def _simple(crossed: CrossedRate, of_readers: np.ndarray) -> dict[str, Estimate | None]:
    mean, count = float(np.mean(of_readers)), len(of_readers)
    return {
        "t_interval_over_readers": Estimate(mean, *t_interval(of_readers), count) if count > 1 else None,
        "wilson_over_answers": Estimate(crossed.value, *wilson_interval(crossed.value, crossed.count), crossed.count),
    }


def _components(crossed: CrossedRate) -> dict[str, float | None]:
    return {
        "reader_variance": crossed.reader_variance,
        "case_variance": crossed.case_variance,
        "residual_variance": crossed.residual_variance,
        "degrees_of_freedom": crossed.degrees_of_freedom,
    }


def _by(readings: Sequence[Reading], attribute: str) -> dict[str, dict[str, Estimate]]:
    split: dict[str, dict[str, Estimate]] = {}
    for value in sorted({getattr(reading, attribute) for reading in readings}):
        part = [reading for reading in readings if getattr(reading, attribute) == value]
        for name, (is_asked, is_counted) in _RATES.items():
            if crossed := rate_of_readings([reading for reading in part if is_asked(reading)], is_counted):
                split.setdefault(value or "no group", {})[name] = crossed.estimate
    return split


def _main_table(found: dict[str, tuple[CrossedRate, np.ndarray]]) -> Table:
    rows: list[tuple[str | int | Estimate | None, ...]] = []
    for name, (crossed, of_readers) in found.items():
        simple, test = _simple(crossed, of_readers), t_test(of_readers)
        rows.append(
            (
                NAMES[name],
                crossed.estimate,
                crossed.readers,
                crossed.cases,
                crossed.count,
                simple["t_interval_over_readers"],
                simple["wilson_over_answers"],
                show_p(test["p"]) if test else None,
            )
        )
    return Table(
        "Rates with 95 % intervals: for other readers and cases, then by two simple formulas for comparison.",
        ("rate", "crossed", "readers", "cases", "answers", "t over readers", "Wilson over answers", "p above .5"),
        tuple(rows),
    )


def _published_table(found: dict[str, tuple[CrossedRate, np.ndarray]]) -> Table:
    rows = []
    for name, published in PUBLISHED.items():
        crossed, of_readers = found.get(name, (None, np.array([])))
        test = t_test(of_readers)
        ours = crossed.estimate if crossed else None
        rows.append((NAMES[name], ours, show_p(test["p"]) if test else None, published, PUBLISHED_P.get(name)))
    return Table(
        f"This study beside {PAPER} (8 radiologists: 3 consultants and 5 registrars; 36 images in grids, 20 pairs).",
        ("rate", "this study", "p above .5", PAPER, "its p"),
        tuple(rows),
    )


def _tables_by(splits: dict[str, dict[str, dict[str, Estimate]]]) -> list[Table]:
    tables = []
    for attribute, caption in (
        ("group", "By reader group; the interval of a group of one is for this reader on other cases."),
        ("kind", "By kind of question."),
        ("reader", "By reader: 95 % intervals (Wilson) for the same reader on other cases."),
    ):
        split = splits[attribute]
        if len(split) > 1:
            names = [name for name in NAMES if any(name in cells for cells in split.values())]
            rows = tuple((value, *(cells.get(name) for name in names)) for value, cells in split.items())
            tables.append(Table(caption, (attribute, *(NAMES[name] for name in names)), rows))
    return tables


def _verdicts(found: dict[str, tuple[CrossedRate, np.ndarray]]) -> list[str]:
    sentences = []
    for name, (rate, _) in found.items():
        if name == "synthetic_called_real":  # the complement of the rate before it
            continue
        side = "above" if rate.low > CHANCE else "below" if rate.high < CHANCE else "not told from"
        sentences.append(
            f"{NAMES[name].capitalize()}: {show_percent(rate.estimate)}, {side} chance "
            f"({rate.readers} {'reader' if rate.readers == 1 else 'readers'}, {rate.cases} cases)."
        )
    return sentences


def _method(leaves_out_timed: bool, counted: Sequence[Reading]) -> list[str]:
    sentences = [
        "Intervals treat both readers and cases as samples: moments of a two-way random model, Satterthwaite's degrees "
        "of freedom, logit scale. The t interval takes the cases as fixed; Wilson's takes all answers as independent; "
        "both are too narrow for other readers and other cases.",
        "p is of a one-sided t-test of the readers' rates against .5, as in the published study.",
    ]
    if leaves_out_timed:
        sentences.append("Images shown for a limited time are left out here.")
    elif all(reading.exposure_seconds is not None for reading in counted):
        sentences.append("All images were shown for a limited time.")
    return sentences


def show_percent(estimate: Estimate) -> str:
    """Such as 73 % (63-82)."""
    return f"{100 * estimate.value:.0f} % ({100 * estimate.low:.0f}-{100 * estimate.high:.0f})"


def show_p(p: float) -> str:
    """Such as .0155, or <.0001."""
    return "<.0001" if p < 1e-4 else f"{p:.4f}".removeprefix("0")
