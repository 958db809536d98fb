"""Data folders in the page: filters, pages, marks, and that neither paths nor patients are given away."""

import dataclasses
import io
import json

import cv2
import numpy as np
import pytest
from PIL import Image

from tfcxr.data.pipeline import load_images
from tfcxr.data.records import write_dataset_info
from tfcxr.server.cohort_browser import CohortBrowser, kind_of
from tfcxr.server.serving_error import ServingError

PROVENANCE = {"saved_model": "tiny/1", "weights_sha256": "ab" * 32, "truncation": 1.0}


@pytest.fixture(scope="module")
def synthetic_records(write_records, tmp_path_factory):
    """A cohort of 6 images, whose keys tell no seed."""
    data_dir = tmp_path_factory.mktemp("cohort") / "32"
    write_records(data_dir, {"train": 6}, is_synthetic=True, provenance=PROVENANCE, notice="Synthetic radiographs.")
    return data_dir


@pytest.fixture(scope="module")
def browser(disc_records, synthetic_records):
    return CohortBrowser([disc_records, synthetic_records.parent])


def test_data_sets_are_listed_in_order_without_a_path(browser, disc_records):
    real, synthetic = browser.facts()
    assert (real["kind"], synthetic["kind"]) == ("real", "synthetic")
    assert real["splits"] == {"train": 48, "validation": 16, "test": 16}
    assert (synthetic["saved_model"], synthetic["weights_sha256"]) == ("tiny/1", "ab" * 32)
    assert str(disc_records.parent) not in json.dumps([real, synthetic])


def test_a_computed_phantom_is_not_called_real(browser):
    real = browser.infos[0]
    assert kind_of(real) == "real"
    assert kind_of(dataclasses.replace(real, notice="PHANTOM, NOT PATIENTS: computed.")) == "phantom"


def test_images_are_filtered_by_label_and_paged(browser, disc_records):
    stored = load_images(disc_records, "validation")
    positions = np.flatnonzero(stored.labels[:, 1] == 1).tolist()
    found = browser.images(0, "validation", "PNEUMONIA", 2, 4)
    assert found["total"] == len(positions) == 8
    assert [image["position"] for image in found["images"]] == positions[2:6]
    assert {tuple(image["labels"]) for image in found["images"]} == {("PNEUMONIA",)}
    assert browser.images(0, "validation", "", 0, 96)["total"] == 16
    assert browser.images(0, "validation", "", 16, 4)["images"] == []


def test_nothing_of_a_patient_is_told(browser):
    text = json.dumps(browser.images(0, "train", "", 0, 96))
    assert "patient" not in text and "image-" not in text
    assert b"patient" not in browser.picture(0, "train", 0)


def test_a_real_picture_carries_no_synthetic_mark(browser, disc_records):
    png = browser.picture(0, "test", 3)
    stored = load_images(disc_records, "test")
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(png, np.uint8), -1), stored.images[3, ..., 0])
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.text == {}


def test_a_synthetic_picture_says_so_inside(browser):
    with Image.open(io.BytesIO(browser.picture(1, "train", 1))) as picture:
        facts = json.loads(picture.text["tfcxr"])
    assert facts["synthetic"] and facts["model"] == "tiny/1"
    assert facts["labels"] == browser.images(1, "train", "", 1, 1)["images"][0]["labels"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ((2, "train", "", 0, 1), "there is no data set 2; --cohorts names 2"),
        ((-1, "train", "", 0, 1), "there is no data set -1"),
        ((0, "../train", "", 0, 1), "discs has no such split; it has test, train, validation"),
        ((0, "train", "../x", 0, 1), "discs has no such label; it has NORMAL, PNEUMONIA"),
        ((0, "train", "", -1, 1), "start must be 0 or more"),
        ((0, "train", "", 0, 97), "count from 1 to 96"),
    ],
)
def test_what_is_not_there_is_refused(browser, asked, message):
    with pytest.raises(ServingError, match=message):
        browser.images(*asked)


def test_a_position_outside_a_split_is_refused(browser):
    for position in (-1, 16):
        with pytest.raises(ServingError, match="has the images 0 to 15"):
            browser.picture(0, "test", position)


def test_a_folder_without_data_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no dataset_info.json"):
        CohortBrowser([tmp_path])


def test_shards_outside_the_folder_are_refused(write_records, tmp_path):
    info = write_records(tmp_path, {"train": 2}, shards=1)
    (shard,) = info.splits["train"].shards
    elsewhere = dataclasses.replace(shard, file="../secret.tfrecord")
    split = dataclasses.replace(info.splits["train"], shards=(elsewhere,))
    write_dataset_info(tmp_path, dataclasses.replace(info, splits={"train": split}))
    with pytest.raises(ValueError, match="names a shard outside its folder"):
        CohortBrowser([tmp_path])


def test_damaged_records_are_one_sentence_without_a_path(write_records, tmp_path):
    write_records(tmp_path, {"train": 2}, shards=1)
    browser = CohortBrowser([tmp_path])
    next(tmp_path.glob("*.tfrecord")).write_bytes(b"damaged")
    with pytest.raises(ServingError, match="records of discs cannot be read") as raised:
        browser.images(0, "train", "", 0, 1)
    assert str(tmp_path) not in raised.value.message
