"""PGGAN: growth, blending, the joint step, dialects. What every model does is in test_contract.py."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcxr.data.pipeline import training_batches
from tfcxr.data.pyramid import smaller_records
from tfcxr.layers.resample import average_pixels, repeat_pixels
from tfcxr.losses.penalties import drift_penalty, gradient_penalty
from tfcxr.models.model_config import Stage
from tfcxr.models.pggan import PGGAN, PGGANConfig
from tfcxr.training.loop import train_stages

pytestmark = pytest.mark.thorough

SMALL = {"image_size": 16, "latent_size": 8, "filters": (8, 8, 4)}


def make(seed=3, **settings):
    return PGGAN(PGGANConfig(**(SMALL | settings)), seed=seed)


def noise(*shape, seed=0):
    return tf.random.stateless_normal(shape, [seed, 1])


def batch(size, rows=4, channels=1):
    empty = tf.zeros([rows, 0])
    return {"image": tf.tanh(noise(rows, size, size, channels)), "label": empty, "label_mask": empty}


def nothing(rows):
    return tf.zeros([rows, 0])


@pytest.mark.parametrize("dialect", ["segal", "karras"])
def test_a_new_block_starts_as_the_old_network_enlarged(dialect):
    model, z = make(dialect=dialect), (noise(3, 8), nothing(3))
    old = model.generator(z, size=8)
    np.testing.assert_allclose(model.generator(z, size=16, alpha=1.0), repeat_pixels(old), atol=1e-6)
    image = noise(3, 16, 16, 1)
    judged = model.discriminator((image, nothing(3)), alpha=1.0)
    np.testing.assert_allclose(judged, model.discriminator((average_pixels(image), nothing(3))), atol=1e-6)


def test_half_way_both_paths_count_half():
    model, z = make(), (noise(3, 8), nothing(3))
    ends = [model.generator(z, alpha=alpha) for alpha in (0.0, 1.0)]
    np.testing.assert_allclose(model.generator(z, alpha=0.25), 0.75 * ends[0] + 0.25 * ends[1], atol=1e-6)


def test_the_zoo_does_not_blend_its_critic_at_8_px():
    image = noise(2, 8, 8, 1)
    for dialect, blends in (("segal", True), ("karras", False)):
        model = make(dialect=dialect)
        scores = [model.discriminator((image, nothing(2)), alpha=alpha).numpy() for alpha in (0.0, 0.5)]
        assert np.allclose(*scores) != blends


def test_every_layer_scales_weight_and_bias_alike():
    """y = sqrt(2 / fan in) (W x + b), by hand for the layer from the image: fan in 1."""
    layer = make().discriminator.from_image[0]
    layer.bias.assign(tf.fill([8], 3.0))
    expected = np.sqrt(2.0) * (0.5 * layer.kernel.numpy()[0, 0, 0] + 3.0)
    np.testing.assert_allclose(layer(tf.fill([1, 1, 1, 1], 0.5))[0, 0, 0], expected, rtol=1e-6)


def test_published_widths_come_out_by_default():
    assert PGGANConfig(image_size=1024).filters == (512, 512, 512, 512, 256, 128, 64, 32, 16)


def test_the_schedule_is_counted_in_images():
    config = PGGANConfig(
        image_size=16, stage_images=(100, 200, 60), batch_sizes=(10, 8, 4), learning_rates=(0.1, 0.2, 0.3)
    )
    assert config.stages(batch_size=99) == (
        Stage(4, 10, 0, 10, False, 0.1),
        Stage(8, 8, 10, 23, True, 0.2),
        Stage(8, 8, 23, 36, False, 0.2),
        Stage(16, 4, 36, 44, True, 0.3),
        Stage(16, 4, 44, 52, False, 0.3),
    )
    assert [stage.end_step for stage in config.stages(1, steps=20)] == [10, 20], "steps cut it"
    assert config.stages(1, steps=70)[-1] == Stage(16, 4, 44, 70, False, 0.3), "or prolong its last stage"


def test_published_schedule_of_1024():
    """Segal et al.: 8e5 images at 4 px, 1.6e6 at each size to 512, 2e6 at 1024, 4 GPUs of 16, 14, 8 and 3."""
    config = PGGANConfig(
        image_size=1024,
        stage_images=(800_000, *[1_600_000] * 7, 2_000_000),
        batch_sizes=(*[64] * 6, 56, 32, 12),
    )
    stages = config.stages(64)
    images = {
        size: sum((s.end_step - s.first_step) * s.batch_size for s in stages if s.image_size == size)
        for size in (4, 512, 1024)
    }
    assert images[4] == 800_000
    assert images[512] == 1_600_000
    assert images[1024] == pytest.approx(2_000_000, abs=24)


def test_joint_step_takes_the_gradients_of_both_losses(monkeypatch):
    model = make(drift_weight=0.5)
    model.begin_stage(Stage(16, 4, 0, 8, is_fading=True))
    model.step.assign(2)  # alpha 3/4
    taken = {}
    monkeypatch.setattr(
        model,
        "apply_gradients",
        lambda network, gradients, weights: taken.update({network.name: (weights, gradients)}),
    )
    data = batch(16)
    model.train_step(data)
    real = 0.5 * (data["image"] + 1.0)
    z, uniform = model.normal([4, 8], stream=0), model.uniform([4, 1], stream=1)
    model.step.assign(2)
    z, uniform = model.normal([4, 8], stream=0), model.uniform([4, 1], stream=1)
    judge = lambda image: model.discriminator((image, nothing(4)), alpha=0.75)  # noqa: E731
    with tf.GradientTape(persistent=True) as tape:
        fake = model.generator((z, nothing(4)), size=16, alpha=0.75)
        generator_loss = -tf.reduce_mean(judge(fake))
        critic_loss = tf.reduce_mean(judge(fake)) - tf.reduce_mean(judge(real)) + 0.5 * drift_penalty(judge(real))
        critic_loss += 10.0 * gradient_penalty(judge, real, fake, uniform)
    for network, loss in ((model.generator, generator_loss), (model.discriminator, critic_loss)):
        weights, gradients = taken[network.name]
        expected = tape.gradient(loss, weights)
        for weight, gradient, value in zip(weights, gradients, expected, strict=True):
            np.testing.assert_allclose(gradient, value, rtol=1e-4, atol=1e-6, err_msg=weight.path)


def test_alternating_steps_move_the_critic_more_often():
    model = make(update_order="alternating", critic_steps=3)
    model.train_step(batch(16, rows=6))
    assert int(model.discriminator_optimizer.iterations) == 3
    assert int(model.generator_optimizer.iterations) == int(model.step) == 1
    with pytest.raises(ValueError, match="takes critic_steps=3 batches of equal size, got 4 images"):
        model.train_step(batch(16, rows=4))


@pytest.mark.parametrize("settings", [{}, {"dialect": "karras", "update_order": "alternating"}], ids=["joint", "zoo"])
def test_recomputed_blocks_give_the_same_gradients(monkeypatch, settings):
    """The penalty's too, which is differentiated twice; relative to the largest gradient of each weight."""
    steps = []
    for recomputes in (False, True):
        model, taken = make(recomputes_blocks=recomputes, **settings), []
        monkeypatch.setattr(
            model, "apply_gradients", lambda network, gradients, weights, to=taken: to.extend(gradients)
        )
        model.begin_stage(Stage(16, 4, 0, 8, is_fading=True))
        model.step.assign(2)  # alpha 3/4
        graph = tf.function(lambda data, model=model, to=taken: (model.train_step(data), list(to))[1], autograph=False)
        steps.append(graph(batch(16)))
    for plain, recomputed in zip(*steps, strict=True):
        assert float(tf.reduce_max(tf.abs(plain))) > 0
        np.testing.assert_allclose(recomputed, plain, rtol=0, atol=2e-6 * float(tf.reduce_max(tf.abs(plain))))


def test_real_images_fade_in_where_the_dialect_says_so():
    blocks = tf.repeat(tf.repeat(noise(4, 8, 8, 1), 2, axis=1), 2, axis=2)
    fine = {
        **batch(16),
        "image": blocks + tf.tile(tf.constant([[0.3, -0.3], [-0.3, 0.3]])[None, ..., None], [4, 8, 8, 1]),
    }
    losses = {}
    for dialect in ("segal", "karras"):
        for name, data in (("fine", fine), ("coarse", {**fine, "image": blocks})):
            model = make(dialect=dialect)
            model.begin_stage(Stage(16, 4, 0, 4, is_fading=True))  # alpha is 1: only the old path counts
            losses[dialect, name] = float(model.train_step(data)["drift"])
    assert losses["karras", "fine"] == pytest.approx(losses["karras", "coarse"], rel=1e-4)


GROWTH = {"image_size": 32, "filters": (8, 8, 8, 4), "first_size": 16, "stage_images": (12, 24)}


class StopAt(keras.callbacks.Callback):
    def __init__(self, step):
        super().__init__()
        self._step = step

    def on_train_batch_end(self, step, logs=None):
        self.model.stop_training = step == self._step


def grow(model, data_dir, start, stages, stop=None):
    def open_batches(stage, skipped, rows):
        folder, shrink = smaller_records(data_dir, stage.image_size)
        return training_batches(folder, "train", stage.batch_size, stage.first_step, skipped, shrink=shrink)

    train_stages(model, stages, open_batches, start, [StopAt(stop)], tf.distribute.get_strategy())


@pytest.fixture(scope="module")
def grown(disc_records):
    model = make(**GROWTH)
    stages = model.config.stages(batch_size=4)
    assert [(s.image_size, s.is_fading, s.end_step) for s in stages] == [(16, False, 3), (32, True, 6), (32, False, 9)]
    grow(model, disc_records, 0, stages)
    return model, stages


@pytest.mark.parametrize("stop", [3, 5])
def test_a_run_stopped_at_any_moment_of_growth_goes_on_to_the_same_bits(grown, disc_records, stop):
    whole, stages = grown
    first, second = make(**GROWTH), make(**GROWTH)
    grow(first, disc_records, 0, stages, stop)
    saved = {name: np.asarray(value) for name, value in first.checkpoint_variables().items()}
    if stop == 5:
        assert float(saved["state/alpha"]) == pytest.approx(2 / 3)
    for name, variable in second.checkpoint_variables().items():
        variable.assign(saved[name])
    grow(second, disc_records, stop, stages)
    for name, variable in whole.checkpoint_variables().items():
        np.testing.assert_array_equal(variable, second.checkpoint_variables()[name], err_msg=name)


def test_growth_starts_adam_anew_and_ends_whole(grown):
    model, _ = grown
    assert int(model.step) == 9
    assert int(model.generator_optimizer.iterations) == 6, "three steps before the block was added are forgotten"
    assert model.current_size == 32
    assert float(model.state["alpha"]) == 0.0


@pytest.mark.parametrize(("growth", "is_equal"), [("copied", True), ("fresh", False)])
def test_new_block_of_the_average(growth, is_equal):
    model = make(average_growth=growth)
    model.begin_stage(Stage(8, 4, 0, 1))
    model.train_step(batch(8))
    pairs = zip(model.ema_generator.blocks[1].variables, model.generator.blocks[1].variables, strict=True)
    assert all(np.array_equal(average, weight) for average, weight in pairs if "kernel" in weight.path) == is_equal
    np.testing.assert_array_equal(
        *(net.blocks[1].convolutions[0].bias for net in (model.generator, model.ema_generator))
    )


def test_the_average_follows_a_new_block_at_once():
    model = make(ema_decay=0.999)
    model.step.assign(5000)
    model.begin_stage(Stage(16, 4, 5000, 5100, is_fading=True))
    assert float(model.ema_rate()) == pytest.approx(0.9), "as in the first step of all"
    model.begin_stage(Stage(16, 4, 5100, 9000))
    model.step.assign(8000)
    assert float(model.ema_rate()) == pytest.approx(1 - 3001 / 3010, rel=1e-4)
    assert float(make(ema_decay=0.99, average_growth="fresh").ema_rate()) == pytest.approx(0.01, rel=1e-4)


def test_while_it_grows_images_are_enlarged_by_repeated_pixels():
    model = make()
    model.begin_stage(Stage(8, 4, 0, 4))
    drawn = model.generate(tf.range(3, dtype=tf.int64), nothing(3))
    assert drawn.shape == (3, 16, 16, 1)
    np.testing.assert_array_equal(repeat_pixels(average_pixels(drawn)), drawn)
    assert model.score(drawn, nothing(3))[0].shape == (3, 1)


def test_truncation_cuts_z_off():
    model, z = make(), noise(64, 8)
    model.generator.set_weights([0.3 * weight for weight in model.generator.get_weights()])
    whole = model.generate_from_latent(z, nothing(64))
    assert np.array_equal(whole, model.generate_from_latent(z, nothing(64), 1.0))
    assert not np.allclose(whole, model.generate_from_latent(z, nothing(64), 0.3), atol=1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"filters": (8, 8)}, r"filters needs a number of channels for each of 4, 8, 16 px, got \(8, 8\)"),
        ({"first_size": 32}, "first_size must be a power of two from 4 to image_size, got 32"),
        ({"stage_images": ()}, "stage_images needs one number, or one for each size from 4 to 16 px"),
        ({"batch_sizes": (4, 4)}, r"batch_sizes needs one number, .* \(3\), got \(4, 4\)"),
        ({"learning_rates": (0.0,)}, "learning_rates must be above 0"),
        ({"leaky_slope": 1.5}, "leaky_slope must be above 0 and below 1, got 1.5"),
        (
            {"fading_images": (5,)},
            "fading_images needs a number for each size after 4 px .2., at most that of stage_im",
        ),
        ({"fading_share": 1.0}, "fading_share must be at least 0 and below 1, got 1.0"),
        ({"critic_steps": 0}, "critic_steps must be at least 1, got 0"),
        ({"critic_steps": 2}, "update_order='joint' needs critic_steps=1, got 2; use 'alternating'"),
        ({"drift_weight": -1.0}, "drift_weight must be at least 0, got -1.0"),
        ({"image_size": 2048, "filters": ()}, "images of 4 to 1024 px, got image_size=2048"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        PGGANConfig(**(SMALL | settings))


def test_images_while_fading_are_those_that_are_given():
    """Segal et al. 2021: 800,000 of the 2,000,000 images at 1,024 px fade."""
    config = PGGANConfig(image_size=16, stage_images=(80, 160, 200), fading_images=(80, 80))
    lengths = [(stage.image_size, stage.is_fading, stage.end_step - stage.first_step) for stage in config.stages(8)]
    assert lengths == [(4, False, 10), (8, True, 10), (8, False, 10), (16, True, 10), (16, False, 15)]
