"""The discriminator with another last layer: what is copied, what is trained, what stays."""

import numpy as np
import pytest
import tensorflow as tf

from tfcxr.models.acgan import ACGAN, ACGANConfig
from tfcxr.models.model_config import Stage
from tfcxr.models.pggan import PGGAN, PGGANConfig
from tfcxr.models.retrained_discriminator import RetrainedDiscriminator, RetrainingConfig
from tfcxr.models.stylegan2 import StyleGAN2, StyleGAN2Config
from tfcxr.training.latent_regression import LatentRegressionConfig, latent_target, make_latent_regressor

pytestmark = pytest.mark.thorough


def make(**settings):
    return PGGAN(PGGANConfig(**({"image_size": 16, "latent_size": 8, "filters": (8, 8, 4)} | settings)), seed=3)


def images(rows=4, size=16, channels=1):
    return tf.tanh(tf.random.stateless_normal([rows, size, size, channels], [0, 1]))


def values(variables):
    return [np.asarray(variable).copy() for variable in variables]


def unchanged(variables, before):
    return [np.array_equal(variable, value) for variable, value in zip(variables, before, strict=True)]


def step(network, rows=4, outputs=3):
    target = tf.random.stateless_normal([rows, outputs], [5, 5])
    loss_of = lambda given: tf.reduce_mean(tf.square(given - target))  # noqa: E731
    return [float(network.train_step(images(rows), loss_of)) for _ in range(3)]


def test_features_are_those_that_the_critic_decides_by():
    model = make()
    features = model.discriminator_features(images())
    assert features.shape == (4, 8) and features.dtype == tf.float32
    judged, _ = model.score(images(), tf.zeros([4, 0]))
    np.testing.assert_allclose(model.discriminator.decision(features), judged, rtol=1e-5)
    np.testing.assert_allclose(
        model.discriminator_features(images()[1:2]), features[1:2], rtol=1e-4, atol=1e-6
    )  # alone


def test_features_of_a_growing_model_and_of_grey_images_for_colour():
    model = make(channels=3)
    model.begin_stage(Stage(8, 4, 0, 10, is_fading=True))
    model.state["alpha"].assign(0.25)
    small = tf.nn.avg_pool2d(images(), 2, 2, "VALID")
    inside = 0.5 * (tf.repeat(small, 3, axis=-1) + 1.0)
    expected = model.discriminator.features(inside, 0.25, model.state["deviation"].value)
    np.testing.assert_allclose(model.discriminator_features(images()), expected, rtol=1e-5)


def test_one_step_moves_the_copy_and_never_the_gan():
    model = make()
    before = values(model.variables)
    network = RetrainedDiscriminator(model, outputs=3)
    np.testing.assert_array_equal(network(images()), np.zeros([4, 3]))
    losses = step(network)
    assert losses[-1] < losses[0]
    assert all(unchanged(model.variables, before))
    trained = {id(variable) for variable in network.trained_variables}
    for name, variable in network.checkpoint_variables().items():
        index = int(name.split("/")[1])
        started = model.discriminator.variables[index] if name.startswith("trunk") else tf.zeros_like(variable)
        moved = not np.array_equal(variable, started)
        assert moved == (id(variable) in trained), name
    unused = network.trunk.from_image[0].variables + network.trunk.decision.variables
    assert not trained & {id(variable) for variable in unused}


def test_the_last_layer_alone_leaves_the_copy_as_it_is():
    model = make()
    network = RetrainedDiscriminator(model, 3, RetrainingConfig(trains="last_layer"))
    losses = step(network)
    assert losses[-1] < losses[0]
    assert all(unchanged(network.trunk.variables, values(model.discriminator.variables)))
    assert len(network.trained_variables) == 2


def test_while_a_block_fades_in_the_old_path_is_trained_too():
    model = make()
    model.begin_stage(Stage(16, 4, 0, 10, is_fading=True))
    model.state["alpha"].assign(0.5)
    network = RetrainedDiscriminator(model, 3)
    old = network.trunk.from_image[1].kernel
    before = np.asarray(old).copy()
    step(network)
    assert not np.array_equal(old, before)


def test_bfloat16_computes_nearly_the_same():
    model = make()
    coarse = RetrainedDiscriminator(model, 3, RetrainingConfig(precision="mixed_bfloat16"))
    exact = model.discriminator_features(images())
    assert coarse.features(images()).dtype == tf.float32
    np.testing.assert_allclose(coarse.features(images()), exact, atol=0.03 * float(tf.reduce_max(tf.abs(exact))))
    assert step(coarse)[-1] < step(RetrainedDiscriminator(model, 3, RetrainingConfig(learning_rate=1e-9)))[0]


def test_the_target_is_z_as_the_generator_sees_it():
    z = tf.constant([[3.0, 4.0] + [0.0] * 6])
    scale = np.sqrt(25 / 8)
    np.testing.assert_allclose(latent_target(make(), z)[0, :2], [3 / scale, 4 / scale], rtol=1e-6)
    np.testing.assert_array_equal(latent_target(make(normalizes_generator=False), z), z)


def test_stylegan2_gives_the_features_that_it_decides_by():
    settings = {"image_size": 32, "latent_size": 8, "style_size": 8, "channel_base": 64, "channel_max": 8}
    settings |= {"conditional": False, "label_count": 0}
    model = StyleGAN2(StyleGAN2Config(**settings), seed=3)
    model.discriminator.typical_deviation.assign(0.3)
    features = model.discriminator_features(images(size=32))
    judged, _ = model.score(images(size=32), tf.zeros([4, 0]))
    np.testing.assert_allclose(model.discriminator.out(features), judged, rtol=1e-5, atol=1e-6)
    network = RetrainedDiscriminator(model, outputs=3)
    loss_of = lambda given: tf.reduce_mean(tf.square(given - 1.0))  # noqa: E731
    losses = [float(network.train_step(images(size=32), loss_of)) for _ in range(2)]
    assert losses[1] < losses[0] and float(network.trunk.typical_deviation) == pytest.approx(0.3)


def test_a_discriminator_without_features_is_refused():
    acgan = ACGAN(ACGANConfig(image_size=32, generator_filters=32, discriminator_filters=8, latent_size=8))
    with pytest.raises(ValueError, match="discriminator of a ACGAN gives no features of an image.*give the run"):
        RetrainedDiscriminator(acgan, 3)
    with pytest.raises(ValueError, match="only a pggan embeds images by its discriminator, got a ACGAN; give the run"):
        make_latent_regressor(acgan, LatentRegressionConfig())


@pytest.mark.parametrize("name", ["learning_rate", "batch_size"])
def test_settings_are_checked(name):
    with pytest.raises(ValueError, match=f"{name} must be above 0, got 0"):
        RetrainingConfig(**{name: 0})
