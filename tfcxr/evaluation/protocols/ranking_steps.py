"""Distances over the steps of a training, of cohorts that are named RUN@STEP (Chetty 2023, figures 3, 6 and 7)."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tfcxr.evaluation.metrics import distance_metrics
from tfcxr.evaluation.protocols.ranking_verdict import REAL, deviation_text
from tfcxr.evaluation.report import html
from tfcxr.evaluation.report.interval_plots import interval_lines

Row = Mapping[str, Any]


def compared_cohorts(names: Sequence[str]) -> list[str]:
    """The cohorts that t-tests compare: of each run the last step; all where there is a single run."""
    last: dict[str, str] = {}
    for name in names:
        run, step = _run_and_step(name)
        if run not in last or step > _run_and_step(last[run])[1]:
            last[run] = name
    return list(last.values()) if len(last) > 1 else list(names)


def step_sentences(table: Sequence[Row]) -> list[str]:
    """Of each run with several steps, the least distance and its step, beside the last one."""
    metric, said = distance_metrics()[0], []
    for run, rows in _runs(table).items():
        distance = lambda row: f"{row[f'{metric.name}_mean']:{metric.format}}{deviation_text(row, metric)}"  # noqa: E731
        least = min(rows.values(), key=lambda row: row[f"{metric.name}_mean"])
        step, last = next(step for step, row in rows.items() if row is least), max(rows)
        after = "" if step == last else f", and {distance(rows[last])} at its last step, {last}"
        said.append(f"The least {metric.title} distance of {run} is {distance(least)} at step {step}{after}.")
    return said


def step_parts(table: Sequence[Row]) -> list[str]:
    """HTML: every distance over the steps, with standard deviations of the draws; [] where no run has several."""
    runs = _runs(table)
    if not runs:
        return []
    panels: dict[str, dict[str, list[tuple[float, float, float, float]]]] = {}
    references = {}
    for metric in distance_metrics():
        panels[metric.title] = {
            run: [
                (step, row[f"{metric.name}_mean"], *_ends(row[f"{metric.name}_mean"], row[f"{metric.name}_deviation"]))
                for step, row in rows.items()
            ]
            for run, rows in runs.items()
        }
        for row in table:
            if row["cohort"] == REAL:
                references[metric.title] = (REAL, row[f"{metric.name}_mean"])
    plot = html.picture(interval_lines(panels, "step", references), "distance over steps")
    return [
        "<h3>Distances over steps</h3>",
        plot,
        "<p class=small>Bars: one standard deviation of the draws.</p>",
        html.sentences(step_sentences(table)),
    ]


def _ends(mean: float, deviation: float | None) -> tuple[float, float]:
    return mean - (deviation or 0), mean + (deviation or 0)


def _runs(table: Sequence[Row]) -> dict[str, dict[int, Row]]:
    """Rows by run and step, the first step first, of runs with several steps."""
    runs: dict[str, dict[int, Row]] = {}
    for row in table:
        run, step = _run_and_step(row["cohort"])
        if step >= 0:
            runs.setdefault(run, {})[step] = row
    return {run: dict(sorted(rows.items())) for run, rows in sorted(runs.items()) if len(rows) > 1}


def _run_and_step(name: str) -> tuple[str, int]:
    """Both parts of RUN@STEP; the step is -1 where there is none."""
    match = re.fullmatch(r"(.+)@(\d+)", name)
    return (match[1], int(match[2])) if match else (name, -1)
