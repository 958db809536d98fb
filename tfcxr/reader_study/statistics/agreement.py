"""Do readers agree with each other, and with themselves?

Chance-corrected coefficients depend on how common each answer is, so the shares of "synthetic" are shown beside them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfcxr.reader_study.readings import Reading
from tfcxr.reader_study.statistics.agreement_coefficients import (
    cohen_kappa,
    cohen_kappas,
    fleiss_kappa,
    krippendorff_alpha,
    mean_cohen_kappa,
    pairs_of_readers,
)
from tfcxr.reader_study.statistics.analysis import Analysis, Estimate, Table
from tfcxr.reader_study.statistics.rates import rates_of_readers

RESAMPLES = 300
SEED = 0
NOMINAL: dict[str, Callable[[np.ndarray, np.ndarray | None], float | None]] = {
    "cohen_kappa_mean": mean_cohen_kappa,
    "fleiss_kappa": fleiss_kappa,
    "krippendorff_alpha": lambda values, weights: krippendorff_alpha(values, "nominal", weights),
}
ORDINAL = {"krippendorff_alpha": lambda values, weights: krippendorff_alpha(values, "ordinal", weights)}
LABELS = {
    "cohen_kappa_mean": "Cohen's kappa, mean over pairs of readers",
    "fleiss_kappa": "Fleiss' kappa",
    "krippendorff_alpha": "Krippendorff's alpha",
    "images": "image called synthetic or real",
    "pairs": "pair found or not",
    "ratings": "confidence rating (ordinal)",
}


def agreement(readings: Sequence[Reading]) -> Analysis | None:
    """Agreement between readers and within readers; None with one reader and no repeats.

    Intervals resample cases (bootstrap, percentiles) and so hold for these readers on other cases.
    """
    first = [reading for reading in readings if not reading.repeat_of]
    images = [reading for reading in first if reading.kind != "pair"]
    judgements = {
        "images": answer_matrix(images, lambda reading: float(reading.said_synthetic)),
        "pairs": answer_matrix([r for r in first if r.kind == "pair"], lambda reading: float(reading.is_correct)),
        "ratings": answer_matrix(
            [r for r in first if r.rating is not None], lambda reading: float(reading.rating or 0)
        ),
    }
    between = {
        name: _between(values, ORDINAL if name == "ratings" else NOMINAL)
        for name, values in judgements.items()
        if ((~np.isnan(values)).sum(0) > 1).any()
    }
    within = _within(readings)
    if not between and not within:
        return None
    numbers = {**between, "prevalence": _prevalence(images), "within_readers": within}
    return Analysis("Agreement", _sentences(numbers), _tables(between, within, numbers["prevalence"]), numbers)


def answer_matrix(readings: Sequence[Reading], answer: Callable[[Reading], float]) -> np.ndarray:
    """Answers as float [readers, cases], NaN where not judged; of two answers of a reader to a case, the later one."""
    readers = {key: number for number, key in enumerate(sorted({reading.reader for reading in readings}))}
    cases = {key: number for number, key in enumerate(sorted({reading.case for reading in readings}))}
    values = np.full((len(readers), len(cases)), np.nan)
    for reading in readings:
        values[readers[reading.reader], cases[reading.case]] = answer(reading)
    return values


def _between(values: np.ndarray, coefficients: dict[str, Any]) -> dict[str, Any]:
    generator = np.random.default_rng(SEED)
    cases = values.shape[1]
    resamples = generator.multinomial(cases, np.full(cases, 1 / cases), RESAMPLES).astype(float)
    judged = int(((~np.isnan(values)).sum(0) > 1).sum())
    found: dict[str, Any] = {}
    for name, coefficient in coefficients.items():
        value = coefficient(values, None)
        draws = [draw for weights in resamples if (draw := coefficient(values, weights)) is not None]
        found[name] = None
        if value is not None and draws:
            low, high = np.quantile(draws, (0.025, 0.975))
            found[name] = Estimate(value, float(low), float(high), judged)
    if "cohen_kappa_mean" in found and len(kappas := pairs_of_readers(cohen_kappas(values))):
        found |= {"cohen_kappa_lowest": float(kappas.min()), "cohen_kappa_highest": float(kappas.max())}
    return found


def _within(readings: Sequence[Reading]) -> dict[str, dict[str, Any]]:
    """Per reader: what was answered to a repeat beside the first answer to the same image of the same question."""
    firsts = {(r.reader, r.item, r.case): r.said_synthetic for r in readings if not r.repeat_of}
    pairs: dict[str, list[tuple[bool, bool]]] = {}
    for reading in readings:
        place = reading.reader, reading.repeat_of, reading.case
        if reading.repeat_of and place in firsts:
            pairs.setdefault(reading.reader, []).append((firsts[place], reading.said_synthetic))
    pooled = [pair for of_reader in pairs.values() for pair in of_reader]
    by_reader = {reader: pairs[reader] for reader in sorted(pairs)} | ({"all readers": pooled} if pooled else {})
    return {
        reader: {
            "repeats": len(answers),
            "same": float(np.mean([before == after for before, after in answers])),
            "kappa": cohen_kappa(*np.array(answers, float).T),
        }
        for reader, answers in by_reader.items()
    }


def _prevalence(images: Sequence[Reading]) -> dict[str, float]:
    if not images:
        return {}
    said = rates_of_readers(images, lambda reading: reading.said_synthetic)
    cases = {reading.case: reading.is_synthetic for reading in images}
    return {
        "synthetic": float(np.mean(list(cases.values()))),
        "called_synthetic": float(np.mean([reading.said_synthetic for reading in images])),
        "called_synthetic_lowest_reader": float(said.min()),
        "called_synthetic_highest_reader": float(said.max()),
    }


def _tables(between: dict[str, Any], within: dict[str, Any], prevalence: dict[str, float]) -> tuple[Table, ...]:
    tables = []
    if between:
        rows = tuple(
            (
                LABELS[name],
                LABELS[coefficient],
                value,
                found.get("cohen_kappa_lowest") if is_cohen else None,
                found.get("cohen_kappa_highest") if is_cohen else None,
            )
            for name, found in between.items()
            for coefficient, value in found.items()
            if coefficient in LABELS
            for is_cohen in (coefficient == "cohen_kappa_mean",)
        )
        caption = "Agreement between readers; 95 % intervals are for other cases, the range is over pairs of readers."
        tables.append(Table(caption, ("judgement", "coefficient", "value", "lowest", "highest"), rows))
    if prevalence:
        caption = "How common each answer was, on which every kappa depends."
        tables.append(
            Table(caption, ("share", "value"), tuple((k.replace("_", " "), v) for k, v in prevalence.items()))
        )
    if within:
        rows_within = tuple((reader, *cells.values()) for reader, cells in within.items())
        caption = "Agreement of readers with themselves, on questions that were shown twice."
        tables.append(Table(caption, ("reader", "images shown twice", "same answer", "Cohen's kappa"), rows_within))
    return tuple(tables)


def _sentences(numbers: dict[str, Any]) -> tuple[str, ...]:
    sentences = []
    for name, found in ((name, numbers[name]) for name in ("images", "pairs") if name in numbers):
        if (fleiss := found["fleiss_kappa"]) is None:
            sentences.append(
                f"All readers gave one answer to every {name[:-1]}, so agreement beyond chance is undefined."
            )
        else:
            sentences.append(
                f"Agreement on {name} beyond chance: Fleiss' kappa {fleiss.value:.2f} ({fleiss.low:.2f} to "
                f"{fleiss.high:.2f}); 1 is full agreement, 0 what chance gives."
            )
    if numbers["within_readers"]:
        cells = numbers["within_readers"]["all readers"]
        sentences.append(f"Asked twice, readers gave the same answer to {100 * cells['same']:.0f} % of images.")
    return tuple(sentences)
