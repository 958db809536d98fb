"""Pictures of a study's page."""

import cv2
import numpy as np

from tfcxr.studies.pictures import curves, side_by_side


def pixels(png):
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)


def test_curves_go_through_their_points():
    falling = pixels(curves({"cgan": [(32, 0.9), (64, 0.1)]}, "images", "distance"))
    assert falling.ndim == 3 and falling.std() > 5
    same = pixels(curves({"cgan": [(32, 0.9), (64, 0.1)]}, "images", "distance"))
    np.testing.assert_array_equal(falling, same)
    rising = pixels(curves({"cgan": [(32, 0.1), (64, 0.9)]}, "images", "distance"))
    assert rising.shape != falling.shape or (rising != falling).any()


def test_cohorts_stand_in_rows_with_images_of_each_label(disc_records):
    one, two = (pixels(side_by_side(dict.fromkeys(names, disc_records), 3)) for names in (["a"], ["a", "b"]))
    assert one.std() > 5
    assert abs(two.shape[0] - 2 * one.shape[0]) <= 1 and two.shape[1] == one.shape[1]
