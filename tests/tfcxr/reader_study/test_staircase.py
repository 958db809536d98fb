import numpy as np
import pytest

from tfcxr.reader_study.staircase import next_exposure


@pytest.mark.parametrize(
    "results, seconds",
    [
        ([], 0.5),
        ([True, True], 0.5),
        ([True] * 3, 0.47),
        ([True] * 5, 0.47),  # three in a row count anew after each step
        ([True] * 6, 0.44),
        ([False], 0.51),
        ([True, True, False, True], 0.51),
        ([True] * 3 + [False] * 2, 0.49),
        ([True] * 100, 0.1),
        ([False] * 100, 1.0),
    ],
)
def test_exposure_follows_right_and_wrong_answers(results, seconds):
    assert next_exposure(results, 0.5) == seconds


def test_a_staircase_at_its_end_turns_round():
    assert next_exposure([True] * 60 + [False], 0.5) == 0.11
    assert next_exposure([False] * 60 + [True] * 3, 0.5) == 0.97


def test_exposure_neither_rises_nor_falls_where_three_in_a_row_have_a_chance_of_a_quarter():
    generator = np.random.default_rng(1)
    ends = [next_exposure(generator.random(24) < 0.25 ** (1 / 3), 0.5) for _ in range(2000)]
    error = np.std(ends) / len(ends) ** 0.5
    assert abs(np.mean(ends) - 0.5) < 0.004 + 3 * error  # a row that is not finished yet leaves a few milliseconds


@pytest.mark.parametrize("first", [0.05, 1.5])
def test_first_exposure_out_of_range_is_refused(first):
    with pytest.raises(ValueError, match=r"a staircase starts between 0\.1 and 1 s, got"):
        next_exposure([], first)
