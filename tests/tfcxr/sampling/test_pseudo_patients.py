"""Pseudo-patients: how the images of a cohort are grouped."""

import collections

import numpy as np
import pytest

from tfcxr.sampling.cohort_labels import CohortLabels
from tfcxr.sampling.pseudo_patients import divide_patients, first_of_each_row, plan_patients


def labels_of(*counts):
    order = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    return CohortLabels(np.eye(len(counts), dtype=np.float32), order, {})


def test_every_image_has_a_patient_of_three_to_six():
    patients = plan_patients(labels_of(200, 7, 3, 0), seed=1)
    images = collections.Counter()
    for patient in patients:
        images[patient.row] += patient.images
    assert images == {0: 200, 1: 7, 2: 3}
    assert {patient.images for patient in patients} == {3, 4, 5, 6}
    assert [patient.number for patient in patients] == list(range(len(patients)))
    rows = [patient.row for patient in patients]
    assert rows != sorted(rows)  # in a random order
    assert patients == plan_patients(labels_of(200, 7, 3, 0), seed=1) != plan_patients(labels_of(200, 7, 3, 0), seed=2)


@pytest.mark.parametrize("count", range(1, 60))
def test_sizes_add_up(count):
    for seed in range(5):
        sizes = [patient.images for patient in plan_patients(labels_of(count), seed)]
        assert sum(sizes) == count
        assert all(3 <= size <= 6 for size in sizes) if count >= 3 else sizes == [count]


def test_a_patient_stays_in_one_shard():
    patients = plan_patients(labels_of(100), seed=0)
    shards = divide_patients(patients, shard_images=20)
    assert [patient for shard in shards for patient in shard] == patients
    images = [sum(patient.images for patient in shard) for shard in shards]
    assert max(images) <= 20 and min(images[:-1]) > 14
    assert len(divide_patients(patients, shard_images=1)) == len(patients)


def test_the_first_patients_of_each_combination():
    patients = plan_patients(labels_of(200, 7, 3), seed=1)
    first = first_of_each_row(patients, 2)
    assert [sum(patients[number].row == row for number in first) for row in range(3)] == [2, 2, 1]
    assert all(number in first for number in [patient.number for patient in patients if patient.row == 0][:2])
