"""How well confidence ratings of single images tell synthetic from real: ROC curves and the areas under them (AUC)."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tfcxr.reader_study.readings import Reading
from tfcxr.reader_study.report.estimate_text import estimate_text, p_text
from tfcxr.reader_study.statistics.analysis import Analysis, Estimate, Table
from tfcxr.reader_study.statistics.area_estimates import AverageArea, on_logit_scale
from tfcxr.reader_study.statistics.auc_covariances import area_interval, delong, empirical_areas
from tfcxr.reader_study.statistics.dbm import average_area_by_pseudovalues
from tfcxr.reader_study.statistics.mrmc import average_area

TITLE = "Confidence: ROC curves"
FEWEST = 2  # rated images of either kind, below which a reader has no area with an interval
MEANING = (
    "Readers said of single images whether they are synthetic, and how sure they are. That makes a rating from -5 "
    "(surely real) to 5 (surely synthetic). The area under the ROC curve (AUC) is the chance that a synthetic image is "
    "rated above a real one, ties counting half: .5 means that readers cannot tell them apart, 1 that they always can."
)
METHOD = (
    "Each reader's interval has the variance of DeLong et al. (1988) and is for new cases; with a variance of 0 it is "
    "Newcombe's score interval (2006). The average is for new readers and new cases: Obuchowski & Rockette (1995) for "
    "one modality, variance (MS(R) + r max(Cov2, 0)) / r, with DeLong covariances. Intervals and p are taken on the "
    "logit scale, with degrees of freedom for which both parts of the variance are uncertain (Satterthwaite 1946), so "
    "that they hold in small studies too."
)
Curve = list[tuple[float, float]]


def roc(readings: Sequence[Reading]) -> Analysis | None:
    """Areas and curves of each reader, the average of all readers and of each group; None without any rating.

    Only the first reading of an image by a reader counts, so repeats are left out.

    In `numbers`, "readers" and "groups" hold estimates by name; "average", "average_on_plain_scale" and
    "average_by_pseudovalues" an estimate or None; "curves" by reader and "mean_curve" points (share of real images
    rated at least so high, share of synthetic ones), both from 0 to 1.
    """
    names, ratings, truth, groups = _table_of(readings)
    if not names:
        return None
    counts = np.stack([(~np.isnan(ratings[:, truth == value])).sum(axis=1) for value in (1, 0)], axis=1)
    usable = [index for index in range(len(names)) if counts[index].min() >= FEWEST]
    left_out = [name for index, name in enumerate(names) if index not in usable]
    excluded = f"Left out, with fewer than {FEWEST} rated images of either kind: {', '.join(left_out)}."
    if not usable:
        return Analysis(TITLE, ("No reader has rated enough single images yet.", MEANING, excluded))
    names = [names[index] for index in usable]
    ratings, counts = ratings[usable], counts[usable]
    by_reader = _reader_areas(names, ratings, truth)
    averages = _averages(names, ratings, truth, groups)
    check, check_sentence = _check(ratings, truth)
    plain = average_area(ratings, truth) if averages else None
    curves = {name: roc_curve(row, truth) for name, row in zip(names, ratings, strict=True)}
    average = averages.get("all readers")
    first = _finding(average) if average else _finding_of_one(names[0], by_reader[names[0]])
    rows = [
        (name, groups[name], int(synthetic), int(real), by_reader[name])
        for name, (synthetic, real) in zip(names, counts, strict=True)
    ]
    tables = [Table("AUC of each reader.", ("reader", "group", "synthetic images", "real images", "AUC"), tuple(rows))]
    if averages:
        lines = tuple(
            (name, len(_members(names, groups, name)), _estimate(area, names, groups, name), p_text(area.p_value))
            for name, area in averages.items()
        )
        tables.append(Table("AUC for new readers and new cases.", ("", "readers", "AUC", "against .5"), lines))
    numbers = {
        "average": _estimate(average, names, groups, "all readers") if average else None,
        "average_p_value": average.p_value if average else None,
        "average_degrees_of_freedom": _finite(average.degrees_of_freedom) if average else None,
        "average_on_plain_scale": _estimate(plain, names, groups, "all readers") if plain else None,
        "average_by_pseudovalues": check,
        "readers": by_reader,
        "groups": {
            name: _estimate(area, names, groups, name) for name, area in averages.items() if name != "all readers"
        },
        "curves": curves,
        "mean_curve": mean_curve(list(curves.values())),
        "left_out": left_out,
    }
    sentences = (first, MEANING, METHOD, *check_sentence, *((excluded,) if left_out else ()))
    return Analysis(TITLE, sentences, tuple(tables), numbers)


def roc_curve(ratings: np.ndarray, truth: np.ndarray) -> Curve:
    """Corners of an empirical ROC curve from (0, 0) to (1, 1): share of truth 0 and of truth 1 rated at least so high.

    Args:
      ratings: float [cases], NaN where not rated.
      truth: 0 or 1 [cases].
    """
    rated = ~np.isnan(ratings)
    negatives, positives = ratings[rated & (truth == 0)], ratings[rated & (truth == 1)]
    thresholds = np.unique(ratings[rated])[::-1]
    corners = [(float((negatives >= level).mean()), float((positives >= level).mean())) for level in thresholds]
    return [(0.0, 0.0), *corners]


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """The mean of curves at each share of real images, so the area under it is the mean of their areas."""
    shares = sorted({share for curve in curves for share, _ in curve})
    points: Curve = []
    for share in shares:
        ends = [_heights(curve, share) for curve in curves]
        for height in dict.fromkeys(float(np.mean(side)) for side in zip(*ends, strict=True)):
            points.append((share, height))
    return points


def _heights(curve: Curve, share: float) -> tuple[float, float]:
    """Lower and upper height of a curve at a share, which differ where it rises straight up."""
    here = [height for x, height in curve if x == share]
    if here:
        return min(here), max(here)
    left = max(point for point in curve if point[0] < share)
    right = min(point for point in curve if point[0] > share)
    height = left[1] + (right[1] - left[1]) * (share - left[0]) / (right[0] - left[0])
    return height, height


def _table_of(readings: Sequence[Reading]) -> tuple[list[str], np.ndarray, np.ndarray, dict[str, str]]:
    """Names of readers, ratings [readers, cases], truth [cases], group by reader."""
    given: dict[tuple[str, str], int] = {}
    truths: dict[str, bool] = {}
    groups: dict[str, str] = {}
    for reading in readings:
        if reading.kind == "single" and reading.rating is not None and not reading.repeat_of:
            given.setdefault((reading.reader, reading.case), reading.rating)
            truths[reading.case] = reading.is_synthetic
            groups[reading.reader] = reading.group
    names, cases = sorted(groups), sorted(truths)
    ratings = np.array([[given.get((name, case), math.nan) for case in cases] for name in names], float)
    return names, ratings, np.array([truths[case] for case in cases], int), groups


def _reader_areas(names: Sequence[str], ratings: np.ndarray, truth: np.ndarray) -> dict[str, Estimate]:
    found = {}
    for name, row in zip(names, ratings, strict=True):
        areas = empirical_areas(row[np.newaxis, np.newaxis], truth)
        rated = ~np.isnan(row)
        negatives, positives = int((rated & (truth == 0)).sum()), int((rated & (truth == 1)).sum())
        value = float(areas.values.item())
        ends = area_interval(value, float(delong(areas).item()), negatives, positives)
        found[name] = Estimate(value, *ends, negatives + positives)
    return found


def _averages(
    names: Sequence[str], ratings: np.ndarray, truth: np.ndarray, groups: Mapping[str, str]
) -> dict[str, AverageArea]:
    """Of all readers, then of each group where there are several, of two readers or more each."""
    if len(names) < 2:
        return {}
    found = {"all readers": on_logit_scale(average_area(ratings, truth))}
    present = sorted({groups[name] for name in names})
    for group in present if len(present) > 1 else ():
        rows = [index for index, name in enumerate(names) if groups[name] == group]
        if len(rows) > 1:
            found[group or "no group"] = on_logit_scale(average_area(ratings[rows], truth))
    return found


def _check(ratings: np.ndarray, truth: np.ndarray) -> tuple[Estimate | None, tuple[str, ...]]:
    """The average by pseudovalues over images that every reader rated, and the sentence on it."""
    shared = ~np.isnan(ratings).any(axis=0)
    if len(ratings) < 2 or min((shared & (truth == value)).sum() for value in (0, 1)) < FEWEST:
        return None, ()
    found = average_area_by_pseudovalues(ratings[:, shared], truth[shared])
    estimate = Estimate(found.area, found.low, found.high, len(ratings))
    where = "" if shared.all() else f" over the {int(shared.sum())} images that all of them rated"
    plain = average_area(ratings, truth)
    return estimate, (
        "As published programs print it, on the plain scale with the degrees of freedom of Hillis (2007): "
        f"{estimate_text(Estimate(plain.area, plain.low, plain.high, len(ratings)))}, and by jackknife pseudovalues "
        f"(Dorfman, Berbaum & Metz 1992){where} {estimate_text(estimate)}.",
    )


def _finding(average: AverageArea) -> str:
    text = estimate_text(Estimate(average.area, average.low, average.high, 0))
    if average.low > 0.5:
        meaning = "readers tell synthetic images from real ones better than chance"
    elif average.high < 0.5:
        meaning = "readers take synthetic images for real ones more often than real ones"
    else:
        meaning = "this does not show that readers tell synthetic images from real ones"
    return f"The average AUC of the readers is {text}, {p_text(average.p_value)} against .5: {meaning}."


def _finding_of_one(name: str, estimate: Estimate) -> str:
    text = estimate_text(estimate)
    return f"The AUC of reader {name} is {text}, for this reader and new cases; other readers may differ."


def _members(names: Sequence[str], groups: Mapping[str, str], group: str) -> list[str]:
    return [name for name in names if group == "all readers" or (groups[name] or "no group") == group]


def _estimate(area: AverageArea, names: Sequence[str], groups: Mapping[str, str], group: str) -> Estimate:
    return Estimate(area.area, area.low, area.high, len(_members(names, groups, group)))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
