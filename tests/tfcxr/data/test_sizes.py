import dataclasses
import logging

import pytest

from tfcxr.data.records import read_dataset_info, write_dataset_info
from tfcxr.data.sizes import find_size, stored_sizes


@pytest.fixture
def builds(disc_records, tmp_path):
    """Descriptions of one data set at 128 and 64 px, beside folders that are none."""
    for name in ("128", "64", "notes", "32"):
        (tmp_path / name).mkdir()
    for size in (128, 64):
        info = dataclasses.replace(read_dataset_info(disc_records), image_size=size)
        write_dataset_info(tmp_path / str(size), info)
    return tmp_path


def test_a_data_folder_is_itself(disc_records, caplog):
    caplog.set_level(logging.INFO, "absl")
    assert find_size(disc_records) == find_size(str(disc_records), 32) == disc_records
    assert caplog.messages == []
    assert stored_sizes(disc_records) == {32: disc_records}


def test_a_folder_of_builds_is_the_size_that_is_asked_for_and_the_log_names_it(builds, caplog):
    caplog.set_level(logging.INFO, "absl")
    assert list(stored_sizes(builds).items()) == [(64, builds / "64"), (128, builds / "128")]
    assert find_size(builds, 128) == builds / "128"
    assert caplog.messages == [f"{builds}/128 is taken of the builds in {builds} (64, 128 px)"]


def test_the_only_size_need_not_be_asked_for(builds):
    (builds / "64" / "dataset_info.json").unlink()  # as if that build had not finished
    assert find_size(builds) == builds / "128"


def test_what_cannot_be_decided_or_found_is_said(builds, disc_records):
    with pytest.raises(
        ValueError, match="holds builds at 64, 128 px, expected one size; name one of them, such as .*/64"
    ):
        find_size(builds)
    with pytest.raises(ValueError, match="holds images of 64, 128 px, expected 32 px; .* --image_sizes=32"):
        find_size(builds, 32)
    with pytest.raises(ValueError, match="holds images of 32 px, expected 64 px"):
        find_size(disc_records, 64)
    with pytest.raises(FileNotFoundError, match="data folder .*nowhere does not exist"):
        find_size(builds / "nowhere")
    with pytest.raises(FileNotFoundError, match="notes has no dataset_info.json"):
        find_size(builds / "notes", 64)
    assert stored_sizes(builds / "notes") == stored_sizes(builds / "nowhere") == {}
