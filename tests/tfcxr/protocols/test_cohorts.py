import numpy as np
import pytest

from tfcxr.data.records import shard_name
from tfcxr.protocols.cohorts import load_comparison, split_off_validation
from tfcxr.protocols.settings import EvaluationSettings


def settings(disc_records, synthetic_dir, tmp_path, **changes) -> EvaluationSettings:
    return EvaluationSettings(
        **{"synthetic_dir": synthetic_dir, "real_dir": disc_records, "out_dir": tmp_path / "eval"} | changes
    )


def test_both_sides_have_as_many_images(disc_records, synthetic_records, tmp_path):
    comparison = load_comparison(settings(disc_records, synthetic_records, tmp_path, validation_splits=("validation",)))
    assert comparison.real.images.shape == comparison.synthetic.images.shape == (48, 32, 32, 1)
    assert len(comparison.validation.images) == 16 and len(comparison.tests["test"].images) == 16
    assert comparison.shared_patients == ()
    assert comparison.real.passport["patients"] == 24
    assert comparison.real.passport["positives"] == {"NORMAL": 24, "PNEUMONIA": 24}
    assert comparison.real.passport["sha256"] != comparison.tests["test"].passport["sha256"]
    some = load_comparison(settings(disc_records, synthetic_records, tmp_path, images=10))
    assert len(some.real.images) == len(some.synthetic.images) == 10


def test_labels_are_aligned_by_name(disc_records, copy_as_synthetic, tmp_path):
    swapped = copy_as_synthetic(tmp_path / "swapped", label_names=("PNEUMONIA", "NORMAL"))
    request = settings(disc_records, swapped, tmp_path, synthetic_splits=("train",))
    comparison = load_comparison(request)
    assert comparison.label_names == ("NORMAL", "PNEUMONIA")
    np.testing.assert_array_equal(comparison.synthetic.labels, comparison.real.labels[:, ::-1])


def test_unequal_prevalence_is_said(disc_records, synthetic_records, copy_as_synthetic, tmp_path):
    swapped = copy_as_synthetic(tmp_path / "swapped", label_names=("PNEUMONIA", "NORMAL"))
    request = settings(disc_records, swapped, tmp_path, synthetic_splits=("train",), images=7)
    notices = load_comparison(request).notices  # the same 7 images on both sides, under swapped labels
    assert len(notices) == 2 and all("differ in prevalence" in notice for notice in notices)
    assert load_comparison(settings(disc_records, synthetic_records, tmp_path)).notices == ()


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
        load_comparison(settings(disc_records, cohort, tmp_path))


def test_a_missing_list_of_training_patients_is_refused(disc_records, copy_as_synthetic, tmp_path):
    cohort = copy_as_synthetic(tmp_path / "cohort")
    (cohort / "training_patients.txt").unlink()
    with pytest.raises(ValueError, match=r"training_patients.txt is missing"):
        load_comparison(settings(disc_records, cohort, tmp_path))
    only_real = load_comparison(settings(disc_records, cohort, tmp_path, arms=("real",)))
    assert only_real.shared_patients == ()  # no arm learns from the generator


def test_synthetic_images_in_place_of_real_ones_are_refused(disc_records, synthetic_records, tmp_path):
    with pytest.raises(ValueError, match="--real_dir=.* holds synthetic images"):
        load_comparison(settings(synthetic_records, synthetic_records, tmp_path))
    with pytest.raises(ValueError, match="--test_dir=.* holds synthetic images .* test on real patients"):
        load_comparison(settings(disc_records, synthetic_records, tmp_path, test_dir=synthetic_records))


def test_test_patients_of_the_generator_are_refused(disc_records, copy_as_synthetic, tmp_path):
    cohort = copy_as_synthetic(tmp_path / "cohort", training_patients=("patient-test-3", "patient-train-0"))
    message = "1 of the 8 patients of split 'test' are also in the generator's training data; .*--allow_shared_patients"
    with pytest.raises(ValueError, match=message):
        load_comparison(settings(disc_records, cohort, tmp_path))
    allowed = load_comparison(settings(disc_records, cohort, tmp_path, allow_shared_patients=True))
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
        load_comparison(settings(disc_records, synthetic_records, tmp_path, **changes))


def test_patients_under_another_salt_cannot_be_compared(disc_records, synthetic_records, copy_records, tmp_path):
    other = copy_records(tmp_path / "other", salt_fingerprint="other")
    with pytest.raises(ValueError, match="test set .* training set .* different salts"):
        load_comparison(settings(disc_records, synthetic_records, tmp_path, test_dir=other, arms=("real",)))


def test_more_images_than_there_are_is_refused(disc_records, synthetic_records, tmp_path):
    with pytest.raises(ValueError, match="--images=50 were asked for on each side, but --real_dir=.* holds 48"):
        load_comparison(settings(disc_records, synthetic_records, tmp_path, images=50))


def test_an_unknown_split_is_refused(disc_records, synthetic_records, tmp_path):
    with pytest.raises(ValueError, match="has no split 'tset'; it has .*train"):
        load_comparison(settings(disc_records, synthetic_records, tmp_path, test_splits=("tset",)))


def test_an_altered_shard_is_refused(disc_records, copy_records, synthetic_records, tmp_path):
    altered = copy_records(tmp_path / "altered")
    shard = altered / shard_name("test", 0, 3)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="was altered"):
        load_comparison(settings(altered, synthetic_records, tmp_path))


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
        ({"arms": ("fake",)}, "unknown arm 'fake' in --arms; valid names: real, synthetic, both"),
        ({"arms": ()}, "--arms expects one or more different values"),
        ({"classifier_seeds": (1, 1)}, "--classifier_seeds expects one or more different values"),
        ({"classifier_seeds": (-1,)}, "--classifier_seeds must be 0 or more"),
        ({"test_splits": ()}, "--test_splits names no split"),
        ({"images": -1}, "--images must be 0 or more, got -1"),
        ({"train_splits": ("train", "train")}, "--train_splits names a split twice: train,train"),
        ({"distance_images": -1}, "--distance_images must be 0 or more, got -1"),
        ({"bootstrap_resamples": 0}, "--bootstrap_resamples must be 1 or more, got 0"),
        ({"diversity_pairs": 0}, "--diversity_pairs must be 1 or more, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        settings(tmp_path, tmp_path, tmp_path, **changes)
