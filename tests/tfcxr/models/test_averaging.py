"""The averaged generator's half-life in images; see test_base.py for the decay per step."""

import numpy as np
import pytest
import tensorflow as tf

from tfcxr.data.pipeline import training_batches
from tfcxr.models import MODELS
from tfcxr.models.averaging import rate_by_images, rate_by_steps
from tfcxr.models.model_config import Stage
from tfcxr.models.pggan import PGGAN, PGGANConfig
from tfcxr.models.stylegan2 import StyleGAN2Config
from tfcxr.models.vanilla_gan import VanillaGAN, VanillaGANConfig
from tfcxr.models.wgan_gp import WGANGP, WGANGPConfig
from tfcxr.training.loop import train

TINY = VanillaGANConfig.tiny_settings()[1]  # no image depends on others of its batch


def make_gan(**settings):
    return VanillaGAN(VanillaGANConfig(**(TINY | settings)), seed=3)


def run_steps(model, records, start, stop, strategy=None):
    batches = training_batches(records, "train", 4, seed=5, start_step=start)
    train(model, batches, start, stop, [], strategy or tf.distribute.get_strategy())


def test_the_rate_by_steps_is_capped_at_the_start():
    assert [float(rate_by_steps(0.999, tf.constant(steps))) for steps in (0.0, 8.0)] == pytest.approx([0.9, 0.5])
    assert float(rate_by_steps(0.999, tf.constant(1e6))) == pytest.approx(0.001, rel=1e-3)


@pytest.mark.parametrize(
    ("steps", "half_life"),
    [
        (10, 16),  # a twentieth of the 320 images before this step
        (100, 160),
        (6250, 10_000),  # the ramp ends: a twentieth of 200,000
        (10**6, 10_000),
    ],
)
def test_the_half_life_grows_with_the_images_seen(steps, half_life):
    rate = rate_by_images(10_000.0, 32, tf.constant(float(steps)))
    assert float(rate) == pytest.approx(1.0 - 0.5 ** (32 / half_life), rel=1e-3)


def test_the_first_step_is_the_average():
    assert float(rate_by_images(10_000.0, 32, tf.constant(0.0))) == 1.0


def test_every_model_counts_its_images():
    plain, critics = make_gan(ema_half_life=1000.0), WGANGP(WGANGPConfig(**_small_wgan(), ema_half_life=1000.0))
    for model, images in ((plain, 8), (critics, 16)):
        model.begin_stage(Stage(32, 8, 0, 100))
        model.step.assign(10**6)
        assert model.images_per_step == images
        assert float(model.ema_rate()) == pytest.approx(1.0 - 0.5 ** (images / 1000), rel=1e-4)
    assert float(make_gan().ema_rate()) == pytest.approx(0.9), "without a half-life the decay counts, and no stage"


@pytest.mark.parametrize("growth", ["copied", "fresh"])
def test_a_growing_average_counts_from_its_newest_block(growth):
    settings = PGGANConfig.tiny_settings()[0] | {"ema_half_life": 1000.0, "average_growth": growth}
    model = PGGAN(PGGANConfig(**settings))
    model.step.assign(5000)
    model.begin_stage(Stage(16, 4, 5000, 9000, is_fading=True))
    assert float(model.ema_rate()) == 1.0
    model.step.assign(5100)
    assert float(model.ema_rate()) == pytest.approx(1.0 - 0.5 ** (4 / 20), rel=1e-4)


@pytest.mark.thorough
def test_two_and_two_steps_are_four(disc_records):
    whole, first, second = (make_gan(ema_half_life=50.0) for _ in range(3))
    run_steps(whole, disc_records, 0, 4)
    run_steps(first, disc_records, 0, 2)
    saved = {name: np.asarray(variable) for name, variable in first.checkpoint_variables().items()}
    for name, variable in second.checkpoint_variables().items():
        variable.assign(saved[name])
    run_steps(second, disc_records, 2, 4)
    for name, variable in whole.checkpoint_variables().items():
        np.testing.assert_array_equal(variable, second.checkpoint_variables()[name], err_msg=name)
    pairs = zip(whole.ema_generator.variables, whole.generator.variables, strict=True)
    assert any(not np.array_equal(average, weight) for average, weight in pairs)


@pytest.mark.thorough
def test_two_replicas_average_at_the_rate_of_the_whole_batch(disc_records, two_replicas):
    rates = []
    for strategy in (tf.distribute.get_strategy(), two_replicas):
        with strategy.scope():
            model = make_gan(ema_half_life=50.0)
        run_steps(model, disc_records, 0, 3, strategy)
        before = [np.asarray(average) for average in model.ema_generator.variables]
        target = [np.asarray(weight) for weight in model.generator.variables]
        strategy.run(model.update_average)
        after = [np.asarray(average) for average in model.ema_generator.variables]
        index = int(np.argmax([np.abs(t - b).max() for t, b in zip(target, before, strict=True)]))
        moved = np.abs(after[index] - before[index]).sum() / np.abs(target[index] - before[index]).sum()
        rates.append(moved)
    assert rates == pytest.approx([1.0 - 0.5 ** (4 / 0.4)] * 2, rel=1e-3)  # a twentieth of the 8 images before step 3


def test_half_life_without_an_average_is_refused():
    with pytest.raises(ValueError, match="ema_half_life=500 is of an averaged generator, and ema_decay=0 keeps none"):
        VanillaGANConfig(ema_half_life=500.0, ema_decay=0.0)
    with pytest.raises(ValueError, match="ema_half_life must be at least 0"):
        VanillaGANConfig(ema_half_life=-1.0)


def test_a_stored_half_life_in_thousands_is_one_in_images():
    assert StyleGAN2Config.current_settings({"ema_kimg": 5.0})["ema_half_life"] == 5000.0
    assert not {"ema_kimg", "ema_half_life"} & StyleGAN2Config.current_settings({"ema_kimg": 0.0}).keys()
    assert all(model.config_class().ema_half_life == 0 for model in MODELS.values())


def _small_wgan():
    return WGANGPConfig.tiny_settings()[0] | {"critic_steps": 2}
