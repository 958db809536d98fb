import dataclasses
import math

import numpy as np
import pytest

from tfcxr.reader_study.answers import Answer
from tfcxr.reader_study.readings import readings
from tfcxr.reader_study.simulation.reader_model import CONFIDENCE_CUTS, ReaderSkill, SimulatedReaders
from tfcxr.reader_study.simulation.true_values import true_values


def answers_of(design, key, skill, seed=0):
    model = SimulatedReaders(design, key, skill, seed)
    return [
        Answer(
            f"{reader} {item}", reader, item, "final", model.answer(reader, item, design.items[item].exposure_seconds)
        )
        for reader in design.readers
        for item in design.readers[reader].items
    ]


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"case_spread": -1.0}, "spreads must be 0 or more"),
        ({"time_constant": 0.0}, "time constant above 0"),
        ({"mean": math.nan}, "must be finite"),
    ],
)
def test_skill_out_of_range_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        ReaderSkill(**fields)


def test_same_seed_gives_the_same_answers(designed):
    design, key = designed()
    assert answers_of(design, key, ReaderSkill()) == answers_of(design, key, ReaderSkill())
    assert answers_of(design, key, ReaderSkill()) != answers_of(design, key, ReaderSkill(), seed=1)


def test_perfect_readers_are_always_right(designed):
    design, key = designed()
    found = readings(design, key, answers_of(design, key, ReaderSkill(mean=50.0)))
    assert len(found) == 3 * (6 + 2 + 2) and all(reading.is_correct for reading in found)
    assert {reading.rating for reading in found if reading.kind == "single"} == {-5, 5}


def test_bias_moves_answers_towards_real(designed):
    design, key = designed()
    answers = answers_of(design, key, ReaderSkill(bias=50.0))
    images = [reading for reading in readings(design, key, answers) if reading.kind != "pair"]
    assert not any(reading.said_synthetic for reading in images)


def test_without_exposure_there_is_no_skill():
    skill = ReaderSkill(time_constant=0.25)
    assert skill.evidence(0.0) == 0 and skill.evidence(None) == 1
    assert skill.evidence(0.25) == pytest.approx(1 - math.exp(-1))


@pytest.mark.thorough
def test_grades_are_fifths_of_a_guesser(designed):
    design, key = designed(readers=2000, grids=0, pairs=0, singles=2)
    skill = ReaderSkill(mean=0.0, reader_spread=0.0, case_spread=0.0)
    ratings = [reading.rating for reading in readings(design, key, answers_of(design, key, skill))]
    grades, counts = np.unique(np.abs(ratings), return_counts=True)
    assert list(grades) == [1, 2, 3, 4, 5]
    assert counts / len(ratings) == pytest.approx(np.full(5, 0.2), abs=0.03)  # 4,000 answers: sd .0063
    assert len(CONFIDENCE_CUTS) == 4


def test_seconds_are_lognormal_around_the_median(designed):
    design, key = designed(readers=3000)
    model = SimulatedReaders(design, key, ReaderSkill(), 0)
    logarithms = np.log([model.seconds(reader, "pair0") for reader in design.readers])
    assert logarithms.mean() == pytest.approx(math.log(8), abs=0.04)
    assert logarithms.std() == pytest.approx(0.5, abs=0.03)  # sqrt(.3^2 + .4^2)


def test_offered_findings_alone_are_named(designed):
    design, key = designed(readers=20)
    named = [
        answer.answer["diagnoses"] for answer in answers_of(design, key, ReaderSkill()) if answer.item == "single0"
    ]
    assert ["Mass"] in named and [] in named and all(set(names) <= {"Mass"} for names in named)
    without = dataclasses.replace(design, diagnoses=())
    assert not any(answer.answer.get("diagnoses") for answer in answers_of(without, key, ReaderSkill()))


def test_true_values_by_hand(designed):
    design, key = designed()
    values = true_values(design, key, ReaderSkill(mean=2.0, reader_spread=0.0, case_spread=0.0, bias=0.0))
    assert values["real_called_real"] == values["synthetic_called_synthetic"] == pytest.approx(0.8413447)  # Phi(1)
    assert values["pairs_right"] == pytest.approx(0.9213504)  # Phi(2 / sqrt 2)
    assert values["error_share"] == values["hype_infinity"] == pytest.approx(0.1586553)
    assert values["synthetic_called_real"] == values["real_called_synthetic"] == pytest.approx(0.1586553)
    # with spreads: 1 / sqrt(1 + .6^2 / 4 + .8^2) = .7602859, Phi(.7602859) = .7764578
    values = true_values(design, key, ReaderSkill(mean=2.0, reader_spread=0.6, case_spread=0.8, bias=0.0))
    assert values["real_called_real"] == pytest.approx(0.7764578, abs=1e-6)


def test_bias_and_exposure_count_in_true_values(designed):
    design, key = designed(grids=0, pairs=0, exposure_seconds=0.25)
    skill = ReaderSkill(mean=2.0, reader_spread=0.0, case_spread=0.0, bias=0.5)
    values = true_values(design, key, skill)
    reached = 1 - math.exp(-1)
    assert values["real_called_real"] == pytest.approx(0.5 * math.erfc(-(reached + 0.5) / math.sqrt(2)))
    assert values["synthetic_called_synthetic"] == pytest.approx(0.5 * math.erfc(-(reached - 0.5) / math.sqrt(2)))


def test_timed_items_count_where_there_are_no_others(designed):
    skill = ReaderSkill(mean=2.0, reader_spread=0.0, case_spread=0.0)
    values = true_values(*designed(exposure_seconds=0.25), skill)
    assert values["real_called_real"] == pytest.approx(0.8413447)  # of the grid alone
    assert values["auc"] < true_values(*designed(), skill)["auc"]


def test_plain_and_balanced_errors_differ_with_the_mix(designed):
    design, key = designed(pairs=0, singles=0)
    key |= {
        image: dataclasses.replace(key[image], is_synthetic=image == design.items["grid0"].images[0]) for image in key
    }
    values = true_values(design, key, ReaderSkill(mean=2.0, reader_spread=0.0, case_spread=0.0, bias=1.0))
    # one synthetic image, right with Phi(1 - 1) = .5; five real ones, right with Phi(1 + 1) = .9772499
    assert values["hype_infinity"] == pytest.approx((0.5 + 0.0227501) / 2, abs=1e-6)
    assert values["error_share"] == pytest.approx((0.5 + 5 * 0.0227501) / 6, abs=1e-6)


def test_staircase_asks_for_one_answer_and_has_no_true_values(designed):
    design, key = designed(grids=0, pairs=0, exposure_seconds=0.5)
    items = {name: dataclasses.replace(item, is_staircase=not item.is_training) for name, item in design.items.items()}
    design = dataclasses.replace(design, items=items)
    assert true_values(design, key, ReaderSkill()) == {}
    answers = {answer.item: answer.answer for answer in answers_of(design, key, ReaderSkill())}
    assert set(answers["single0"]) == {"synthetic"} and "confidence" in answers["training"]


def test_guessers_have_an_auc_of_a_half(designed):
    design, key = designed()
    assert true_values(design, key, ReaderSkill(mean=0.0))["auc"] == pytest.approx(0.5)


def test_true_values_are_what_many_readers_reach(designed):
    """Each of 1,500 readers has images of its own, so rates have standard errors of .004 to .007."""
    skill = ReaderSkill(mean=1.2, reader_spread=0.6, case_spread=0.7, bias=0.3)
    design, key = designed(readers=1)
    values = true_values(design, key, skill)
    found, areas = [], []
    for seed in range(1500):
        of_study = readings(design, key, answers_of(design, key, skill, seed))
        found += of_study
        ratings = {reading.is_synthetic: reading.rating for reading in of_study if reading.kind == "single"}
        areas.append((ratings[True] > ratings[False]) + (ratings[True] == ratings[False]) / 2)
    images = [reading for reading in found if reading.kind != "pair"]
    for is_synthetic, name in ((False, "real_called_real"), (True, "synthetic_called_synthetic")):
        rate = np.mean([reading.is_correct for reading in images if reading.is_synthetic == is_synthetic])
        assert rate == pytest.approx(values[name], abs=0.03)
    assert np.mean([reading.is_correct for reading in found if reading.kind == "pair"]) == pytest.approx(
        values["pairs_right"], abs=0.03
    )
    assert np.mean(areas) == pytest.approx(values["auc"], abs=0.04)
