"""Real images of each label, of all or of chosen labels."""

import numpy as np

from tfcxr.data.pipeline import load_images
from tfcxr.training.samples.real_images import UNLABELLED, read_real_images


def test_the_first_images_of_each_label(disc_records):
    loaded = load_images(disc_records, "train")
    found = read_real_images(disc_records, "train", 5, 32)
    assert list(found) == ["NORMAL", "PNEUMONIA"]
    for index, images in enumerate(found.values()):
        np.testing.assert_array_equal(images, loaded.images[loaded.labels[:, index] == 1][:5])
    assert read_real_images(disc_records, "train", 5, 64)["NORMAL"].shape == (5, 64, 64, 1)


def test_of_chosen_classes_alone(disc_records):
    both = read_real_images(disc_records, "train", 5, 32)
    np.testing.assert_array_equal(
        read_real_images(disc_records, "train", 5, 32, labels=["PNEUMONIA"])["PNEUMONIA"], both["PNEUMONIA"]
    )
    unlabelled = read_real_images(disc_records, "train", 5, 32, is_labelled=False, labels=["PNEUMONIA"])
    np.testing.assert_array_equal(unlabelled[UNLABELLED], both["PNEUMONIA"])
