"""Images that a study may be drawn from: the right splits of the right folders, and nothing that tells them apart."""

import dataclasses

import numpy as np
import pytest

from tfcxr.data.pipeline import load_images
from tfcxr.reader_study.design.candidates import check_alike, held_out_splits, read_cohort, training_patients


def test_images_are_those_of_the_test_split(disc_records):
    cohort = read_cohort(disc_records, is_synthetic=False)
    assert cohort.splits == ("test",)
    stored = load_images(disc_records, "test")
    assert [candidate.record for candidate in cohort.candidates] == stored.keys.tolist()
    assert [candidate.patient for candidate in cohort.candidates] == stored.patient_keys.tolist()
    for candidate, labels, pixels in zip(cohort.candidates, stored.labels, stored.images, strict=True):
        assert candidate.labels == (("NORMAL", "PNEUMONIA")[int(labels[1])],)
        np.testing.assert_array_equal(cohort.image(candidate), pixels[..., 0])


def test_splits_may_be_named(disc_records):
    cohort = read_cohort(disc_records, ["validation", "train"], is_synthetic=False)
    assert len(cohort.candidates) == 64


def test_all_splits_of_a_synthetic_cohort_are_used(write_records, tmp_path):
    write_records(tmp_path, {"train": 6, "validation": 2}, is_synthetic=True, encoding="png")
    cohort = read_cohort(tmp_path, is_synthetic=True)
    assert (cohort.splits, len(cohort.candidates)) == (("train", "validation"), 8)
    assert cohort.image(cohort.candidates[0]).shape == (32, 32)


def test_validation_images_are_the_second_choice(write_records, tmp_path):
    info = write_records(tmp_path, {"train": 4, "validation": 2})
    assert held_out_splits(info, tmp_path) == ("validation",)


def test_training_images_are_not_shown_unless_asked_for(write_records, tmp_path):
    write_records(tmp_path, {"train": 4})
    with pytest.raises(ValueError, match="no held-out images, only train; .* --splits=train"):
        read_cohort(tmp_path, is_synthetic=False)
    assert len(read_cohort(tmp_path, ["train"], is_synthetic=False).candidates) == 4


def test_folders_given_the_wrong_way_round_are_refused(disc_records, write_records, tmp_path):
    with pytest.raises(ValueError, match=r"--synthetic_dir=.* no generator made; give it as --real_dir"):
        read_cohort(disc_records, is_synthetic=True)
    write_records(tmp_path, {"train": 2}, is_synthetic=True)
    with pytest.raises(ValueError, match=r"--real_dir=.* a generator made; give it as --synthetic_dir"):
        read_cohort(tmp_path, is_synthetic=False)


def test_what_is_not_there_is_named(disc_records, tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_cohort(tmp_path / "nothing", is_synthetic=False)
    with pytest.raises(ValueError, match="no split 'tset'"):
        read_cohort(disc_records, ["tset"], is_synthetic=False)


def test_damage_is_reported(write_records, tmp_path):
    write_records(tmp_path, {"test": 6})
    cohort = read_cohort(tmp_path, is_synthetic=False)
    shard = cohort.candidates[0].shard
    content = bytearray(shard.read_bytes())
    content[40] ^= 1
    shard.write_bytes(content)
    with pytest.raises(ValueError, match=r"shard .* is damaged: a record does not fit its checksum; build"):
        read_cohort(tmp_path, is_synthetic=False)
    broken = dataclasses.replace(cohort.candidates[0], size=30)
    with pytest.raises(ValueError, match=r"a record of .* is damaged"):
        cohort.image(broken)


def test_patients_of_the_training_are_read(disc_records, write_records, tmp_path):
    training = {"patient_keys_file": "training_patients.txt", "salt_fingerprint": "tests"}
    write_records(tmp_path, {"train": 2}, is_synthetic=True, provenance={"training_data": training})
    real, cohort = read_cohort(disc_records, is_synthetic=False), read_cohort(tmp_path, is_synthetic=True)
    assert training_patients(cohort, real) is None  # the file is not there
    (tmp_path / "training_patients.txt").write_text("a\nb\n")
    assert training_patients(cohort, real) == {"a", "b"}
    for provenance in ({}, {"training_data": training | {"salt_fingerprint": "other"}}):
        other = dataclasses.replace(cohort, info=dataclasses.replace(cohort.info, provenance=provenance))
        assert training_patients(other, real) is None


def test_cohorts_of_other_size_or_depth_are_refused(disc_records):
    cohort = read_cohort(disc_records, is_synthetic=False)
    for name, value in (("image_size", 64), ("bits", 16)):
        other = dataclasses.replace(cohort, info=dataclasses.replace(cohort.info, **{name: value}))
        with pytest.raises(ValueError, match=rf"images of (32 px|8 bits), .* of {value} .* same {name}"):
            check_alike([cohort, other])
    with pytest.raises(ValueError, match="is given twice"):
        check_alike([cohort, cohort])
