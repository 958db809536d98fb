import numpy as np
import pytest

from tfcxr.reader_study.server.staircase import next_exposure


@pytest.mark.parametrize(
    "results, seconds",
    [
        ([], 0.5),
        ([True], 0.49),
        ([True, True], 0.48),
        ([False], 0.53),
        ([True, True, False, True], 0.5),
        ([True] * 100, 0.1),
        ([False] * 100, 1.0),
    ],
)
def test_exposure_follows_right_and_wrong_answers(results, seconds):
    assert next_exposure(results, 0.5) == seconds


def test_a_staircase_at_its_end_turns_round():
    assert next_exposure([True] * 60 + [False], 0.5) == 0.13
    assert next_exposure([False] * 60 + [True] * 3, 0.5) == 0.97


def test_exposure_neither_rises_nor_falls_where_three_of_four_answers_are_right():
    generator = np.random.default_rng(1)
    ends = [next_exposure(generator.random(24) < 0.75, 0.5) for _ in range(2000)]
    assert abs(np.mean(ends) - 0.5) < 3 * np.std(ends) / len(ends) ** 0.5


@pytest.mark.parametrize("first", [0.05, 1.5])
def test_first_exposure_out_of_range_is_refused(first):
    with pytest.raises(ValueError, match=r"a staircase starts between 0\.1 and 1 s, got"):
        next_exposure([], first)
