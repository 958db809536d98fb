"""Verdicts of hand-made distances: far from the floor, within it, nearer than it, and of too few images."""

import pytest

from tfcxr.evaluation.protocols.distance_verdict import tells_apart, verdict


def row(images: int, mean: float, reach: float = 1.0) -> dict:
    summary = {"mean": mean, "interval": [mean - reach, mean + reach]}
    return {"images": images, "frechet": summary, "kernel": summary}


def comparison(distance: float, floor: float, images: int = 100, role: str = "test", name: str = "test") -> dict:
    half = images // 2
    return {
        "role": role,
        "set": name,
        "score": row(images, distance - 1),
        "at_floor_size": row(half, distance),
        "floor": row(half, floor),
        "real_training_images": row(images, 3.0) if role == "test" else None,
    }


def first_of(*comparisons) -> str:
    return verdict("small_cnn", comparisons, {"test": 0.9})[0]


def test_images_beyond_the_floor_are_told_from_real_ones():
    said = verdict("small_cnn", [comparison(20.0, 5.0)], {"test": 0.9})
    assert len(said) == 2
    assert said[0] == (
        "The features of small_cnn tell synthetic images from real patients of test: at 50 images per side they are at "
        "Frechet distance 20 (19 to 21) and kernel distance 20 (19 to 21) from them, two halves of these real images "
        "at 5 (4 to 6) and 5 (4 to 6) from each other, 4 times as far (Frechet)."
    )
    assert said[1].startswith("100 synthetic images are at Frechet distance 19 (18 to 20)")
    assert "as many real training images at 3 (2 to 4)" in said[1]


@pytest.mark.parametrize("distance", [5.0, 6.5, 2.0])
def test_nothing_can_be_said_where_real_images_are_as_far_from_each_other(distance):
    said = first_of(comparison(distance, 5.0))
    assert said.startswith(
        "Nothing can be said by the features of small_cnn of whether synthetic images differ from real patients of test"
    )
    assert "two halves of these real images at 5 (4 to 6)" in said and "times" not in said
    assert "more images of both" in said


def test_nothing_can_be_said_of_few_images():
    assert first_of(comparison(20.0, 5.0, images=49)) == (
        "Nothing can be said of how far synthetic images are from real patients of test: 49 images per side are too "
        "few; give 50 or more of both."
    )


def test_one_distance_within_the_floor_is_enough_for_doubt():
    mixed = comparison(20.0, 5.0)
    mixed["at_floor_size"]["kernel"] = {"mean": 5.5, "interval": [5.0, 6.0]}
    assert first_of(mixed).startswith("Nothing can be said by the features of small_cnn of whether")


def test_copies_of_training_images_are_nearer_than_these_to_each_other():
    copies = comparison(2.0, 5.0, role="training", name="train")
    assert first_of(copies).startswith("Synthetic images are nearer to the real training images than these are to each")


def test_test_patients_come_first_and_what_says_nothing_before_them_all():
    far = comparison(20.0, 5.0, name="far")
    training = comparison(5.0, 5.0, role="training", name="train")
    said = verdict("small_cnn", [training, far, comparison(5.0, 5.0, name="near")], {"far": 0.9})
    assert [sentence.split()[0] for sentence in said[:3]] == ["Nothing", "The", "Nothing"]
    assert "patients of near" in said[0] and "the real training images" in said[2]


def test_an_extractor_tells_apart_where_it_does_so_of_every_test_set():
    far, near = comparison(20.0, 5.0, name="far"), comparison(5.0, 5.0, name="near")
    training = comparison(5.0, 5.0, role="training", name="train")
    assert tells_apart([training, far]) and not tells_apart([far, near])


def test_a_floor_of_nothing_is_no_divisor_and_a_weak_extractor_is_named():
    said = verdict("small_cnn", [comparison(20.0, 0.0)], {"test": 0.55, "train": float("nan")})
    assert "times as far" not in said[0] and said[0].startswith("The features of small_cnn tell")
    assert "the labels of train cannot be told" in said[2] and "weak (AUC 0.550 on test)" in said[3]
