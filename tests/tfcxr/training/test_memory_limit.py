"""A step that does not fit in memory."""

import pytest
import tensorflow as tf

from tfcxr.models.model_config import Stage
from tfcxr.models.pggan import PGGAN, PGGANConfig
from tfcxr.models.vanilla_gan import VanillaGAN, VanillaGANConfig
from tfcxr.training.memory_limit import memory_limit_named

TOO_LARGE = [1 << 22, 1 << 22]  # 64 TiB


def growing(**settings):
    return PGGAN(PGGANConfig(image_size=8, latent_size=4, channel_max=4, **settings))


@pytest.mark.parametrize(
    ("model", "way"),
    [
        (lambda: VanillaGAN(VanillaGANConfig(image_size=32)), "a smaller --batch_size$"),
        (growing, "a smaller --batch_size or --set=recomputes_blocks=True, which takes longer and may need less$"),
        (lambda: growing(recomputes_blocks=True, batch_sizes=(8,)), "a smaller --set=batch_sizes$"),
    ],
    ids=["one size", "growing", "growing with less"],
)
def test_what_needs_less_is_named(model, way):
    model = model()
    model.begin_stage(Stage(8, 64, 0, 1))
    step = tf.function(lambda rows: tf.reduce_sum(tf.random.uniform([rows, TOO_LARGE[1]])))
    message = r"a training step with a batch of 64 at 8 px \(float32\) does not fit in memory; give "
    with pytest.raises(ValueError, match=message + way), memory_limit_named(model):
        step(tf.constant(TOO_LARGE[0]))


def test_other_faults_pass():
    with pytest.raises(tf.errors.InvalidArgumentError), memory_limit_named(growing()):
        tf.debugging.assert_equal(1, 2)
