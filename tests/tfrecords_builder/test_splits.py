import numpy as np
import pytest

from tfrecords_builder.splits import (
    check_fractions,
    describe,
    hashed_split,
    parse_fractions,
    split_new_patients,
    split_patients,
)

FRACTIONS = {"train": 0.7, "validation": 0.1, "held_out": 0.2}


def cohort(patients=400, seed=0):
    """Mean labels of four findings: common, rare, mixed within a patient, and one mostly unknown."""
    random = np.random.default_rng(seed)
    labels = np.stack(
        [
            random.random(patients) < 0.5,
            random.random(patients) < 0.05,
            random.integers(0, 5, patients) / 4,
            np.where(random.random(patients) < 0.8, np.nan, 1.0),
        ],
        axis=1,
    ).astype(float)
    return {f"p{number}": label for number, label in enumerate(labels)}


@pytest.mark.parametrize("seed", range(5))
def test_every_patient_is_in_one_split_and_labels_are_balanced(seed):
    labels = cohort(seed=seed)
    splits = split_patients(labels, FRACTIONS, seed)
    assert splits.keys() == labels.keys()
    overall = np.nanmean(np.nan_to_num(np.stack(list(labels.values()))), axis=0)
    for name, fraction in FRACTIONS.items():
        members = [patient for patient, split in splits.items() if split == name]
        assert abs(len(members) - 400 * fraction) <= 8  # balanced labels go before exact sizes
        # A random division of 40 patients would stray by .08 (one standard deviation) for the common finding.
        means = np.nan_to_num(np.stack([labels[patient] for patient in members])).mean(axis=0)
        np.testing.assert_allclose(means, overall, atol=0.05)


def test_the_rarest_finding_reaches_every_split():
    labels = {f"p{number}": np.array([number < 10, 1.0]) for number in range(200)}
    splits = split_patients(labels, FRACTIONS, 0)
    found = [splits[f"p{number}"] for number in range(10)]
    assert [found.count(name) for name in FRACTIONS] == [7, 1, 2]


def test_order_of_patients_does_not_matter_but_the_seed_does():
    labels = cohort()
    reordered = dict(sorted(labels.items(), reverse=True))
    assert split_patients(labels, FRACTIONS, 3) == split_patients(reordered, FRACTIONS, 3)
    assert split_patients(labels, FRACTIONS, 3) != split_patients(labels, FRACTIONS, 4)


def test_one_split_takes_all():
    assert set(split_patients(cohort(5), {"test": 1.0}, 0).values()) == {"test"}


def test_too_few_patients():
    with pytest.raises(ValueError, match="2 patients are too few for the splits train=0.7,.*some split would be empty"):
        split_patients(cohort(2), FRACTIONS, 0)
    with pytest.raises(ValueError, match="4 patients are too few .* split 'rest' would be empty"):
        split_patients({f"p{number}": np.array([1.0]) for number in range(4)}, {"train": 0.999, "rest": 0.001}, 0)


def test_fractions_are_read_and_written():
    assert parse_fractions("train=.7, validation=.1,held_out=.2") == FRACTIONS
    assert parse_fractions(describe(FRACTIONS)) == FRACTIONS


@pytest.mark.parametrize(
    "text, message",
    [
        ("train", "expected splits such as"),
        ("train=much", "expected splits such as"),
        ("train=.5,train=.5", "each name once"),
        ("train=.5,test=.4", "add up to 0.9, expected 1"),
        ("train=1.5,test=-.5", "'train' expects a fraction above 0 and at most 1, got 1.5"),
        ("Train set=1", "split name 'Train set' expects small letters"),
    ],
)
def test_wrong_fractions(text, message):
    with pytest.raises(ValueError, match=message):
        parse_fractions(text)


def test_not_a_number_is_no_fraction():
    with pytest.raises(ValueError, match="got nan"):
        check_fractions({"train": float("nan")})


def test_hashed_shares_come_out_and_depend_on_the_seed():
    patients = [f"p{number}" for number in range(4000)]
    first, second = ([hashed_split(patient, FRACTIONS, seed) for patient in patients] for seed in (0, 1))
    for name, fraction in FRACTIONS.items():
        assert first.count(name) / 4000 == pytest.approx(fraction, abs=0.03)
    assert first != second


def test_new_patients_fill_up_the_splits_that_lack_most():
    labels = cohort(400)
    kept = {f"p{number}": "train" for number in range(200)}
    splits = split_new_patients(labels, kept, FRACTIONS, seed=0)
    assert all(splits[patient] == "train" for patient in kept)
    for name, fraction in FRACTIONS.items():
        assert sum(split == name for split in splits.values()) == pytest.approx(400 * fraction, abs=4)


def test_a_few_new_patients_go_where_most_are_missing_and_none_into_a_full_split():
    labels = cohort(100)
    kept = {f"p{number}": "train" if number < 90 else "held_out" for number in range(98)}
    splits = split_new_patients(labels, kept, FRACTIONS, seed=0)
    assert [splits["p98"], splits["p99"]] == ["held_out", "held_out"]
    kept = {f"p{number}": "gone" for number in range(100)}
    assert split_new_patients(labels, kept, FRACTIONS, seed=0) == kept


def test_new_patients_are_divided_as_soon_as_every_open_split_can_get_two():
    halves = {"train": 0.5, "test": 0.5}
    kept = {f"p{number}": ("train", "test")[number % 2] for number in range(16)}
    splits = split_new_patients(cohort(20), kept, halves, seed=0)
    assert sorted(splits[f"p{number}"] for number in range(16, 20)) == ["test", "test", "train", "train"]
    kept = {f"p{number}": ("train", "test")[number % 2] for number in range(17)}  # three new ones, two lack in test
    splits = split_new_patients(cohort(20), kept, halves, seed=0)
    assert {splits[f"p{number}"] for number in range(17, 20)} == {"test"}
    kept = {f"p{number}": "train" if number < 9 else "test" for number in range(16)}  # 1 and 3 lack
    splits = split_new_patients(cohort(20), kept, halves, seed=0)
    assert sorted(splits[f"p{number}"] for number in range(16, 20)) == ["test", "test", "test", "train"]
