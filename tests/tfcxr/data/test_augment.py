import numpy as np
import pytest
import tensorflow as tf

from tfcxr.data.augment import AugmentationConfig, make_augmentation


def augmented(images: np.ndarray, seed: int, config: AugmentationConfig | None = None) -> np.ndarray:
    batches = tf.data.Dataset.from_tensor_slices(images).batch(8).map(make_augmentation(seed, config))
    return np.concatenate(list(batches.as_numpy_iterator()))


@pytest.fixture
def one_sided() -> np.ndarray:
    """24 images, dark with a bright disc in the right half of the picture, where a radiograph shows the heart."""
    rows, columns = np.mgrid[:32, :32]
    disc = (rows - 16) ** 2 + (columns - 24) ** 2 < 25
    return np.tile(np.where(disc, 0.8, -0.8)[None, :, :, None], [24, 1, 1, 1]).astype(np.float32)


def test_shape_type_and_range_are_kept_and_images_change(one_sided):
    changed = augmented(one_sided, seed=0)
    assert changed.shape == one_sided.shape and changed.dtype == np.float32
    assert changed.min() >= -1 and changed.max() <= 1
    assert len(np.unique(changed.mean((1, 2, 3)))) == len(changed)  # each image is drawn for by itself
    assert np.abs(changed - one_sided).mean() < 0.4  # and stays the image it was


def test_the_seed_decides(one_sided):
    np.testing.assert_array_equal(augmented(one_sided, 3), augmented(one_sided, 3))
    assert not np.array_equal(augmented(one_sided, 3), augmented(one_sided, 4))


def test_left_stays_left_unless_flips_are_asked_for(one_sided):
    def bright_on_the_right(images):
        return images[:, :, 16:].mean((1, 2, 3)) > images[:, :, :16].mean((1, 2, 3))

    assert bright_on_the_right(augmented(one_sided, 0)).all()
    flipped = bright_on_the_right(augmented(one_sided, 0, AugmentationConfig(flip=True)))
    assert 0 < flipped.sum() < len(flipped)


def test_nothing_asked_changes_nothing(one_sided):
    still = AugmentationConfig(rotation_degrees=0, translation=0, zoom=0, brightness=0, contrast=0)
    np.testing.assert_allclose(augmented(one_sided, 0, still), one_sided, atol=1e-5)


def test_a_change_out_of_range_is_refused():
    with pytest.raises(ValueError, match="AugmentationConfig.zoom must be at least 0 and below 1, got 1.5"):
        AugmentationConfig(zoom=1.5)


def test_it_works_after_a_deterministic_training_in_the_same_process(monkeypatch):
    """TensorFlow has no way back, so its answer is stood in for."""
    made = []

    def refuse():
        if not made:
            raise RuntimeError("get_global_generator cannot be called if determinism is enabled")
        return made[0]

    monkeypatch.setattr(tf.random, "get_global_generator", refuse)
    monkeypatch.setattr(tf.random, "set_global_generator", made.append)
    images = make_augmentation(seed=3)(tf.zeros([2, 16, 16, 1]))
    assert len(made) == 1 and images.shape == (2, 16, 16, 1)
