import dataclasses
import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tfcxr.reader_study.readings import Reading
from tfcxr.reader_study.statistics.analysis import ANALYSES
from tfcxr.reader_study.statistics.logistic_regression import logistic_regression
from tfcxr.reader_study.statistics.time_and_learning import time_and_learning


def answer(reader, position, is_correct, seconds=5.0, case=None, **fields):
    case = case or f"case {position}"
    made = {"item": f"item {case}", "kind": "single"} | fields
    return Reading(reader, "", made.pop("item"), made.pop("kind"), case, "", (), True, is_correct, seconds=seconds,
                   position=position, **made)  # fmt: skip


def learners(slope, readers=6, count=60, seed=0):
    """Readers whose log odds rise by `slope` per ten questions, each in an order of their own."""
    generator = np.random.default_rng(seed)
    study = []
    for reader in range(readers):
        for position, case in enumerate(generator.permutation(count)):
            chance = 1 / (1 + np.exp(1 - 0.3 * reader - slope * position / 10))
            study.append(answer(f"R{reader}", position, bool(generator.random() < chance), case=f"case {case}"))
    return study


def test_seconds_by_hand():
    times, right = [4, 8, 6, 20], [True, True, True, False]
    study = [answer("R1", n, ok, t) for n, (t, ok) in enumerate(zip(times, right, strict=True))]
    found = time_and_learning(study).numbers["seconds"]["single"]
    assert found["right"] == {"median": 6, "lower_quartile": 5, "upper_quartile": 7, "questions": 3}
    assert found["mistakes"]["median"] == 20 and found["all"]["median"] == 7


def test_grid_is_timed_once_and_right_if_all_its_images_are():
    grid = [answer("R1", 0, n != 3, 30.0, f"image {n}", item="grid", kind="grid") for n in range(6)]
    found = time_and_learning(grid).numbers["seconds"]["grid"]
    assert found["mistakes"]["questions"] == found["all"]["questions"] == 1 and "right" not in found


def test_times_of_a_jumping_clock_are_left_out_and_counted():
    absurd = [None, -3.0, 0.1, 4000.0, float("nan"), float("inf"), 5.0]
    analysis = time_and_learning([answer("R1", n, True, seconds) for n, seconds in enumerate(absurd)])
    assert analysis.numbers["left_out"] == {"unknown": 3, "too_short": 2, "too_long": 1}
    assert analysis.numbers["seconds"]["single"]["all"]["questions"] == 1
    assert any("times of 6 questions are left out: 3 unknown, 2 below 0.2 s, 1 above" in s for s in analysis.sentences)


def test_mistakes_that_take_twice_as_long():
    """Ratios of geometric means of 1 and 4, so 2 over both readers."""
    study = [
        answer("R1", 0, True, 4.0),
        answer("R1", 1, False, 4.0),
        answer("R2", 0, True, 2.0),
        answer("R2", 1, False, 8.0),
    ]
    found = time_and_learning(study).numbers["mistakes_over_right"]
    assert found.value == pytest.approx(2) and found.low < 1 < found.high and found.count == 2


def test_learning_is_found_and_its_absence_too():
    learning = time_and_learning(learners(0.5)).numbers["learning"]["odds_ratio_per_ten_questions"]
    assert learning.low > 1 and learning.low < np.exp(0.5) < learning.high
    analysis = time_and_learning(learners(0.0))
    none = analysis.numbers["learning"]["odds_ratio_per_ten_questions"]
    assert none.low < 1 < none.high
    assert any("neither clearly better nor worse" in sentence for sentence in analysis.sentences)


def test_slope_is_scikit_learns():
    study = learners(0.3)
    columns = [[r.position / 10, *(float(r.reader == f"R{n}") for n in range(6))] for r in study]
    model = LogisticRegression(C=1e10, fit_intercept=False, tol=1e-10, max_iter=1000)
    expected = model.fit(columns, [r.is_correct for r in study]).coef_[0, 0]
    assert time_and_learning(study).numbers["learning"]["slope"] == pytest.approx(expected, abs=1e-4)


def test_halves_by_hand():
    """Six questions each: R1 is right 1/3 then 3/3, R2 2/3 then 3/3."""
    study = [answer("R1", n, n not in (0, 1)) for n in range(6)] + [answer("R2", n, n != 0) for n in range(6)]
    halves = time_and_learning(study).numbers["halves"]
    assert halves["first"].value == 0.5 and halves["second"].value == 1
    assert halves["second_minus_first"].value == pytest.approx(0.5)
    assert halves["second_minus_first"].high == pytest.approx(0.5 + 12.706 / 6, abs=1e-3)  # t of one degree, error 1/6


def test_readers_always_right_tell_nothing_of_the_slope():
    study = learners(0.3)
    with_perfect = study + [answer("perfect", n, True) for n in range(60)]
    assert time_and_learning(with_perfect).numbers["learning"] == time_and_learning(study).numbers["learning"]
    assert time_and_learning([answer("perfect", n, True) for n in range(60)]).numbers["learning"] is None


def test_repeats_and_timed_images_tell_nothing_of_learning():
    study = learners(0.3, count=20)
    more = [dataclasses.replace(r, item="again", repeat_of=r.item) for r in study[:20]]
    more += [dataclasses.replace(r, item="timed", exposure_seconds=0.5) for r in study[:20]]
    assert time_and_learning(study + more).numbers["learning"] == time_and_learning(study).numbers["learning"]


def test_separated_answers_have_no_slope():
    study = [answer(f"R{reader}", n, n >= 5) for reader in range(2) for n in range(10)]
    assert time_and_learning(study).numbers["learning"] is None


def test_nothing_is_none():
    assert time_and_learning([]) is None


def test_json_takes_the_numbers():
    json.dumps(ANALYSES["time"](learners(0.3)).numbers, default=dataclasses.asdict, allow_nan=False)


def test_logistic_regression_of_a_table():
    """Two by two: 10 of 30 against 20 of 30: log odds ratio log 4, variance 1/10 + 1/20 + 1/20 + 1/10."""
    columns = np.repeat([[1.0, 0], [1, 1]], 30, axis=0)
    is_one = np.repeat([1.0, 0, 1, 0], [10, 20, 20, 10])
    fit = logistic_regression(columns, is_one)
    assert fit.coefficients == pytest.approx([np.log(0.5), np.log(4)])
    assert fit.covariance[1, 1] == pytest.approx(0.3)


def test_clusters_of_one_row_give_the_sandwich_and_doubled_rows_twice_it():
    generator = np.random.default_rng(0)
    columns = np.column_stack([np.ones(50), generator.normal(size=50)])
    is_one = (generator.random(50) < 0.5).astype(float)
    alone, rows = logistic_regression(columns, is_one), np.arange(50)
    doubled = logistic_regression(np.tile(columns, (2, 1)), np.tile(is_one, 2))
    # rows that come in identical pairs carry no more information than half of them
    assert doubled.clustered_variance(np.tile(rows, 2)) == pytest.approx(alone.clustered_variance(rows))
    assert doubled.clustered_variance(np.arange(100)) == pytest.approx(alone.clustered_variance(rows) / 2)


def test_two_sets_of_clusters_count_rows_in_both_once():
    generator = np.random.default_rng(0)
    columns, is_one = np.ones((40, 1)), (generator.random(40) < 0.5).astype(float)
    fit = logistic_regression(columns, is_one)
    rows = np.arange(40)
    assert fit.clustered_variance(rows, rows) == pytest.approx(fit.clustered_variance(rows))


def test_dependent_columns_have_no_fit():
    assert logistic_regression(np.ones((6, 2)), np.array([0, 1, 0, 1, 1, 0.0])) is None
