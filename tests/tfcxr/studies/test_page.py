"""Figures of ours, and how they stand beside the paper's."""

import csv
import json
import math

import pytest

from tfcxr.studies.page import Found, Results, Row

FIELDS = ("cohort", "protocol", "metric", "value", "low", "high", "images", "of_real", "split")


@pytest.fixture
def results(tmp_path):
    (tmp_path / "report").mkdir()
    rows = [
        ("a", "tstr", "auc", 0.9, 0.85, 0.95, 100, 0.95, "test"),
        ("b", "tstr", "auc", 0.8, "", "", 100, "", "test"),
    ]
    with (tmp_path / "report/scores.csv").open("w", newline="") as file:
        csv.writer(file).writerows([FIELDS, *rows])
    (tmp_path / "report/report.json").write_text(json.dumps({"verdict": ["a is nearest.", "Pairs: 1 of 3."]}))
    (tmp_path / "run").mkdir()
    lines = [{"step": step, "loss": step / 10} for step in (1, 1000, 1900)] + [{"step": 1950, "other": 1}]
    (tmp_path / "run/metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Results(tmp_path)


def test_a_score_is_found_by_its_fields_with_n_interval_and_real(results):
    found = results.score("report", cohort="a", metric="auc")
    assert str(found) == "0.9 (0.85 to 0.95), N 100, real 0.95"
    assert str(results.score("report", cohort="b")) == "0.8, N 100"
    assert results.score("report", cohort="c") == results.score("report", metric="f1") == "none in report/report.html"
    assert results.score("nowhere", cohort="a") == "none in nowhere/report.html"
    with pytest.raises(ValueError, match="2 scores of .*report have {'metric': 'auc'}; name more fields"):
        results.score("report", metric="auc")


def test_a_sentence_of_the_verdict_is_found_by_its_beginning(results):
    assert results.sentence("report", "Pairs") == "Pairs: 1 of 3."
    assert results.sentence("report", "b ") == "none in report/report.html"
    assert results.sentence("nowhere", "Pairs") == "none in nowhere/report.html"


def test_a_logged_value_is_that_of_the_nearest_step(results):
    assert str(results.logged("run", 1901, "loss")) == "190, step 1900"
    assert results.logged("run", 0, "nothing") == results.logged("run", 5, "nothing") == "none in run/metrics.jsonl"


def test_a_file_is_named_where_it_is(results):
    assert results.file("run/*.jsonl") == "run/metrics.jsonl"
    assert results.file("run/*.png") == "no file run/*.png"


def test_a_difference_stands_where_both_are_numbers():
    found = Found(0.8, images=10)
    assert Row("Table 1", "accuracy", 0.85, found, "why").cells == [
        *("Table 1", "accuracy", "0.85", "0.8, N 10", "-0.05", "why")
    ]
    assert Row("", "", "shown", found).cells[4] == ""
    assert Row("", "", 0.85, Found(math.nan)).cells[3:5] == ["none", ""]
    assert [str(Found(value)) for value in (0.12345, 999.6, -202995.0)] == ["0.123", "1,000", "-203,000"]
    assert Row("", "", 0.85, "not here").cells[3:5] == ["not here", ""]
