"""A generator's `latent` signature with its gradient with respect to z."""

import numpy as np
import pytest
import tensorflow as tf

from tfcxr.config import to_plain
from tfcxr.models.stylegan2 import StyleGAN2, StyleGAN2Config
from tfcxr.sampling.differentiable_generator import differentiable_generator
from tfcxr.serving.loaded_model import LoadedModel
from tfcxr.serving.saved_model import export_model
from tfcxr.training.run_folder import RunConfig


@pytest.fixture(scope="module")
def stylegan2(tmp_path_factory):
    """It has custom gradients, leaky ReLU and resampling, within the loop over chunks."""
    config = StyleGAN2Config(image_size=32, latent_size=8, style_size=8, label_count=2, channel_base=64, channel_max=8)
    model = StyleGAN2(config, seed=3)
    run = RunConfig("stylegan2", to_plain(config), ("NORMAL", "PNEUMONIA"), 3, 4, 0, {"name": "discs"})
    return model, LoadedModel(export_model(model, run, tmp_path_factory.mktemp("models") / "s", {"step": 0}))


@pytest.mark.thorough
def test_images_and_gradients_are_those_of_the_model(stylegan2, one_hot):
    model, loaded = stylegan2
    generate = differentiable_generator(loaded)
    z = np.random.default_rng(0).normal(size=[11, 8]).astype(np.float32)  # two chunks
    label, weights = one_hot([0, 1] * 5 + [0]), np.random.default_rng(1).normal(size=[32, 32, 1])
    expected = loaded.call("generate_from_latent", z=z, label=label)["image"]
    np.testing.assert_allclose(generate(z, label), expected, atol=1e-5)

    def gradient_of(images_of):
        values = tf.constant(z)
        with tf.GradientTape() as tape:
            tape.watch(values)
            total = tf.reduce_sum(images_of(values) * weights.astype(np.float32))
        return tape.gradient(total, values).numpy()

    by_code = gradient_of(lambda values: model.generate_from_latent(values, tf.constant(label), 1.0))
    assert np.abs(by_code).max() > 1e-3
    np.testing.assert_allclose(gradient_of(lambda values: generate(values, label)), by_code, rtol=1e-3, atol=1e-5)


def test_a_model_without_labels_ignores_them(unlabelled_export):
    loaded = LoadedModel(unlabelled_export)
    z = np.random.default_rng(0).normal(size=[3, 8]).astype(np.float32)
    images = differentiable_generator(loaded)(z, np.zeros([3, 0], np.float32))
    np.testing.assert_allclose(images, loaded.call("generate_from_latent", z=z)["image"], atol=1e-6)


def test_a_model_without_the_signature_is_refused(tiny_enlarger):
    message = "1 is a super_resolution without the signature 'latent', so no z can be optimised; give a generator"
    with pytest.raises(ValueError, match=message):
        differentiable_generator(LoadedModel(tiny_enlarger))
