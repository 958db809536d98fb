"""Cohorts that are named RUN@STEP."""

import math

import pytest

from tfcxr.evaluation.metrics import distance_metrics
from tfcxr.evaluation.protocols import ranking_steps
from tfcxr.evaluation.protocols.ranking_steps import compared_cohorts, step_parts, step_sentences
from tfcxr.evaluation.protocols.ranking_verdict import REAL


def row(name: str, distance: float, deviation: float | None = 0.5) -> dict:
    means = {f"{metric.name}_mean": distance for metric in distance_metrics()}
    return {"cohort": name, **means, **{f"{metric.name}_deviation": deviation for metric in distance_metrics()}}


TABLE = [
    row(REAL, 1.0, math.nan), row("wgan@2000", 4.0), row("wgan@3000", 5.0), row("gan", 6.0), row("wgan@1000", 9.0),
    row("b@10", 9.5), row("b@9", 9.75),
]  # fmt: skip


def test_the_step_of_the_least_distance_is_named_beside_the_last():
    assert step_sentences(TABLE) == [
        "The least Frechet distance of b is 9.5 (sd 0.5) at step 10.",
        "The least Frechet distance of wgan is 4 (sd 0.5) at step 2000, and 5 (sd 0.5) at its last step, 3000.",
    ]


def test_tests_compare_the_last_step_of_each_run():
    assert compared_cohorts(["gan", "b@10", "b@9", "wgan@1000"]) == ["gan", "b@10", "wgan@1000"]
    assert compared_cohorts(["a", "b"]) == ["a", "b"]
    assert compared_cohorts(["a@1", "a@2", "a@3"]) == ["a@1", "a@2", "a@3"], "the steps of a single run"


def test_distances_are_drawn_over_steps_with_deviations(monkeypatch):
    asked = []
    monkeypatch.setattr(ranking_steps, "interval_lines", lambda *given: asked.append(given) or b"png")
    page = "".join(step_parts(TABLE))
    ((panels, x_title, references),) = asked
    assert panels["Frechet"] == {
        "b": [(9, 9.75, 9.25, 10.25), (10, 9.5, 9, 10)],
        "wgan": [(1000, 9, 8.5, 9.5), (2000, 4, 3.5, 4.5), (3000, 5, 4.5, 5.5)],
    }
    assert x_title == "step" and references["Frechet"] == (REAL, 1.0) and "least Frechet distance of wgan" in page
    assert step_parts([row("a", 1.0), row("b@5", 2.0)]) == []


def test_lines_with_intervals_are_drawn():
    png = ranking_steps.interval_lines(
        {"AUC": {"a": [(0, 0.5, 0.4, 0.6), (1, 0.7, 0.65, 0.8)]}}, "ratio", {"AUC": ("all", 0.9)}
    )
    assert png.startswith(b"\x89PNG") and len(png) > 5000
    with pytest.raises(ValueError, match="yerr"):
        ranking_steps.interval_lines({"AUC": {"a": [(0, 0.5, 0.6, 0.7)]}}, "ratio")
