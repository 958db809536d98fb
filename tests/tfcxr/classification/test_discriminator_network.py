"""A GAN's discriminator as a classifier: what is trained, what stays, and what is refused."""

import numpy as np
import pytest
import tensorflow as tf

from tfcxr.classification.discriminator_network import DiscriminatorConfig, DiscriminatorNetwork
from tfcxr.models.pggan import PGGAN, PGGANConfig


@pytest.fixture(scope="module")
def model():
    return PGGAN(PGGANConfig(image_size=16, latent_size=8, filters=(8, 8, 4)), seed=3)


def test_it_starts_from_the_discriminator_and_only_what_it_reads_learns(model):
    network = DiscriminatorNetwork(model, 3, DiscriminatorConfig())
    image = tf.random.stateless_normal([2, 16, 16, 1], [0, 1])
    features, logits = network.classify(image)
    np.testing.assert_allclose(features, model.discriminator_features(image), rtol=1e-6)
    np.testing.assert_array_equal(logits, np.zeros([2, 3]))
    np.testing.assert_array_equal(network(image, training=True), logits)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(tf.square(network(image) - 1.0))
    gradients = tape.gradient(total, network.trainable_variables)
    assert all(gradient is not None for gradient in gradients)
    learns = {id(variable) for variable in network.trainable_variables}
    unused = [*network.trunk.from_image[0].variables, *network.trunk.decision.variables]
    assert not learns & {id(variable) for variable in unused}
    assert {id(variable) for variable in network.trunk.from_image[2].variables} < learns


def test_the_last_layer_alone(model):
    network = DiscriminatorNetwork(model, 3, DiscriminatorConfig(trains="last_layer"))
    assert len(network.trainable_variables) == 2


def test_a_size_of_its_own_is_refused():
    with pytest.raises(ValueError, match="input_size=224 does not fit a discriminator, which resizes nothing"):
        DiscriminatorConfig(input_size=224)
