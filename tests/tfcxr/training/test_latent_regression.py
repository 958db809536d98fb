"""Regressing z from images: it learns, the same each time, and leaves the GAN alone."""

import numpy as np
import pytest
import tensorflow as tf

from tfcxr.models.pggan import PGGAN, PGGANConfig
from tfcxr.training.latent_regression import LatentRegressionConfig, latent_cosine, train_latent_regressor

QUICK = {"steps": 120, "batch_size": 16, "learning_rate": 0.01, "held_out_images": 40}


def make(**settings):
    return PGGAN(PGGANConfig(**({"image_size": 16, "latent_size": 8, "filters": (16, 16, 8)} | settings)), seed=3)


def values(variables):
    return [np.asarray(variable).copy() for variable in variables]


@pytest.mark.thorough
def test_it_learns_z_and_leaves_the_gan_alone():
    model = make()
    before = values(model.variables)
    network, curve = train_latent_regressor(model, LatentRegressionConfig(**QUICK))
    assert [look["step"] for look in curve] == [25, 50, 100, 120]
    assert curve[-1]["loss"] < 0.8 * curve[0]["loss"]
    assert curve[-1]["cosine"] > 0.6  # chance: 0, with a spread of 8**-.5 / 40**.5 = .06
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    z = tf.random.stateless_normal([50, 8], [9, 9])
    found = network(model.generate_from_latent(z, tf.zeros([50, 0])))
    assert float(tf.reduce_mean(latent_cosine(found, z))) > 0.6
    assert abs(float(tf.reduce_mean(latent_cosine(found, tf.roll(z, 1, axis=0))))) < 0.25


@pytest.mark.thorough
def test_the_seed_decides_and_the_last_layer_can_learn_alone():
    model, looks = make(), []
    for seed in (0, 0, 1):
        config = LatentRegressionConfig(**(QUICK | {"steps": 25, "trains": "last_layer", "seed": seed}))
        network, curve = train_latent_regressor(model, config)
        looks.append((np.asarray(network.last_layer.kernel).copy(), curve))
    np.testing.assert_array_equal(looks[0][0], looks[1][0])
    assert looks[0][1] == looks[1][1] and not np.array_equal(looks[0][0], looks[2][0])


@pytest.mark.thorough
def test_a_conditional_model_draws_the_labels_it_is_given():
    model = make(conditional=True, label_count=2)
    config = LatentRegressionConfig(**(QUICK | {"steps": 2}))
    curves = [train_latent_regressor(model, config, labels)[1] for labels in np.eye(2, dtype=np.float32)[:, None]]
    assert curves[0] != curves[1]
    for wrong, got in ((None, "None"), (np.zeros([3, 1]), r"\(3, 1\)"), (np.zeros([0, 2]), r"\(0, 2\)")):
        with pytest.raises(ValueError, match=f"generates images for 2 labels; expected rows of as many, got {got}"):
            train_latent_regressor(model, config, wrong)


def test_a_loss_that_is_not_finite_ends_it():
    model = make()
    model.discriminator.last.kernel.assign(model.discriminator.last.kernel * np.nan)
    with pytest.raises(ValueError, match="the loss of z is nan at step 1; lower learning_rate"):
        train_latent_regressor(model, LatentRegressionConfig(**QUICK))


@pytest.mark.parametrize("name, least", [("steps", 1), ("seed", 0), ("held_out_images", 1), ("report_every", 1)])
def test_settings_are_checked(name, least):
    with pytest.raises(ValueError, match=f"{name} must be at least {least}, got {least - 1}"):
        LatentRegressionConfig(**{name: least - 1})
