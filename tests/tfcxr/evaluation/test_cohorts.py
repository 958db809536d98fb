import numpy as np
import pytest

from tfcxr.data.records import shard_name
from tfcxr.evaluation.cohorts import Cohorts, check_folders, load_cohorts, split_off_validation
from tfcxr.evaluation.evaluation import Evaluation


def evaluation(disc_records, synthetic_dir, tmp_path, **changes) -> Evaluation:
    given = {"synthetic_dirs": {"acgan": synthetic_dir}, "real_dir": disc_records, "out_dir": tmp_path / "eval"}
    return Evaluation(**given | changes)


def load(request: Evaluation, images: int | None = None, **how) -> Cohorts:
    check_folders(request)
    return load_cohorts(request, request.real_info.label_names, images, **how)


def test_sides_are_loaded_whole_or_in_part(disc_records, synthetic_records, tmp_path):
    request = evaluation(disc_records, synthetic_records, tmp_path, validation_splits=("validation",))
    cohorts = load(request)
    assert cohorts.real.images.shape == (48, 32, 32, 1) and cohorts.only_synthetic.images.shape == (80, 32, 32, 1)
    assert len(cohorts.validation.images) == 16 and len(cohorts.tests["test"].images) == 16
    assert cohorts.shared_patients == ()
    assert cohorts.real.facts["patients"] == 24 and cohorts.only_synthetic.facts["patients"] is None
    assert cohorts.real.facts["positives"] == {"NORMAL": 24, "PNEUMONIA": 24}
    assert cohorts.real.facts["sha256"] != cohorts.tests["test"].facts["sha256"]
    some = load(request, images=10)
    assert len(some.real.images) == len(some.only_synthetic.images) == 10


def test_labels_are_aligned_by_name(disc_records, copy_as_synthetic, tmp_path):
    swapped = copy_as_synthetic(tmp_path / "swapped", label_names=("PNEUMONIA", "NORMAL"))
    request = evaluation(disc_records, swapped, tmp_path, synthetic_splits=("train",))
    cohorts = load(request)
    assert cohorts.label_names == ("NORMAL", "PNEUMONIA")
    np.testing.assert_array_equal(cohorts.only_synthetic.labels, cohorts.real.labels[:, ::-1])


def test_unequal_prevalence_is_said(disc_records, synthetic_records, copy_as_synthetic, tmp_path):
    swapped = copy_as_synthetic(tmp_path / "swapped", label_names=("PNEUMONIA", "NORMAL"))
    request = evaluation(disc_records, swapped, tmp_path, synthetic_splits=("train",))
    notices = load(request, images=7).notices  # the same 7 images on both sides, under swapped labels
    assert len(notices) == 2 and all("differ in prevalence" in notice for notice in notices)
    assert load(evaluation(disc_records, synthetic_records, tmp_path)).notices == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"label_names": ("NORMAL", "EFFUSION")},
            "labels differ: .* has one of NORMAL, PNEUMONIA, .* NORMAL, EFFUSION",
        ),
        ({"is_single_label": False}, "labels differ: .* has any of NORMAL, PNEUMONIA"),
        ({"image_size": 64}, "holds images of 32 px, .* of 64 px; give one size"),
        ({"is_synthetic": False}, "--synthetic_dir=.* holds real images"),
        ({"provenance": {}}, "does not say on which patients its generator was trained"),
        ({"salt_fingerprint": "other"}, "generator's training data and the test set .* different salts"),
    ],
)
def test_a_cohort_that_cannot_be_compared_is_refused(disc_records, copy_as_synthetic, tmp_path, changes, message):
    cohort = copy_as_synthetic(tmp_path / "cohort", **changes)
    with pytest.raises(ValueError, match=message):
        load(evaluation(disc_records, cohort, tmp_path))


def test_a_missing_list_of_training_patients_is_refused(disc_records, copy_as_synthetic, tmp_path):
    cohort = copy_as_synthetic(tmp_path / "cohort")
    (cohort / "training_patients.txt").unlink()
    with pytest.raises(ValueError, match=r"training_patients.txt is missing"):
        load(evaluation(disc_records, cohort, tmp_path))
    only_real = load(evaluation(disc_records, cohort, tmp_path), uses_generator=False)
    assert only_real.shared_patients == ()  # nothing learns from the generator


def test_synthetic_images_in_place_of_real_ones_are_refused(disc_records, synthetic_records, tmp_path):
    with pytest.raises(ValueError, match="--real_dir=.* holds synthetic images"):
        load(evaluation(synthetic_records, synthetic_records, tmp_path))
    with pytest.raises(ValueError, match="--test_dir=.* holds synthetic images .* test on real patients"):
        load(evaluation(disc_records, synthetic_records, tmp_path, test_dirs={"": synthetic_records}))


def test_test_patients_of_the_generator_are_refused(disc_records, copy_as_synthetic, tmp_path):
    cohort = copy_as_synthetic(tmp_path / "cohort", training_patients=("patient-test-3", "patient-train-0"))
    message = "1 of the 8 patients of split 'test' are also in the generator's training data; .*--allow_shared_patients"
    with pytest.raises(ValueError, match=message):
        load(evaluation(disc_records, cohort, tmp_path))
    allowed = load(evaluation(disc_records, cohort, tmp_path, allow_shared_patients=True))
    assert len(allowed.shared_patients) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_splits": ("test", "train")}, "24 of the 24 patients of split 'train' are also in the training data"),
        ({"validation_splits": ("test",)}, "8 of the 8 patients of split 'test' are also in the validation data"),
        (
            {"validation_splits": ("train",)},
            "24 of the 24 patients of split 'validation' are also in the training data",
        ),
    ],
)
def test_shared_real_patients_are_refused(disc_records, synthetic_records, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        load(evaluation(disc_records, synthetic_records, tmp_path, **changes))


def test_patients_under_another_salt_cannot_be_compared(disc_records, synthetic_records, copy_records, tmp_path):
    other = copy_records(tmp_path / "other", salt_fingerprint="other")
    with pytest.raises(ValueError, match="test set .* training set .* different salts"):
        load(evaluation(disc_records, synthetic_records, tmp_path, test_dirs={"": other}), uses_generator=False)


def test_an_unknown_split_is_refused(disc_records, synthetic_records, tmp_path):
    with pytest.raises(ValueError, match="has no split 'tset'; it has .*train"):
        load(evaluation(disc_records, synthetic_records, tmp_path, test_splits=("tset",)))


def test_an_altered_shard_is_refused(disc_records, copy_records, synthetic_records, tmp_path):
    altered = copy_records(tmp_path / "altered")
    shard = altered / shard_name("test", 0, 3)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="was altered"):
        load(evaluation(altered, synthetic_records, tmp_path))


def test_validation_takes_whole_patients():
    patients = np.repeat(np.arange(40), np.arange(40) % 4 + 1)
    chosen = split_off_validation(patients, 0.2, seed=0)
    assert not set(patients[chosen]) & set(patients[~chosen])
    assert 0.2 <= chosen.mean() < 0.25
    np.testing.assert_array_equal(chosen, split_off_validation(patients, 0.2, seed=0))
    assert not np.array_equal(chosen, split_off_validation(patients, 0.2, seed=1))


def test_validation_leaves_patients_to_train_on():
    assert split_off_validation(np.array([0, 0, 1]), 0.99, 0).sum() in (1, 2)
    assert split_off_validation(np.array([0, 1, 2]), 0.0, 0).sum() == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classifier_seeds": (1, 1)}, "--classifier_seeds expects one or more different values"),
        ({"classifier_seeds": ()}, "--classifier_seeds expects one or more different values"),
        ({"classifier_seeds": (-1,)}, "--classifier_seeds must be 0 or more"),
        ({"test_splits": ()}, "--test_splits names no split"),
        ({"train_splits": ("train", "train")}, "--train_splits names a split twice: train,train"),
        ({"synthetic_dirs": {}}, "--synthetic_dir names no cohort"),
    ],
)
def test_facts_out_of_range_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        evaluation(tmp_path, tmp_path, tmp_path, **changes)
