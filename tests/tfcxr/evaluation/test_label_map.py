"""Sets whose labels have other names, one for one or several for one, compare as if they had ours."""

import dataclasses
import shutil

import numpy as np
import pytest

from tfcxr.data.records import read_dataset_info, shard_name, write_dataset_info, write_shard
from tfcxr.data.schema import Record, SplitInfo, encode_record
from tfcxr.evaluation.cohorts import check_folders, load_cohorts
from tfcxr.evaluation.evaluation import Evaluation
from tfcxr.evaluation.label_checks import counts_of_splits
from tfcxr.evaluation.label_map import map_info, map_labels

THEIRS = ("COVID", "Opacity", "Viral", "healthy")
MAP = {"COVID": "PNEUMONIA", "Viral": "PNEUMONIA", "healthy": "NORMAL"}


@pytest.fixture(scope="module")
def other_cohort(disc_records, tmp_path_factory):
    """12 synthetic images of each of four classes."""
    folder = tmp_path_factory.mktemp("other") / "32"
    folder.mkdir()
    labels = np.eye(4)[np.arange(48) % 4]
    records = [
        Record(np.full((32, 32), index, np.uint8), f"image-{index}", tuple(row), f"image-{index}")
        for index, row in enumerate(labels)
    ]
    shard = write_shard(folder / shard_name("train", 0, 1), [encode_record(record, "raw") for record in records])
    counts = {name: {"positive": 12, "negative": 36, "unknown": 0} for name in THEIRS}
    provenance = {"training_data": {"patient_keys_file": "training_patients.txt"}}
    (folder / "training_patients.txt").write_text("patient-train-0")
    info = dataclasses.replace(
        read_dataset_info(disc_records), name="other", label_names=THEIRS, is_synthetic=True, provenance=provenance
    )
    info = dataclasses.replace(info, splits={"train": SplitInfo(48, 48, counts, (shard,))})
    write_dataset_info(folder, dataclasses.replace(info, images_read=48, images_written=48))
    return folder


@pytest.fixture
def evaluation(disc_records, other_cohort, tmp_path):
    return Evaluation({"other": other_cohort}, disc_records, tmp_path, label_map=MAP).with_mapped_labels()


def test_several_classes_stand_for_one_and_the_rest_is_left_out(evaluation):
    check_folders(evaluation)
    cohort = load_cohorts(evaluation, evaluation.label_names).only_synthetic
    assert cohort.facts["positives"] == {"NORMAL": 12, "PNEUMONIA": 24} and cohort.facts["left_out"] == 12
    grey = cohort.images[:][:, 0, 0, 0]
    assert np.isin(grey[cohort.labels[:, 1] == 1] % 4, (0, 2)).all()
    assert (grey[cohort.labels[:, 0] == 1] % 4 == 3).all()
    counts = counts_of_splits(evaluation.synthetic_infos["other"], ["train"], ("NORMAL", "PNEUMONIA"))
    assert counts.by_label == {"NORMAL": (12, 24), "PNEUMONIA": (24, 12)}


def test_unknown_labels_stay_unknown():
    labels = np.array([[np.nan, 1], [0, np.nan]], np.float32)
    mapped = map_labels(labels, ("a", "b"), {"a": "c"})
    assert np.array_equal(mapped, labels, equal_nan=True)


@pytest.mark.parametrize(
    ("label_map", "message"),
    [
        ({"COVID": "PNEUMONA"}, "expects 'PNEUMONA' among the labels of .*; did you mean 'PNEUMONIA'"),
        ({"Covid": "PNEUMONIA"}, "expects 'Covid' among the labels of the other folders; did you mean 'COVID'"),
    ],
)
def test_names_that_nobody_has_are_refused(evaluation, label_map, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(evaluation, label_map=label_map).with_mapped_labels()


def test_joint_labels_are_only_renamed(evaluation):
    joint = dataclasses.replace(read_dataset_info(evaluation.synthetic_dir), is_single_label=False)
    assert map_info(joint, {"COVID": "x"}).label_names == ("x", *THEIRS[1:])
    with pytest.raises(ValueError, match="exclusive classes alone"):
        map_info(joint, MAP)


@pytest.fixture
def covid_records(other_cohort, tmp_path):
    """The same images as real patients of a data set with classes of its own, all in one split."""
    folder = shutil.copytree(other_cohort, tmp_path / "covid")
    write_dataset_info(folder, dataclasses.replace(read_dataset_info(folder), name="covid", is_synthetic=False))
    return folder


def test_several_test_sets_stand_side_by_side_each_with_its_own_labels(disc_records, evaluation, covid_records):
    several = dataclasses.replace(
        evaluation, test_dirs={"kaggle": disc_records, "covid": covid_records}, test_splits=("test", "train"),
        allow_shared_patients=True,
    )  # fmt: skip
    check_folders(several)
    cohorts = load_cohorts(several, several.label_names)
    assert list(cohorts.tests) == ["kaggle-test", "kaggle-train", "covid-train"], "covid has no split test"
    covid = cohorts.tests["covid-train"]
    assert covid.facts["positives"] == {"NORMAL": 12, "PNEUMONIA": 24} and covid.facts["left_out"] == 12
    assert len(cohorts.tests["kaggle-test"].images) == 16
    assert list(cohorts.shared_patients) == [
        "24 of the 24 patients of split 'kaggle-train' are also in the training data",
        "1 of the 24 patients of split 'kaggle-train' are also in the generator's training data",
    ]
    assert several.test_split_flag("covid-train") == f"--test_splits=train of {covid_records}"
    with pytest.raises(ValueError, match="--test_dir=covid=.*covid holds none of --test_splits=test; it has train"):
        check_folders(dataclasses.replace(several, test_splits=("test",)))
