import numpy as np
import pytest
import tensorflow as tf

from tfcxr.config import make_config
from tfcxr.losses.penalties import gradient_penalty
from tfcxr.models.wgan_gp import WGANGP, WGANGPConfig

pytestmark = pytest.mark.thorough

TINY = {"image_size": 32, "latent_size": 8, "filters": 4, "critic_steps": 3, "initializer": "he"}
PERCEPTRON = {"architecture": "perceptron", "generator_units": (8, 16), "discriminator_units": (16, 8)}
CONDITIONAL = {"conditional": True, "label_count": 2}


def make_gan(**settings):
    return WGANGP(make_config(WGANGPConfig, TINY, settings), seed=1)


def make_batch(rows=12):
    label = tf.one_hot(np.arange(rows) // 2 % 2, 2)
    image = tf.random.stateless_uniform([rows, 32, 32, 1], [1, 2], -1.0, 1.0)
    return {"image": image, "label": label, "label_mask": tf.ones_like(label)}


def values(variables):
    return [variable.numpy() for variable in variables]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        PERCEPTRON,
        PERCEPTRON | CONDITIONAL | {"channels": 3},
        {"upsampling": "resize", "image_layer": "convolution", "penalty_interval": 2},
        CONDITIONAL | {"is_single_label": False, "precision": "mixed_bfloat16", "kernel_size": 5},
        {"critic_steps": 1, "normalization": "none", "drift_weight": 0.0, "ema_decay": 0.0},
    ],
)
def test_every_option_takes_a_finite_step(settings):
    model = make_gan(**settings)
    means = tf.function(model.train_step)(make_batch())
    assert means.keys() == set(WGANGP.metric_names)
    assert np.isfinite([float(value) for value in means.values()]).all()
    labels = tf.ones([2, model.config.label_count])
    image = model.generate(tf.constant([1, 2], tf.int64), labels)
    assert image.shape == (2, 32, 32, settings.get("channels", 1))
    assert -1 <= tf.reduce_min(image) <= tf.reduce_max(image) <= 1
    critic_value, label_logits = model.score(image, labels)
    assert critic_value.shape == (2, 1)
    assert critic_value.dtype == tf.float32
    assert label_logits is None


@pytest.mark.parametrize(
    ("image_size", "filters"), [(32, [4, 8, 16]), (64, [4, 8, 16, 32]), (256, [4, 8, 16, 32, 32, 32])]
)
@pytest.mark.parametrize("image_layer", ["transpose", "convolution"])
def test_any_power_of_two_from_32_to_256(image_size, filters, image_layer):
    model = make_gan(image_size=image_size, image_layer=image_layer)
    assert [convolution.filters for convolution in model.discriminator.convolutions] == filters
    full_size = filters[:1] if image_layer == "convolution" else []
    assert [convolution.filters for convolution in model.generator.stages] == filters[-2::-1] + full_size
    assert model.generate(tf.constant([1], tf.int64), tf.ones([1, 0])).shape == (1, image_size, image_size, 1)


def test_dcgans_networks():
    model = WGANGP(WGANGPConfig(filters=64, upsampling="transpose", image_layer="transpose"))
    assert [kernel.shape[-1] for kernel in model.discriminator.trainable_variables[0:8:2]] == [64, 128, 256, 512]
    assert model.generator.first_shape == (4, 4, 512)
    assert [convolution.filters for convolution in model.generator.stages] == [256, 128, 64]
    assert len(model.discriminator.variables) == 2 * (4 + 1), "no normalization in the critic"


@pytest.mark.parametrize("settings", [CONDITIONAL, PERCEPTRON], ids=["convolutional", "perceptron"])
def test_one_step_is_the_usual_algorithm(settings):
    """n critic steps, each on its own rows with images of its own, and then one of the generator; written out plainly.

    Both draw z of critic step k from the rows k of n + 1. The two graphs round differently and Adam's first steps
    divide gradients by their own size: hence an epsilon above the noise.
    """
    ours, plain = make_gan(**settings), make_gan(**settings)
    for model in (ours, plain):
        model.generator_optimizer.epsilon = model.discriminator_optimizer.epsilon = 1e-2
    batch = make_batch()
    tf.function(ours.train_step)(batch)

    z, uniform = plain.normal([4 * (3 + 1), 8], stream=0), plain.uniform([4 * 3, 1], stream=1)
    condition = batch["label"] if plain.config.conditional else tf.zeros([12, 0])
    for k in range(3):
        real, label = batch["image"][k::3], condition[k::3]
        fake = plain.generator((z[k::4], label), training=True)
        with tf.GradientTape() as tape:
            real_values, fake_values = plain.discriminator((real, label)), plain.discriminator((fake, label))
            critic = lambda image: plain.discriminator((image, label))  # noqa: B023, E731
            loss = tf.reduce_mean(fake_values) - tf.reduce_mean(real_values)
            loss += 10.0 * gradient_penalty(critic, real, fake, uniform[k::3])
            loss += 1e-3 * tf.reduce_mean(tf.square(real_values))
        variables = plain.discriminator.trainable_variables
        plain.discriminator_optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
    with tf.GradientTape() as tape:
        fake = plain.generator((z[3::4], condition[2::3]), training=True)
        loss = -tf.reduce_mean(plain.discriminator((fake, condition[2::3])))
    variables = plain.generator.trainable_variables
    plain.generator_optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    for network in ("generator", "discriminator"):
        for mine, theirs in zip(getattr(ours, network).variables, getattr(plain, network).variables, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6, err_msg=mine.path)


def test_generator_counts_once_and_critic_n_times():
    model = make_gan()
    assert model.config.batches_per_step == 3
    generator, critic = values(model.generator.trainable_variables), values(model.discriminator.trainable_variables)
    step = tf.function(model.train_step)
    for count in (1, 2):
        step(make_batch())
        assert int(model.step) == int(model.generator_optimizer.iterations) == count
        assert int(model.discriminator_optimizer.iterations) == 3 * count
    for before, network in ((generator, model.generator), (critic, model.discriminator)):
        for old, variable in zip(before, network.trainable_variables, strict=True):
            assert not np.array_equal(old, variable), variable.path


def test_critic_learns_and_is_held_to_slope_1():
    """Against a generator that stands still, bright images come to be valued above the fake ones, at the slope 1.

    At images d apart, the best slope is 1 + d / (2 lambda); d is about 18 here, so that lambda 10 would allow 1.9.
    """
    settings = {"generator_learning_rate": 0.0, "discriminator_learning_rate": 1e-3, "penalty_weight": 500.0}
    model = make_gan(**settings, **PERCEPTRON)
    step, batch = tf.function(model.train_step), make_batch()
    batch["image"] = 0.5 + 0.5 * batch["image"]
    for _ in range(50):
        for mean in model.metrics:
            mean.reset_state()
        means = {name: float(value) for name, value in step(batch).items()}
    assert means["real_score"] > means["fake_score"] + 3.0, means
    assert means["gradient_penalty"] < 0.1, means


def test_the_penalty_weighs_what_is_set():
    weights = {}
    for penalty_weight in (0.0, 10.0):
        model = make_gan(penalty_weight=penalty_weight, critic_steps=1, **PERCEPTRON)
        tf.function(model.train_step)(make_batch())
        weights[penalty_weight] = values(model.discriminator.trainable_variables)
    assert not np.array_equal(weights[0.0][0], weights[10.0][0])


@pytest.mark.parametrize(("step", "equal_weight"), [(0, 20.0), (1, 0.0), (2, 20.0)])
def test_a_lazy_penalty_is_rarer_and_as_much_stronger(step, equal_weight):
    lazy = make_gan(critic_steps=1, penalty_weight=10.0, penalty_interval=2, **PERCEPTRON)
    other = make_gan(critic_steps=1, penalty_weight=equal_weight, **PERCEPTRON)
    for model in (lazy, other):
        model.generator_optimizer.epsilon = model.discriminator_optimizer.epsilon = 1e-2
        model.step.assign(step)
    means = tf.function(lazy.train_step)(make_batch())
    tf.function(other.train_step)(make_batch())
    assert (float(means["gradient_penalty"]) > 0) == bool(equal_weight)
    for mine, theirs in zip(lazy.discriminator.variables, other.discriminator.variables, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("settings", [{}, PERCEPTRON], ids=["convolutional", "perceptron"])
def test_critic_values_each_image_alone(settings):
    model, images = make_gan(**settings), make_batch(4)["image"]
    together = model.score(images, tf.zeros([4, 0]))[0]
    alone = [model.score(images[row : row + 1], tf.zeros([1, 0]))[0][0] for row in range(4)]
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, PERCEPTRON], ids=["convolutional", "perceptron"])
def test_both_networks_are_told_the_label(settings):
    model = make_gan(**CONDITIONAL, **settings)
    normal, pneumonia = tf.constant([[1.0, 0.0]]), tf.constant([[0.0, 1.0]])
    seed = tf.constant([1], tf.int64)
    image = model.generate(seed, normal)
    assert not np.allclose(image, model.generate(seed, pneumonia), atol=1e-4)
    values_of_both, _ = model.score(tf.repeat(image, 2, axis=0), tf.concat([normal, pneumonia], axis=0))
    assert abs(float(values_of_both[0, 0] - values_of_both[1, 0])) > 1e-4


def test_an_unknown_label_adds_nothing_to_the_critics_value():
    model, images = make_gan(**CONDITIONAL), make_batch(2)["image"]
    without = model.discriminator((images, tf.zeros([2, 2])))
    np.testing.assert_allclose(model.score(images, tf.ones([2, 2]), tf.zeros([2, 2]))[0], without)
    features = images
    for convolution in model.discriminator.convolutions:
        features = tf.nn.leaky_relu(convolution(features), 0.2)
    np.testing.assert_allclose(model.discriminator.realism(tf.reshape(features, [2, -1])), without, rtol=1e-5)


def test_rows_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="takes critic_steps=3 batches of equal size, got 7 images; give a multiple"):
        make_gan().train_step(make_batch(rows=7))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"critic_steps": 0}, "critic_steps must be at least 1, got 0"),
        ({"image_size": 512}, "32 to 256 px, got image_size=512"),
        ({"penalty_weight": -1.0}, "penalty_weight must be at least 0, got -1.0"),
        ({"drift_weight": -1.0}, "drift_weight must be at least 0, got -1.0"),
        ({"filters": 0}, "filters must be at least 1, got 0"),
        ({"penalty_interval": 0}, "penalty_interval must be at least 1, got 0"),
        ({"upsampling": "bilinear"}, "upsampling expects one of 'transpose', 'resize'"),
        ({"kernel_size": 1}, "kernel_size must be at least 2, got 1"),
        ({"architecture": "transformer"}, "architecture expects one of 'convolutional', 'perceptron'"),
        ({"adversarial_loss": "log"}, "adversarial_loss expects one of 'wasserstein'"),
        ({"batch_normalization_epsilon": -0.1}, "must be above 0, got -0.1"),
        ({"conditional": True}, "needs at least one label"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        make_config(WGANGPConfig, settings)


@pytest.mark.parametrize("initializer", ["he", "uniform", "glorot", "normal"])
@pytest.mark.parametrize("normalization", ["batch", "none"])
@pytest.mark.parametrize("image_layer", ["transpose", "convolution"])
@pytest.mark.parametrize("upsampling", ["transpose", "resize"])
def test_an_untrained_generator_draws_few_black_or_white_pixels(initializer, normalization, image_layer, upsampling):
    """No gradient passes through them, and they would stay."""
    settings = {"initializer": initializer, "normalization": normalization}
    settings |= {"image_layer": image_layer, "upsampling": upsampling}
    model = WGANGP(WGANGPConfig(image_size=32, **settings), seed=0)
    image = model.generator((tf.random.stateless_normal([64, 100], [0, 1]), tf.zeros([64, 0])), training=True)
    assert np.mean(np.abs(image) > 0.95) < 0.1
