"""The part of the page of a ranking, and its rows of scores.csv."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from tfcxr.evaluation.cohorts import Cohort
from tfcxr.evaluation.metrics import distance_metrics, metrics_of
from tfcxr.evaluation.metrics.metric import ClassDiversity, FeatureDistance
from tfcxr.evaluation.protocols.ranking_steps import step_parts
from tfcxr.evaluation.protocols.ranking_verdict import LEVEL, REAL, deviation_text
from tfcxr.evaluation.report import html
from tfcxr.evaluation.report.score import Score


def page_parts(extractor: str, ranked: Mapping[str, Any]) -> list[str]:
    """HTML, of the plain content of report.json: the table, curves over steps, and p of every pair."""
    metrics, table = distance_metrics(), ranked["table"]
    spreads = [metric for metric in metrics_of(ClassDiversity) if metric.reads == "images"]
    rows = [
        [
            html.text(row["cohort"]),
            *(html.number(row[f"{m.name}_mean"], m.format) + deviation_text(row, m) for m in metrics),
            *(html.number(row[f"{spread.name}_ratio"], ".2f") for spread in spreads),
        ]
        for row in table
    ]
    header = ["cohort", *map(html.metric_header, metrics), *(html.text(spread.spread_title) for spread in spreads)]
    names = [row["cohort"] for row in table if row["cohort"] in ranked["compared"]]
    of_real = {
        metric.name: html.number(row[f"{metric.name}_mean"], metric.format) + deviation_text(row, metric)
        for row in table
        for metric in metrics
        if row["cohort"] == REAL
    }
    return [
        f"<h2>Nearest first, by {html.text(extractor)}</h2>",
        html.table(header, rows),
        html.explained([*metrics, *spreads], of_real),
        *step_parts(table),
        *(_test_table(metric, names, ranked["tests"][metric.name]) for metric in metrics),
        f"<p class=small>{html.metric_notes(FeatureDistance)} {html.metric_notes(ClassDiversity)}</p>",
    ]


def _test_table(metric: FeatureDistance, names: Sequence[str], tests: Sequence[Mapping[str, Any]]) -> str:
    """p of every pair, in a square: adjusted above the diagonal, of the pair alone below it."""
    adjusted = {frozenset((pair["first"], pair["second"])): pair["adjusted_p"] for pair in tests}
    alone = {frozenset((pair["first"], pair["second"])): pair["p"] for pair in tests}
    cells = dict.fromkeys(itertools.product(names, repeat=2), "")
    for pair in itertools.combinations(names, 2):
        cells[pair], cells[pair[::-1]] = _p_text(adjusted[frozenset(pair)]), _p_text(alone[frozenset(pair)])
    rows = [[html.text(first), *(cells[first, second] for second in names)] for first in names]
    caption = (
        f"p of Welch's t-tests of the {metric.title} distance: above the diagonal adjusted by Holm for all pairs, "
        f"below it of the pair alone; * below {LEVEL:g}"
    )
    return html.table(["", *map(html.text, names)], rows, caption)


def _p_text(p: float) -> str:
    return f"{p:.3f}{'*' if p < LEVEL else ''}" if p >= 0.001 else "&lt;.001*"


def report_scores(
    found: Mapping[str, Mapping[str, Any]], per_draw: int, settings: Mapping[str, Any], test: Cohort
) -> list[Score]:
    """The mean distance of each cohort's draws; the interval is that of a mean of as many draws (Student's t).

    Args:
      found: by extractor, the table and the passport.
      per_draw: images.
      settings: what else a distance depends on.
      test: the real images.
    """
    scores = []
    for extractor, ranked in found.items():
        passport = {**settings, "extractor": ranked["passport"], "real": test.facts["sha256"]}
        of_real = {row["cohort"]: row for row in ranked["table"]}.get(REAL, {})
        for row, metric in itertools.product(ranked["table"], distance_metrics()):
            if row["cohort"] == REAL:
                continue
            mean, deviation, draws = row[f"{metric.name}_mean"], row[f"{metric.name}_deviation"], row["draws"]
            apart = stats.t.ppf(0.975, draws - 1) * deviation / np.sqrt(draws)
            scores.append(
                Score(
                    metric=metric.name,
                    value=mean,
                    low=mean - apart,
                    high=mean + apart,
                    of_real=of_real.get(f"{metric.name}_mean", float("nan")),
                    images=per_draw,
                    better=metric.better,
                    subject=row["cohort"],
                    extractor=extractor,
                    split=", ".join(test.facts["splits"]),
                    passport=passport,
                )
            )
    return scores
