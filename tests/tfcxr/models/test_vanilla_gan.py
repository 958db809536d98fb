import numpy as np
import pytest
import tensorflow as tf

from tfcxr.config import make_config
from tfcxr.losses.adversarial import log_discriminator_loss, log_generator_loss
from tfcxr.models.vanilla_gan import (
    PerceptronDiscriminator,
    PerceptronGenerator,
    VanillaGAN,
    VanillaGANConfig,
)

TINY = {"image_size": 32, "latent_size": 8, "generator_units": (8, 16), "discriminator_units": (16, 8)}
CONDITIONAL = {"conditional": True, "label_count": 2}


def make_gan(**settings):
    return VanillaGAN(make_config(VanillaGANConfig, TINY, settings), seed=1)


def make_batch(rows=6):
    label = tf.one_hot(np.arange(rows) % 2, 2)
    image = tf.random.stateless_uniform([rows, 32, 32, 1], [1, 2], -1.0, 1.0)
    return {"image": image, "label": label, "label_mask": tf.ones_like(label)}


@pytest.mark.thorough
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"batch_normalization_epsilon": 0.8, "channels": 3, "adversarial_loss": "minimax"},
        {"normalization": "none", "initializer": "he", "ema_decay": 0.0},
        CONDITIONAL | {"is_single_label": False, "initializer": "normal", "precision": "mixed_bfloat16"},
        CONDITIONAL | {"initializer": "glorot"},
    ],
)
def test_every_option_takes_a_finite_step(settings):
    model = make_gan(**settings)
    means = tf.function(model.train_step)(make_batch())
    assert means.keys() == set(VanillaGAN.metric_names)
    assert np.isfinite([float(value) for value in means.values()]).all()
    image = model.generate(tf.constant([1, 2], tf.int64), tf.ones([2, model.config.label_count]))
    assert image.shape == (2, 32, 32, settings.get("channels", 1))
    assert -1 <= tf.reduce_min(image) <= tf.reduce_max(image) <= 1
    logits, label_logits = model.score(image, tf.ones([2, model.config.label_count]))
    assert logits.shape == (2, 1)
    assert logits.dtype == tf.float32
    assert label_logits is None


def test_the_default_networks_are_chetty2023s():
    config = VanillaGANConfig(image_size=256, channels=3, batch_normalization_epsilon=0.8)
    generator, discriminator = PerceptronGenerator(config, 0), PerceptronDiscriminator(config, 0)
    hidden = [[type(layer).__name__ for layer in layer.layers] for layer in generator.hidden]
    assert hidden == [["Dense", "LeakyReLU"], *[["Dense", "BatchNormalization", "LeakyReLU"]] * 3]
    assert [layer.layers[0].units for layer in generator.hidden] == [128, 256, 512, 1024]
    assert generator.to_image.units == 196608
    assert {layer.layers[1].epsilon for layer in generator.hidden[1:]} == {0.8}
    assert [dense.units for dense in discriminator.hidden] == [512, 256]
    assert discriminator.realism.units == 1


def test_one_step_equals_the_generators_and_then_the_discriminators():
    """The order of the code that chetty2023 seems to stand on: both are judged with the images of one draw."""
    shared, usual, batch = make_gan(), make_gan(), make_batch()
    shared.train_step(batch)
    none = tf.zeros([6, 0])
    z = usual.normal([6, 8], stream=0)
    with tf.GradientTape() as tape:
        fake = usual.generator((z, none), training=True)
        loss = log_generator_loss(usual.discriminator((fake, none)))
    variables = usual.generator.trainable_variables
    usual.generator_optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
    with tf.GradientTape() as tape:
        real_logits, fake_logits = (usual.discriminator((image, none)) for image in (batch["image"], fake))
        loss = log_discriminator_loss(real_logits, fake_logits)
    variables = usual.discriminator.trainable_variables
    usual.discriminator_optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
    for network in ("generator", "discriminator"):
        pairs = zip(getattr(shared, network).variables, getattr(usual, network).variables, strict=True)
        for ours, theirs in pairs:
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6, err_msg=ours.path)


def test_both_networks_are_told_the_label():
    model = make_gan(**CONDITIONAL)
    normal, pneumonia = tf.constant([[1.0, 0.0]]), tf.constant([[0.0, 1.0]])
    seed = tf.constant([1], tf.int64)
    image = model.generate(seed, normal)
    assert not np.allclose(image, model.generate(seed, pneumonia), atol=1e-4)
    logits, _ = model.score(tf.repeat(image, 2, axis=0), tf.concat([normal, pneumonia], axis=0))
    assert abs(float(logits[0, 0] - logits[1, 0])) > 1e-4
    unknown = model.score(image, normal, tf.zeros([1, 2]))[0]
    np.testing.assert_allclose(unknown, model.discriminator((image, tf.zeros([1, 2]))), err_msg="an unknown label")


def test_without_condition_the_labels_of_the_data_do_not_matter():
    batch, weights = make_batch(), []
    for label in (batch["label"], 1.0 - batch["label"]):
        model = make_gan()
        model.train_step(batch | {"label": label})
        weights.append([variable.numpy() for variable in model.variables])
    for first, second in zip(*weights, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("name", "deviation"), [("uniform", 1 / np.sqrt(3 * 1024)), ("he", np.sqrt(2 / 1024)), ("normal", 0.02)]
)
def test_initializers_spread_as_named(name, deviation):
    kernel = make_gan(initializer=name, discriminator_units=(200,)).discriminator.hidden[0].kernel
    assert kernel.shape == (1024, 200)
    assert np.std(kernel) == pytest.approx(deviation, rel=0.03)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_normalization_epsilon": 0.0}, "batch_normalization_epsilon must be above 0, got 0.0"),
        ({"generator_units": ()}, r"need at least one hidden layer each, got \(\) and"),
        ({"discriminator_units": (8, 0)}, r"discriminator_units must be at least 1, got \(8, 0\)"),
        ({"conditional": True}, "a conditional model needs at least one label"),
        ({"label_count": 2}, "an unconditional model has no labels, got label_count=2"),
        ({"image_size": 48}, "power of two from 32, got 48"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        make_config(VanillaGANConfig, settings)
