"""Which folder of a data set holds images of a size, or larger ones to shrink."""

import dataclasses
import re
import shutil

import numpy as np
import pytest

from tfcxr.data.pipeline import training_batches
from tfcxr.data.pyramid import smaller_records
from tfcxr.data.records import read_dataset_info, write_dataset_info


def test_the_size_itself_is_found_beside(disc_records):
    assert smaller_records(disc_records, 32) == (disc_records, 1)


def test_a_missing_size_is_shrunk_from_the_next_larger(disc_records):
    folder, shrink = smaller_records(disc_records, 8)
    assert (folder, shrink) == (disc_records, 4)
    whole, small = (next(iter(training_batches(folder, "train", 4, seed=1, shrink=s)))["image"] for s in (1, 4))
    means = whole.numpy().reshape(4, 8, 4, 8, 4, 1).mean(axis=(2, 4))
    np.testing.assert_allclose(small, means, atol=1e-6)


def test_larger_images_cannot_be_made(disc_records):
    with pytest.raises(ValueError, match=r"holds images of 32 px, which cannot be shrunk to 64 px; build them with"):
        smaller_records(disc_records, 64)


def test_a_size_between_cannot_be_made(disc_records):
    with pytest.raises(ValueError, match=r"holds images of 32 px, which cannot be shrunk to 24 px; build them with"):
        smaller_records(disc_records, 24)


def test_a_size_that_is_no_multiple_is_passed_over(disc_records, tmp_path):
    info = read_dataset_info(disc_records)
    for size in (32, 24):
        shutil.copytree(disc_records, tmp_path / str(size))
        write_dataset_info(tmp_path / str(size), dataclasses.replace(info, image_size=size))
    assert smaller_records(tmp_path / "32", 16) == (tmp_path / "32", 2)


def test_another_number_of_images_is_refused(disc_records, tmp_path):
    info = read_dataset_info(disc_records)
    fewer = {name: dataclasses.replace(split, images=split.images - 1) for name, split in info.splits.items()}
    for size, splits in ((32, info.splits), (16, fewer)):
        shutil.copytree(disc_records, tmp_path / str(size))
        images = sum(split.images for split in splits.values())
        changed = dataclasses.replace(info, image_size=size, splits=splits, images_read=images, images_written=images)
        write_dataset_info(tmp_path / str(size), changed)
    counts = [{name: split.images for name, split in splits.items()} for splits in (fewer, info.splits)]
    with pytest.raises(ValueError, match=re.escape(f"(splits of {counts[0]} and {counts[1]} images)")):
        smaller_records(tmp_path / "32", 16)


def test_folders_of_other_images_are_refused(disc_records, tmp_path):
    for size in ("32", "16"):
        shutil.copytree(disc_records, tmp_path / size)
    info = read_dataset_info(disc_records)
    write_dataset_info(tmp_path / "16", dataclasses.replace(info, image_size=16, name="others"))
    with pytest.raises(ValueError, match="do not hold the same images .* build all sizes of a data set in one go"):
        smaller_records(tmp_path / "32", 16)
