import numpy as np
import pytest
import tensorflow as tf

from tfcxr.layers.adaptive_augmentation import (
    AUGMENTATION_NAMES,
    MAXIMUM_ROTATION,
    NORMAL_COLUMNS,
    NORMALS_PER_IMAGE,
    RADIOGRAPH_SAFE,
    UNIFORM_COLUMNS,
    UNIFORMS_PER_IMAGE,
    adaptive_augment,
    next_probability,
)

ALWAYS = tf.constant(1.0)
IMAGES = tf.random.stateless_uniform([6, 16, 16, 1], [0, 0], -1.0, 1.0)


def numbers(batch, seed=1):
    normal = tf.random.stateless_normal([batch, NORMALS_PER_IMAGE], [seed, 0])
    return normal, tf.random.stateless_uniform([batch, UNIFORMS_PER_IMAGE], [seed, 1])


def apply_alone(name, images, normals=(), uniforms=()):
    """One transform, always applied, with the given numbers of its own for every image."""
    normal = np.zeros([len(images), NORMALS_PER_IMAGE], np.float32)
    uniform = np.zeros([len(images), UNIFORMS_PER_IMAGE], np.float32)
    normal[:, NORMAL_COLUMNS.get(name, ())] = normals
    uniform[:, UNIFORM_COLUMNS.get(name, ())] = uniforms
    return adaptive_augment(images, ALWAYS, tf.constant(normal), tf.constant(uniform), (name,)).numpy()


def blob(x, y, radius_x, radius_y=None, size=65):
    """One image, 0 with a bright soft ellipse around (x, y), counted from the middle, in pixels."""
    rows, columns = np.mgrid[:size, :size] - size // 2
    shape = np.exp(-(((columns - x) / radius_x) ** 2) - ((rows - y) / (radius_y or radius_x)) ** 2)
    return tf.constant(shape[None, :, :, None], tf.float32)


def middle_and_spread(image):
    """Mean and standard deviation (x, y) of where an image's light is, from its middle."""
    weights = image[0, :, :, 0] / image.sum()
    positions = np.stack(np.meshgrid(*[np.arange(image.shape[1]) - image.shape[1] // 2] * 2))
    middle = (positions * weights).sum(axis=(1, 2))
    return middle, np.sqrt(((positions - middle[:, None, None]) ** 2 * weights).sum(axis=(1, 2)))


@pytest.mark.thorough
@pytest.mark.parametrize(("shape", "dtype"), [((6, 16, 16, 1), tf.float32), ((6, 15, 20, 3), tf.bfloat16)])
def test_probability_zero_gives_the_images_back_bit_for_bit(shape, dtype):
    images = tf.cast(tf.random.stateless_uniform(shape, [0, 0], -1.0, 1.0), dtype)
    for augment in (augment_never, tf.function(augment_never)):
        augmented = augment(images, *numbers(6))
        assert augmented.dtype == dtype
        np.testing.assert_array_equal(augmented, images)


def augment_never(images, normal, uniform):
    return adaptive_augment(images, tf.constant(0.0), normal, uniform, AUGMENTATION_NAMES)


def test_nothing_named_changes_nothing():
    np.testing.assert_array_equal(adaptive_augment(IMAGES, ALWAYS, *numbers(6), names=()), IMAGES)


def test_translation_moves_whole_pixels_and_mirrors_at_the_border():
    moved = apply_alone("translation", IMAGES, uniforms=(0.99, 0.25))  # of 16 pixels: two right, one up
    mirrored = np.pad(IMAGES, [(0, 0), (2, 2), (2, 2), (0, 0)], mode="reflect")
    np.testing.assert_array_equal(moved, mirrored[:, 3:19, 0:16])


def test_fractional_translation_by_half_a_pixel_takes_the_mean_of_two():
    moved = apply_alone("fractional_translation", IMAGES, normals=(0.25, 0.0))  # a quarter of an eighth of 16
    expected = (IMAGES[:, :, :-1] + IMAGES[:, :, 1:]) / 2
    np.testing.assert_allclose(moved[:, :, 1:], expected, atol=1e-6)


def test_isotropic_scaling_scales_the_area_of_a_disc():
    image = blob(0, 0, 6)
    scaled = apply_alone("isotropic_scaling", image, normals=(1.0,))
    np.testing.assert_allclose(scaled.sum() / image.numpy().sum(), 2**0.4, rtol=0.01)
    np.testing.assert_allclose(middle_and_spread(scaled)[0], 0, atol=1e-3)


def test_anisotropic_scaling_widens_and_flattens():
    spread = middle_and_spread(apply_alone("anisotropic_scaling", blob(0, 0, 6), normals=(1.0,)))[1]
    # A Gaussian blob's standard deviation is its radius over root 2; bilinear resampling adds a little.
    np.testing.assert_allclose(spread * np.sqrt(2) / 6, [2**0.2, 2**-0.2], rtol=0.01)


@pytest.mark.parametrize(("number", "angle"), [(0.0, -10), (0.75, 5), (1 - 2**-24, 10)])
def test_rotation_turns_clockwise_about_the_middle(number, angle):
    assert MAXIMUM_ROTATION == 10
    middle, _ = middle_and_spread(apply_alone("rotation", blob(15, -5, 3), uniforms=(number,)))
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    np.testing.assert_allclose(middle, [15 * cosine + 5 * sine, 15 * sine - 5 * cosine], atol=0.02)


def test_transforms_combine_in_order():
    normal, uniform = np.zeros([1, NORMALS_PER_IMAGE], np.float32), np.full([1, UNIFORMS_PER_IMAGE], 0.5, np.float32)
    uniform[:, UNIFORM_COLUMNS["translation"]] = 0.99, 0.5  # 65 pixels: eight to the right,
    normal[:, NORMAL_COLUMNS["isotropic_scaling"]] = -1.0  # then smaller,
    uniform[:, UNIFORM_COLUMNS["rotation"]] = 1.0  # turned by ten degrees,
    normal[:, NORMAL_COLUMNS["fractional_translation"]] = 0.0, 0.5  # then down
    moved = adaptive_augment(blob(4, 0, 3), ALWAYS, tf.constant(normal), tf.constant(uniform)).numpy()
    distance = 12 * 2**-0.2
    expected = [distance * np.cos(np.radians(10)), distance * np.sin(np.radians(10)) + 65 / 16]
    np.testing.assert_allclose(middle_and_spread(moved)[0], expected, atol=0.03)


def test_brightness_adds_and_contrast_multiplies():
    np.testing.assert_allclose(apply_alone("brightness", IMAGES, normals=(-1.5,)), IMAGES - 0.3, atol=1e-6)
    np.testing.assert_allclose(apply_alone("contrast", IMAGES, normals=(2.0,)), IMAGES * 2, rtol=1e-6)


def test_noise_is_normal_and_differs_between_images():
    seeds = np.array([[0.1, 0.2], [0.1, 0.2 + 2**-23], [0.3, 0.2]], np.float32)
    noise = apply_alone("noise", tf.zeros([3, 64, 64, 1]), normals=(-2.0,), uniforms=seeds).reshape(3, -1)
    # 4,096 draws: four standard errors.
    np.testing.assert_allclose(noise.mean(axis=1), 0, atol=4 * 0.2 / 64)
    np.testing.assert_allclose(noise.std(axis=1), 0.2, atol=4 * 0.2 / 64 / np.sqrt(2))
    np.testing.assert_allclose(np.mean(np.abs(noise) > 0.4, axis=1), 0.0455, atol=4 * np.sqrt(0.0455 / 4096))
    np.testing.assert_allclose(np.corrcoef(noise) - np.eye(3), 0, atol=4 / 64)
    np.testing.assert_allclose(np.corrcoef(noise[0, :-1], noise[0, 1:])[0, 1], 0, atol=4 / 64)


def test_noise_is_box_and_mullers_of_hashed_positions():
    """By hand in numpy: MurmurHash3's last steps for each of two seeds, then the two halves of the word."""
    words = np.arange(9, dtype=np.uint32)
    for seed in (0.25, 0.75):
        words ^= np.uint32(seed * 2**24)
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
            words = (words ^ (words >> np.uint32(shift))) * np.uint32(factor)
    high, low = np.float64(words >> np.uint32(16)), np.float64(words & np.uint32(0xFFFF))
    expected = np.sqrt(-2 * np.log((high + 0.5) / 65536)) * np.cos(2 * np.pi * low / 65536)
    noise = apply_alone("noise", tf.zeros([1, 3, 3, 1]), normals=(10.0,), uniforms=(0.25, 0.75))
    np.testing.assert_allclose(noise.ravel(), expected, rtol=1e-3, atol=1e-4)


def test_cutout_greys_a_window_of_half_the_size():
    cut = apply_alone("cutout", tf.ones([1, 16, 16, 1]), uniforms=(0.25, 0.5))[0, :, :, 0]
    expected = np.ones([16, 16])
    expected[4:12, 0:8] = 0
    np.testing.assert_array_equal(cut, expected)


def test_flip_and_quarter_turns_move_pixels_onto_pixels():
    np.testing.assert_array_equal(apply_alone("horizontal_flip", IMAGES, uniforms=(0.4,)), IMAGES[:, :, ::-1])
    np.testing.assert_array_equal(apply_alone("horizontal_flip", IMAGES, uniforms=(0.5,)), IMAGES)
    for quarters in range(4):
        turned = apply_alone("quarter_turn", IMAGES, uniforms=(quarters / 4 + 0.1,))
        np.testing.assert_array_equal(turned, np.rot90(IMAGES, quarters, axes=(2, 1)))


def test_flips_and_turns_happen_only_when_named():
    assert set(AUGMENTATION_NAMES) - set(RADIOGRAPH_SAFE) == {"noise", "cutout", "horizontal_flip", "quarter_turn"}
    normal, uniform = numbers(6)
    augmented = adaptive_augment(IMAGES, ALWAYS, normal, uniform).numpy()
    changed = uniform.numpy()
    changed[:, UNIFORM_COLUMNS["horizontal_flip"] + UNIFORM_COLUMNS["quarter_turn"]] = 0.3
    changed = tf.constant(changed)
    np.testing.assert_array_equal(adaptive_augment(IMAGES, ALWAYS, normal, changed), augmented)
    for name in ("horizontal_flip", "quarter_turn"):
        named = adaptive_augment(IMAGES, ALWAYS, normal, changed, (*RADIOGRAPH_SAFE, name))
        assert np.abs(named - augmented).max() > 0.1
    # A light on the right stays there, whatever the default draws within three standard deviations.
    normal, uniform = numbers(64)
    normal = tf.clip_by_value(normal, -1.5, 1.5)
    lit = tf.repeat(blob(16, 0, 4), 64, axis=0)
    moved = adaptive_augment(lit, ALWAYS, normal, uniform, ("isotropic_scaling", "anisotropic_scaling", "rotation"))
    for image in moved.numpy():
        assert middle_and_spread(image[None])[0][0] > 8


@pytest.mark.parametrize("name", AUGMENTATION_NAMES)
def test_share_of_changed_images_is_the_probability(name):
    count = 4000
    images = tf.random.stateless_uniform([count, 16, 16, 1], [2, 2], -1.0, 1.0)
    augmented = adaptive_augment(images, tf.constant(0.3), *numbers(count), names=(name,))
    share = np.mean(np.any(augmented.numpy() != images.numpy(), axis=(1, 2, 3)))
    # What is applied may be a turn by nothing; of five shifts from -2 to 2, the one by 0 has a quarter each way.
    changing = {"horizontal_flip": 1 / 2, "quarter_turn": 3 / 4, "translation": 1 - 1 / 16}.get(name, 1)
    expected = 0.3 * changing
    assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / count)


def test_each_transform_has_random_numbers_of_its_own():
    assert sorted(sum(NORMAL_COLUMNS.values(), ())) == list(range(NORMALS_PER_IMAGE))
    assert sorted(sum(UNIFORM_COLUMNS.values(), ())) == list(range(len(AUGMENTATION_NAMES), UNIFORMS_PER_IMAGE))


def test_transforms_are_applied_independently_of_each_other():
    count = 4000
    images = tf.zeros([count, 2, 2, 1]) + 0.5
    normal, uniform = numbers(count)
    is_bright, is_contrast = (
        adaptive_augment(images, tf.constant(0.3), normal, uniform, (name,)).numpy()[:, 0, 0, 0] != 0.5
        for name in ("brightness", "contrast")
    )
    assert abs(np.mean(is_bright & is_contrast) - 0.09) < 4 * np.sqrt(0.09 * 0.91 / count)


def test_an_image_comes_out_the_same_in_any_batch():
    normal, uniform = numbers(6)
    together = adaptive_augment(IMAGES, tf.constant(0.7), normal, uniform, AUGMENTATION_NAMES)
    rows = [4, 1]
    apart = adaptive_augment(
        tf.gather(IMAGES, rows),
        tf.constant(0.7),
        tf.gather(normal, rows),
        tf.gather(uniform, rows),
        tuple(reversed(AUGMENTATION_NAMES)),
    )
    np.testing.assert_array_equal(apart, tf.gather(together, rows))
    assert np.any(together.numpy() != IMAGES.numpy(), axis=(1, 2, 3)).all()


def total_gradient(images, normal, uniform):
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(adaptive_augment(images, ALWAYS, normal, uniform) ** 2)
    return tape.gradient(total, images)


def augment_by_all(images, normal, uniform):
    return adaptive_augment(images, ALWAYS, normal, uniform, AUGMENTATION_NAMES)


@pytest.mark.parametrize("function", [augment_by_all, total_gradient], ids=["first_order", "second_order"])
@pytest.mark.parametrize("seed", [5, 6, 7])
def test_gradient_matches_finite_differences(function, seed):
    shape = (1, 5, 6, 1)
    image = tf.random.stateless_uniform(shape, [seed, 3], -1.0, 1.0)
    weights = tf.random.stateless_normal(shape, [seed, 4])
    normal, uniform = numbers(1, seed)
    with tf.GradientTape() as tape:
        tape.watch(image)
        total = tf.reduce_sum(weights * function(image, normal, uniform))
    exact = tape.gradient(total, image).numpy().ravel()
    # A batch of one pixel changed each; all is affine in the images, so a wide step costs no accuracy.
    nearby = image + tf.reshape(tf.eye(30), [30, 5, 6, 1])
    repeated = function(nearby, tf.repeat(normal, 30, axis=0), tf.repeat(uniform, 30, axis=0))
    numeric = tf.reduce_sum(weights * repeated, axis=[1, 2, 3]) - total
    np.testing.assert_allclose(exact, numeric, atol=1e-4)
    assert np.abs(exact).max() > 0.1


@pytest.mark.parametrize("deviations", [-8.0, 8.0, 50.0])
@pytest.mark.parametrize("share", [0.0, 1 - 2**-24])
def test_extreme_numbers_stay_finite(deviations, share):
    normal = tf.fill([6, NORMALS_PER_IMAGE], deviations)
    uniform = tf.fill([6, UNIFORMS_PER_IMAGE], share)
    images = tf.Variable(IMAGES * 100)
    with tf.GradientTape() as tape:
        augmented = adaptive_augment(images, ALWAYS, normal, uniform, AUGMENTATION_NAMES)
        total = tf.reduce_sum(augmented)
    assert np.isfinite(augmented).all()
    assert np.isfinite(tape.gradient(total, images)).all()


def test_bfloat16_is_moved_as_exactly_as_float32():
    images = tf.cast(IMAGES, tf.bfloat16)
    normal, uniform = numbers(6)
    augmented = adaptive_augment(images, ALWAYS, normal, uniform, AUGMENTATION_NAMES)
    exact = adaptive_augment(tf.cast(images, tf.float32), ALWAYS, normal, uniform, AUGMENTATION_NAMES)
    assert augmented.dtype == tf.bfloat16
    np.testing.assert_array_equal(augmented, tf.cast(exact, tf.bfloat16))


def test_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(
        ValueError, match="unknown augmentation 'rotations'; did you mean 'rotation'[?] valid names: tr"
    ):
        adaptive_augment(IMAGES, ALWAYS, *numbers(6), names=("rotations",))
    with pytest.raises(ValueError, match="unknown augmentation 'hue'; valid names: translation, "):
        adaptive_augment(IMAGES, ALWAYS, *numbers(6), names=("hue",))


def test_random_numbers_of_another_shape_are_refused():
    normal, uniform = numbers(6)
    with pytest.raises(ValueError, match=r"normal must be of shape \(6, 7\), a row for each image, got \(6, 6\)"):
        adaptive_augment(IMAGES, ALWAYS, normal[:, 1:], uniform)
    with pytest.raises(ValueError, match=r"uniform must be of shape \(6, 20\), .* got \(5, 20\)"):
        adaptive_augment(IMAGES, ALWAYS, normal, uniform[1:])


def test_controller_follows_the_mean_sign():
    step = 256 / 500_000
    for mean_sign, expected in ((0.9, 0.5 + step), (0.6, 0.5), (0.1, 0.5 - step), (-1.0, 0.5 - step)):
        moved = next_probability(tf.constant(0.5), tf.constant(mean_sign), 256)
        np.testing.assert_allclose(moved, expected, atol=1e-7)
    faster = next_probability(tf.constant(0.5), tf.constant(0.5), tf.constant(64), target=0.4, speed_kimg=1.0)
    np.testing.assert_allclose(faster, 0.564, atol=1e-6)


def test_controller_is_clipped():
    assert next_probability(tf.constant(0.0001), tf.constant(0.0), 256) == 0
    assert next_probability(tf.constant(0.9999), tf.constant(1.0), 256) == 1
