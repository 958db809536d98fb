import numpy as np

from tfcxr.evaluation.cohorts import split_off_validation
from tfcxr.evaluation.protocols.tstr_arms import synthetic_patients


def test_the_images_of_a_pseudo_patient_never_train_and_validate():
    keys = np.repeat([f"synthetic-{number}" for number in range(30)], 4)
    groups = synthetic_patients(keys)
    is_kept_back = split_off_validation(groups, 0.2, seed=0)
    assert 0 < is_kept_back.sum() < len(keys)
    assert not set(keys[is_kept_back]) & set(keys[~is_kept_back])


def test_images_of_their_own_are_divided_as_they_always_were():
    assert synthetic_patients(np.array(["a", "c", "b"])).tolist() == [0, 1, 2]
    assert synthetic_patients(np.array(["", "", ""])).tolist() == [0, 1, 2]
