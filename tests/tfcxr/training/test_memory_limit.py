"""A step that does not fit in memory."""

import pytest
import tensorflow as tf

from tfcxr.models.model_config import Stage
from tfcxr.models.pggan import PGGAN, PGGANConfig
from tfcxr.models.vanilla_gan import VanillaGAN, VanillaGANConfig
from tfcxr.training.memory_limit import memory_limit_named

TOO_LARGE = [1 << 22, 1 << 22]  # 64 TiB, which TensorFlow asks for during 10 s


def growing(**settings):
    return PGGAN(PGGANConfig(image_size=8, latent_size=4, channel_max=4, **settings))


def message(way):
    return rf"a training step with a batch of 64 at 8 px \(float32\) does not fit in memory; give {way}$"


def begun(model):
    model.begin_stage(Stage(8, 64, 0, 1))
    return model


@pytest.mark.thorough
def test_what_does_not_fit_is_one_sentence():
    model = begun(VanillaGAN(VanillaGANConfig(image_size=32)))
    step = tf.function(lambda rows: tf.reduce_sum(tf.random.uniform([rows, TOO_LARGE[1]])))
    with pytest.raises(ValueError, match=message("a smaller --batch_size")), memory_limit_named(model):
        step(tf.constant(TOO_LARGE[0]))


@pytest.mark.parametrize(
    ("settings", "way"),
    [
        ({}, "a smaller --batch_size or --set=recomputes_blocks=True, which takes longer and may need less"),
        ({"recomputes_blocks": True, "batch_sizes": (8,)}, "a smaller --set=batch_sizes"),
    ],
    ids=["growing", "growing with less"],
)
def test_what_needs_less_is_named(settings, way):
    model = begun(growing(**settings))
    with pytest.raises(ValueError, match=message(way)), memory_limit_named(model):
        raise tf.errors.ResourceExhaustedError(None, None, "out of memory")


def test_other_faults_pass():
    with pytest.raises(tf.errors.InvalidArgumentError), memory_limit_named(growing()):
        tf.debugging.assert_equal(1, 2)
