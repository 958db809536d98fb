"""Label plans: counts, and the joint labels of a data folder."""

import numpy as np
import pytest

from tfcxr.data.pipeline import load_images
from tfcxr.data.records import shard_name, write_dataset_info, write_shard
from tfcxr.data.schema import DatasetInfo, Record, SplitInfo, encode_record
from tfcxr.sampling.cohort_labels import (
    counted_labels,
    labels_like,
    no_labels,
    parse_counts,
    parse_shares,
    shared_labels,
)

FINDINGS = ("Mass", "Nodule", "Effusion")
NAN = float("nan")


def write_findings(data_dir, rows, names=FINDINGS, side=32):
    """Records of a folder of 32 px; images of another `side` cannot be decoded."""
    records = [Record(np.full((side, side), 9, np.uint8), f"k{i}", tuple(row), f"p{i}") for i, row in enumerate(rows)]
    shard = write_shard(data_dir / shard_name("train", 0, 1), [encode_record(record, "raw") for record in records])
    labels = {name: {"positive": 0, "negative": 0, "unknown": 0} for name in names}
    splits = {"train": SplitInfo(len(rows), len(rows), labels, (shard,))}
    write_dataset_info(
        data_dir, DatasetInfo("findings", tuple(names), False, 32, 8, "raw", splits, len(rows), len(rows), {}, {}, {})
    )
    return data_dir


def test_labels_are_read_without_decoding_a_pixel(tmp_path):
    data_dir = write_findings(tmp_path / "32", [(1, 0, 0), (0, 1, 0)], side=7)
    with pytest.raises(ValueError, match="is damaged"):
        load_images(data_dir, "train")
    np.testing.assert_array_equal(labels_like(data_dir, "train", FINDINGS, False).part(0, 2), [(1, 0, 0), (0, 1, 0)])


@pytest.fixture
def findings(tmp_path):
    rows = [(1, 1, 0)] * 6 + [(0, 0, 0)] * 10 + [(0, NAN, 1)] * 3 + [(NAN, NAN, NAN)]
    return write_findings(tmp_path / "32", rows)


def test_counts_are_kept_in_an_order_of_the_seed():
    plan = counted_labels({"PNEUMONIA": 3, "NORMAL": 5}, ("NORMAL", "PNEUMONIA"), True, seed=1)
    labels = plan.part(0, len(plan))
    assert labels.dtype == np.float32 and labels.sum(axis=0).tolist() == [5, 3] and set(labels.sum(axis=1)) == {1}
    again = counted_labels({"PNEUMONIA": 3, "NORMAL": 5}, ("NORMAL", "PNEUMONIA"), True, seed=1)
    np.testing.assert_array_equal(again.part(0, 8), labels)
    other = [counted_labels({"PNEUMONIA": 3, "NORMAL": 5}, ("NORMAL", "PNEUMONIA"), True, seed) for seed in range(2, 6)]
    assert any((plan.part(0, 8) != labels).any() for plan in other)


def test_counts_that_cannot_be():
    with pytest.raises(ValueError, match="has no label 'NORMALL'; did you mean 'NORMAL'"):
        counted_labels({"NORMALL": 3}, ("NORMAL", "PNEUMONIA"), True, seed=0)
    with pytest.raises(ValueError, match="no image was asked for; give counts such as NORMAL=100"):
        counted_labels({"NORMAL": 0}, ("NORMAL", "PNEUMONIA"), True, seed=0)
    with pytest.raises(ValueError, match="count of label 'NORMAL' must not be negative, got -1"):
        counted_labels({"NORMAL": -1}, ("NORMAL", "PNEUMONIA"), True, seed=0)
    with pytest.raises(ValueError, match="expected at least one image, got 0"):
        no_labels(0)


def test_joint_labels_are_counted_by_name():
    plan = counted_labels({"Effusion + Mass": 2, "Nodule": 3}, FINDINGS, False, seed=0)
    rows = sorted(map(tuple, plan.part(0, 5).tolist()))
    assert rows == [(0, 1, 0)] * 3 + [(1, 0, 1)] * 2
    with pytest.raises(ValueError, match="the model has no label 'Masss'; did you mean 'Mass'"):
        counted_labels({"Effusion+Masss": 2}, FINDINGS, False, seed=0)
    assert counted_labels({"A+B": 1}, ("A+B", "C"), True, seed=0).part(0, 1).tolist() == [[1, 0]]


def test_labels_that_exclude_each_other_cannot_be_joint():
    message = (
        "exactly one of NORMAL, PNEUMONIA, so NORMAL\\+PNEUMONIA cannot be generated; give counts such as NORMAL=100"
    )
    with pytest.raises(ValueError, match=message):
        counted_labels({"NORMAL+PNEUMONIA": 2}, ("NORMAL", "PNEUMONIA"), True, seed=0)


def test_shares_of_joint_labels_are_independent_and_exact():
    labels = shared_labels({"Effusion": 0.6, "Mass": 0.25}, 200, FINDINGS, False, seed=1).part(0, 200)
    assert labels.sum(axis=0).tolist() == [50, 0, 120]
    assert 15 < (labels.sum(axis=1) == 2).sum() < 45  # 30 by chance


def test_shares_of_exclusive_labels_add_up_to_one():
    plan = shared_labels({"PNEUMONIA": 0.255, "NORMAL": 0.745}, 100, ("NORMAL", "PNEUMONIA"), True, seed=1)
    assert plan.part(0, 100).sum(axis=0).tolist() == [74, 26] and set(plan.part(0, 100).sum(axis=1)) == {1}
    with pytest.raises(ValueError, match="shares must add up to 1; those of PNEUMONIA add up to 0.6"):
        shared_labels({"PNEUMONIA": 0.6}, 100, ("NORMAL", "PNEUMONIA"), True, seed=1)
    with pytest.raises(ValueError, match="a share must be from 0 to 1, got NORMAL=1.5"):
        shared_labels({"NORMAL": 1.5}, 100, ("NORMAL", "PNEUMONIA"), True, seed=1)
    with pytest.raises(ValueError, match="the model has no label 'NORMALL'"):
        shared_labels({"NORMALL": 0.5}, 100, ("NORMAL", "PNEUMONIA"), True, seed=1)


def test_shares_are_read_from_text():
    assert parse_shares(["Effusion=.6", "No Finding=1", "Mass=0.25"]) == {
        "Effusion": 0.6,
        "No Finding": 1,
        "Mass": 0.25,
    }
    for text in ("Effusion", "Effusion=60%", "Effusion=1e-3", "=.5"):
        with pytest.raises(ValueError, match=f"expected LABEL=SHARE such as Effusion=.6, got '{text}'"):
            parse_shares([text])


def test_counts_are_read_from_text():
    assert parse_counts(["NORMAL=10", "Pleural Effusion=2", "a=b=3"]) == {
        "NORMAL": 10, "Pleural Effusion": 2, "a=b": 3
    }  # fmt: skip
    for text in ("NORMAL", "=3", "NORMAL=x", "NORMAL=-1", "NORMAL=1.5"):
        with pytest.raises(ValueError, match=f"expected LABEL=COUNT such as NORMAL=1000, got '{text}'"):
            parse_counts([text])
    with pytest.raises(ValueError, match="label 'NORMAL' is counted twice"):
        parse_counts(["NORMAL=1", "NORMAL=2"])


def test_like_a_split_gives_its_rows_in_order(disc_records):
    plan = labels_like(disc_records, "validation", ("NORMAL", "PNEUMONIA"), True)
    assert len(plan) == 16 and plan.description["drawn"] == "every row once, in order"
    three_shards = [row for shard in range(3) for row in range(16)[shard::3]]
    np.testing.assert_array_equal(plan.part(0, 16)[:, 1], [row % 2 for row in three_shards])
    exact = labels_like(disc_records, "validation", ("NORMAL", "PNEUMONIA"), True, images=16, seed=5)
    np.testing.assert_array_equal(exact.order, plan.order)


def test_labels_are_aligned_by_name(disc_records):
    plan = labels_like(disc_records, "validation", ("NORMAL", "PNEUMONIA"), True)
    turned = labels_like(disc_records, "validation", ("PNEUMONIA", "NORMAL"), True)
    np.testing.assert_array_equal(turned.part(0, 16), plan.part(0, 16)[:, ::-1])


def test_joint_labels_and_prevalence_stay(findings):
    plan = labels_like(findings, "train", FINDINGS, False, images=4000, seed=2)
    labels = plan.part(0, 4000)
    assert set(map(tuple, labels)) == {(1, 1, 0), (0, 0, 0), (0, 0, 1)}  # Mass never without Nodule
    shares = labels.mean(axis=0)
    np.testing.assert_allclose(shares, [6 / 19, 6 / 19, 3 / 19], atol=0.03)  # 4 standard errors of 4,000 draws
    assert "seed 2" in plan.description["drawn"]


def test_unknown_labels_are_absent_and_counted(findings):
    plan = labels_like(findings, "train", FINDINGS, False)
    assert len(plan) == 19  # the image of which nothing is known is left out
    assert plan.description["images_left_out_all_unknown"] == 1
    assert plan.description["unknown_labels_drawn_as_absent"] == 3
    assert plan.part(16, 19).tolist() == [[0, 0, 1]] * 3


def test_data_that_do_not_fit(findings, disc_records, tmp_path):
    with pytest.raises(ValueError, match="Edema, Effusion occurs on one side only, so joint labels cannot be kept"):
        labels_like(findings, "train", ("Mass", "Nodule", "Edema"), False)
    with pytest.raises(ValueError, match="generates exactly one label per image, but 16 images of split 'train'"):
        labels_like(findings, "train", FINDINGS, True)
    with pytest.raises(ValueError, match="has no split 'held_out'"):
        labels_like(disc_records, "held_out", ("NORMAL", "PNEUMONIA"), True)
    with pytest.raises(FileNotFoundError, match="absent does not exist"):
        labels_like(tmp_path / "absent", "train", FINDINGS, False)
    unknown = write_findings(tmp_path / "unknown", [(NAN, NAN, NAN)])
    with pytest.raises(ValueError, match="no image of split 'train' in .* has a known label"):
        labels_like(unknown, "train", FINDINGS, False)


def test_a_damaged_record_and_a_missing_shard(findings):
    shard = findings / shard_name("train", 0, 1)
    content = bytearray(shard.read_bytes())
    content[200] ^= 255
    shard.write_bytes(content)
    with pytest.raises(ValueError, match="a record of split 'train' in .* is damaged"):
        labels_like(findings, "train", FINDINGS, False)
    shard.unlink()
    with pytest.raises(FileNotFoundError, match="is missing"):
        labels_like(findings, "train", FINDINGS, False)


def test_further_labels_of_the_data_are_left_out(findings, disc_records):
    own = labels_like(findings, "train", FINDINGS[:2], False, may_have_others=True)
    assert set(map(tuple, own.rows)) == {(1, 1), (0, 0)}
    exclusive = labels_like(disc_records, "validation", ("NORMAL",), True, may_have_others=True)
    assert len(exclusive) == 8 and exclusive.rows.tolist() == [[1]]  # the others show none of the labels
    with pytest.raises(ValueError, match="Edema occurs on one side only"):
        labels_like(findings, "train", ("Mass", "Edema"), False, may_have_others=True)
