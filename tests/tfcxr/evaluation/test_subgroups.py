import numpy as np
import pytest

from tfcxr.data.records import shard_name, write_dataset_info, write_shard
from tfcxr.data.schema import DatasetInfo, Record, SplitInfo, encode_record
from tfcxr.evaluation.cohorts import load_cohort
from tfcxr.evaluation.subgroups import groups_of_facts, usable_groups


def test_groups_come_from_the_records(tmp_path):
    facts = [("F", 3.0, "PA"), ("M", 18.0, "AP"), ("", np.nan, ""), ("F", 90.0, "LATERAL")]
    records = [
        Record(np.zeros([8, 8], np.uint8), f"image-{index}", (1.0,), f"patient-{index}", view, age, sex)
        for index, (sex, age, view) in enumerate(facts)
    ]
    shard = write_shard(tmp_path / shard_name("test", 0, 1), [encode_record(record, "raw") for record in records])
    counts = {"A": {"positive": 4, "negative": 0, "unknown": 0}}
    info = DatasetInfo(
        name="four",
        label_names=("A",),
        is_single_label=False,
        image_size=8,
        bits=8,
        encoding="raw",
        splits={"test": SplitInfo(4, 4, counts, (shard,))},
        images_read=4,
        images_written=4,
        rejected={},
        preprocessing={},
        source={},
        salt_fingerprint="tests",
    )
    write_dataset_info(tmp_path, info)
    groups = load_cohort(tmp_path, info, ["test"], ("A",)).groups
    assert {name: values.tolist() for name, values in groups.items()} == {
        "sex": ["F", "M", "", "F"],
        "age": ["0-17", "18-39", "", "75+"],
        "view": ["PA", "AP", "", "LATERAL"],
    }


@pytest.mark.parametrize(
    ("age", "band"), [(0, "0-17"), (17.9, "0-17"), (18, "18-39"), (59, "40-59"), (60, "60-74"), (75, "75+")]
)
def test_bands_of_age_begin_with_their_first_year(age, band):
    facts = {"age": np.float32([age]), "sex": np.array([""]), "view": np.array([""])}
    assert groups_of_facts(facts)["age"].tolist() == [band]


def test_groups_that_are_too_small_or_hold_everybody_are_left_out():
    images = 60
    sex = np.where(np.arange(images) < 19, "M", "F")  # 19 men are too few
    age = np.where(np.arange(images) < 30, "0-17", "75+")
    patients = np.where(np.arange(images) < 30, np.arange(images) // 10, np.arange(images))  # the young are three
    groups = {"sex": sex, "age": age, "view": np.full(images, "PA")}
    usable = usable_groups(groups, patients.astype(str))
    assert list(usable) == ["sex=F", "age=75+"] and usable["age=75+"].sum() == 30
    labels = np.float32(np.arange(images) < 25)[:, None]  # the old lack the label
    assert list(usable_groups(groups, patients.astype(str), labels)) == ["sex=F"]
