"""Labels of interest: their order, what is left out, and names that do not exist."""

import dataclasses

import numpy as np
import pytest

from tfcxr.data.label_choice import choose_labels
from tfcxr.data.schema import DatasetInfo

JOINT = DatasetInfo(
    name="chests",
    label_names=("Hernia", "Effusion", "No Finding"),
    is_single_label=False,
    image_size=8,
    bits=8,
    encoding="raw",
    splits={},
    images_read=0,
    images_written=0,
    rejected={},
    preprocessing={},
    source={},
)
EXCLUSIVE = dataclasses.replace(JOINT, is_single_label=True)
LABELS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)


def test_columns_come_in_the_order_that_was_asked_for():
    choice = choose_labels(JOINT, ["No Finding", " Effusion"])
    assert choice.names == ("No Finding", "Effusion")
    np.testing.assert_array_equal(choice.of(LABELS), [[0, 0], [0, 1], [1, 0]])


def test_joint_labels_keep_every_image():
    assert choose_labels(JOINT, ["Effusion"]).keeps(LABELS).all()


def test_exclusive_classes_leave_out_the_images_of_others():
    np.testing.assert_array_equal(choose_labels(EXCLUSIVE, ["Effusion", "Hernia"]).keeps(LABELS), [True, True, False])


def test_no_name_means_every_label():
    choice = choose_labels(EXCLUSIVE)
    assert choice.names == EXCLUSIVE.label_names
    assert choice.keeps(LABELS).all()


def test_an_unknown_label_names_the_nearest():
    with pytest.raises(ValueError, match="chests has no label 'effusion'; did you mean 'Effusion'"):
        choose_labels(JOINT, ["effusion"])


def test_a_label_named_twice_is_refused():
    with pytest.raises(ValueError, match="label 'Effusion' is named twice"):
        choose_labels(JOINT, ["Effusion", "Effusion"])
