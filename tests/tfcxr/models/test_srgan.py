import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcxr.config import make_config
from tfcxr.models.srgan import SRGAN, SRGANConfig, average_down, enlarge_bicubic

pytestmark = pytest.mark.thorough

TINY = {
    "image_size": 32,
    "crop_size": 16,
    "residual_blocks": 1,
    "filters": 8,
    "kernel_size": 3,
    "discriminator_filters": 4,
    "warmup_steps": 0,
}
VGG = {"content_loss": "vgg19", "content_weights": "random", "content_layer": "block1_conv2"}


def make_model(seed=1, **settings):
    return SRGAN(make_config(SRGANConfig, TINY, settings), seed=seed)


def make_batch(size=32, rows=4):
    label = tf.one_hot(np.arange(rows) % 2, 2)
    image = tf.random.stateless_uniform([rows, size, size, 1], [1, 2], -1.0, 1.0)
    return {"image": image, "label": label, "label_mask": tf.ones_like(label)}


def step_once(model, batch=None):
    means = model.train_step(make_batch() if batch is None else batch)  # eager; the contract tests trace it
    return {name: float(value) for name, value in means.items()}


def values(network):
    return [variable.numpy() for variable in network.trainable_variables]


def moved(before, network):
    return [not np.array_equal(old, new) for old, new in zip(before, values(network), strict=True)]


def steps_of(optimizer):
    return int(np.asarray(optimizer.iterations))


def with_random_last_layer(model):
    for generator in (model.generator, model.ema_generator):
        generator.last.kernel.assign(tf.random.stateless_normal(generator.last.kernel.shape, [7, 7]) * 0.5)
    return model


@pytest.mark.parametrize(
    "settings",
    [
        {"scale": 2, "normalization": "batch", "activation": "prelu", "channels": 3},
        {"scale": 8, "crop_size": 0, "pixel_error": "squared", "discriminator_dense_units": 8},
        {"adversarial_loss": "least_squares", "ema_decay": 0.0, "warmup_steps": 1},
        {"adversarial_loss": "hinge", "precision": "mixed_bfloat16"} | VGG,
        {"pixel_weight": 0.0} | VGG,
    ],
    ids=str,
)
def test_every_option_takes_a_finite_step_and_enlarges(settings):
    model = make_model(**settings)
    assert np.isfinite(list(step_once(model).values())).all()
    scale, channels = settings.get("scale", 4), settings.get("channels", 1)
    image = model.super_resolve(tf.zeros([2, 6, 9, channels]))
    assert image.shape == (2, 6 * scale, 9 * scale, channels)
    assert image.dtype == tf.float32
    assert model.super_resolve(tf.zeros([0, 6, 9, channels])).shape == (0, 6 * scale, 9 * scale, channels)


def test_an_untrained_generator_is_the_bicubic_enlargement():
    model = make_model()
    low = average_down(make_batch()["image"], 4)
    np.testing.assert_allclose(model.generator(low), enlarge_bicubic(low, 4), atol=1e-6)
    clipped = tf.clip_by_value(enlarge_bicubic(2 * low, 4), -1, 1)
    np.testing.assert_allclose(model.super_resolve(2 * low), clipped, atol=1e-6)


def test_small_images_are_the_builders_area_averages():
    cv2 = pytest.importorskip("cv2")
    image = np.random.default_rng(0).uniform(-1, 1, [1, 32, 32, 1]).astype(np.float32)
    expected = cv2.resize(image[0, ..., 0], (8, 8), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(average_down(tf.constant(image), 4)[0, ..., 0], expected, atol=1e-6)


def test_crops_are_squares_of_the_image_each_at_its_own_place():
    model = make_model()
    rows, columns = np.mgrid[:32, :32]
    places = tf.tile(tf.constant(rows * 32.0 + columns, tf.float32)[None, ..., None], [200, 1, 1, 1])
    crops = tf.function(model._crop)(places).numpy()[..., 0]
    assert crops.shape == (200, 16, 16)
    np.testing.assert_array_equal(crops - crops[:, :1, :1], np.broadcast_to(places[0, :16, :16, 0], crops.shape))
    tops, lefts = np.divmod(crops[:, 0, 0], 32)
    for corner in (tops, lefts):
        assert set(corner) == set(range(17)), "every place is drawn"
    assert abs(np.corrcoef(tops, lefts)[0, 1]) < 0.2
    model.step.assign(1)
    assert not np.array_equal(tf.function(model._crop)(places)[..., 0], crops), "another step, other places"
    whole = make_model(crop_size=32)
    np.testing.assert_array_equal(whole._crop(places), places)


@pytest.mark.parametrize("settings", [{"scale": 2}, {"scale": 4, "kernel_size": 9}, {"scale": 8}], ids=str)
def test_tiles_leave_no_trace(settings):
    """On sizes that are no multiple of the tile, smaller than it, and not square."""
    model = with_random_last_layer(make_model(**settings, normalization="batch"))
    tile = 2 * model.config.reach + 9
    super_resolve = tf.function(
        lambda low: model.super_resolve(low, tile), input_signature=[tf.TensorSpec([None, None, None, 1], tf.float32)]
    )
    for size in ((tile + 9, tile + 1), (9, tile + 4), (tile, tile), (1, 3)):
        low = tf.random.stateless_uniform([2, *size, 1], [3, 4], -1.0, 1.0)
        whole = tf.clip_by_value(model.ema_generator(low, training=False), -1, 1).numpy()
        bicubic = tf.clip_by_value(enlarge_bicubic(low, model.config.scale), -1, 1)
        assert np.abs(whole - bicubic).max() > 0.05, "the network adds to it"
        np.testing.assert_allclose(super_resolve(low), whole, atol=1e-5)


def test_the_default_tile_leaves_no_trace_either():
    model = with_random_last_layer(make_model(scale=8))
    low = tf.random.stateless_uniform([1, 70, 65, 1], [3, 4], -1.0, 1.0)
    whole = tf.clip_by_value(model.ema_generator(low), -1, 1)
    np.testing.assert_allclose(tf.function(model.super_resolve)(low), whole, atol=1e-5)


def test_the_reach_is_no_larger_than_needed_by_more_than_two_pixels():
    model = with_random_last_layer(make_model(scale=4, kernel_size=9))
    low = tf.Variable(tf.random.stateless_uniform([1, 41, 41, 1], [3, 4], -1.0, 1.0))
    with tf.GradientTape() as tape:
        center = tf.reduce_sum(model.generator(low)[0, 80:84, 80:84])
    depends = np.any(tape.gradient(center, low)[0, ..., 0].numpy() != 0, axis=0)
    reach = 20 - np.argmax(depends)
    assert reach <= model.config.reach <= reach + 2


def test_tiles_smaller_than_the_reach_are_refused():
    model = make_model()
    with pytest.raises(ValueError, match=f"tile_size must be above {2 * model.config.reach}"):
        model.super_resolve(tf.zeros([1, 50, 50, 1]), tile_size=5)


def test_warmup_moves_the_generator_by_pixels_alone_and_leaves_adam_fresh():
    """After the warm-up the discriminator's first step is as large as a fresh one's: the learning rate."""
    model = make_model(warmup_steps=3)
    discriminator, generator = values(model.discriminator), values(model.generator)
    step = tf.function(model.train_step)
    for _ in range(3):
        means = step(make_batch())
    assert not any(moved(discriminator, model.discriminator)) and any(moved(generator, model.generator))
    assert int(model.step) == 3 and int(model.discriminator_optimizer.iterations) == 0
    assert float(means["generator_adversarial"]) == 0 and float(means["content"]) == float(means["pixel_error"]) > 0
    step(make_batch())
    assert all(moved(discriminator, model.discriminator))
    assert int(model.discriminator_optimizer.iterations) == 1
    largest = max(np.abs(new - old).max() for old, new in zip(discriminator, values(model.discriminator), strict=True))
    assert largest == pytest.approx(model.config.discriminator_learning_rate, rel=1e-3)


def test_warmup_works_with_two_replicas(two_replicas):
    strategy = two_replicas
    with strategy.scope():
        model = make_model(warmup_steps=1)
    before = values(model.discriminator)
    step = tf.function(lambda batch: strategy.run(model.train_step, args=(batch,)))
    step(make_batch(rows=2))
    assert not any(moved(before, model.discriminator)) and steps_of(model.discriminator_optimizer) == 0
    step(make_batch(rows=2))
    assert all(moved(before, model.discriminator)) and steps_of(model.discriminator_optimizer) == 1


def test_gradients_are_those_of_the_losses_as_they_are_written():
    """One backward pass through the generator, by hand: content + weight * adversarial, with D as it was."""
    model = with_random_last_layer(make_model(crop_size=32, adversarial_weight=0.1))
    batch = make_batch()
    low = tf.round((average_down(batch["image"], 4) + 1) * 127.5) / 127.5 - 1
    with tf.GradientTape(persistent=True) as tape:
        fake = model.generator(low, training=True)
        fake_logits, real_logits = model.discriminator(fake), model.discriminator(batch["image"])
        generator_total = tf.reduce_mean(tf.abs(fake - batch["image"])) + 0.1 * tf.reduce_mean(
            tf.nn.softplus(-fake_logits)
        )
        discriminator_total = tf.reduce_mean(tf.nn.softplus(-real_logits) + tf.nn.softplus(fake_logits))
    expected = {
        id(model.generator): tape.gradient(generator_total, model.generator.trainable_variables),
        id(model.discriminator): tape.gradient(discriminator_total, model.discriminator.trainable_variables),
    }
    seen = []
    model.apply_gradients = lambda network, gradients: seen.append((network, gradients))
    model.train_step(batch)
    assert [network for network, _ in seen] == [model.discriminator, model.generator]
    for network, gradients in seen:
        for ours, theirs in zip(gradients, expected[id(network)], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-6)


def test_feature_networks_are_neither_trained_nor_kept(tmp_path):
    plain, model = make_model(), make_model(**VGG)
    assert plain.checkpoint_variables().keys() == model.checkpoint_variables().keys()
    assert len(plain.variables) == len(model.variables)
    before = model._features(make_batch()["image"]).numpy()
    means = step_once(model)
    assert means["content"] > means["pixel_error"], "the error of features is added"
    np.testing.assert_array_equal(model._features(make_batch()["image"]), before)


def test_any_saved_model_scores_content(tmp_path):
    image = keras.Input([None, None, 1])
    keras.Model(image, keras.layers.AveragePooling2D(4)(image)).export(tmp_path / "m", verbose=False)
    settings = {"content_loss": "saved_model", "content_model": str(tmp_path / "m"), "pixel_weight": 0.0}
    model = make_model(crop_size=32, **settings)
    batch = make_batch()
    low = tf.round((average_down(batch["image"], 4) + 1) * 127.5) / 127.5 - 1
    error = average_down(model.generator(low), 4) - average_down(batch["image"], 4)
    assert step_once(model, batch)["content"] == pytest.approx(float(tf.reduce_mean(error**2)), rel=1e-4)


def test_three_channels_of_a_grey_image_are_equal():
    model = make_model(channels=3)
    step_once(model)
    assert model.super_resolve(tf.zeros([1, 4, 4, 3])).shape == (1, 16, 16, 3)


def test_it_learns_what_bicubic_cannot_know():
    """Stripes of one pixel's width that a small image shows as brightness alone: learnt in a few steps."""
    batch = make_batch(rows=4)
    coarse = tf.repeat(tf.repeat(average_down(batch["image"], 4), 4, 1), 4, 2)
    stripes = tf.where(tf.range(32)[None, :, None, None] % 2 == 0, coarse + 0.3, coarse - 0.3)
    batch["image"] = tf.clip_by_value(stripes, -1, 1)
    model = make_model(warmup_steps=70, crop_size=0, generator_learning_rate=1e-2)
    step = tf.function(model.train_step)
    errors = []
    for _ in range(70):
        model.metrics[0].reset_state()
        errors.append(float(step(batch)["pixel_error"]))
    assert errors[-1] < 0.5 * errors[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scale": 3}, "scale must be one of 2, 4, 8, got 3"),
        ({"crop_size": 18}, "crop_size must be a multiple of scale 4 from 16 to image_size 32, got 18"),
        ({"crop_size": 64}, "from 16 to image_size 32, got 64"),
        ({"crop_size": 8}, "from 16 to image_size 32, got 8"),
        ({"residual_blocks": 0}, "residual_blocks must be at least 1, got 0"),
        ({"kernel_size": 4}, "kernel_size must be odd, got 4"),
        ({"warmup_steps": -1}, "warmup_steps must be at least 0, got -1"),
        ({"content_loss": "saved_model"}, "needs content_model, the folder of a SavedModel; got none"),
        ({"content_loss": "vgg16"}, "content_loss expects one of 'pixel', 'vgg19', 'saved_model', got 'vgg16'"),
        ({"image_size": 48}, "power of two from 32, got 48"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        make_config(SRGANConfig, TINY, settings)


@pytest.mark.parametrize(("image_size", "crop"), [(32, 32), (128, 128), (512, 128)])
def test_crop_left_open_is_the_image_at_most_128(image_size, crop):
    assert SRGANConfig(image_size=image_size).training_crop == crop
