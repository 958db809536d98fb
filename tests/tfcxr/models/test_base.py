"""What the base classes give to every model, on the smallest GAN that one could write and register."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcxr.config import to_plain
from tfcxr.losses.penalties import r1_penalty
from tfcxr.models import MODELS
from tfcxr.models.base import GAN, latents_from_seeds, numbered, probability_means
from tfcxr.models.model_config import GANConfig
from tfcxr.training.run_folder import RunConfig, make_model


class Generator(keras.Model):
    def __init__(self, config, seed):
        super().__init__()
        draw = keras.initializers.RandomNormal(0.0, 1.0, seed=seed)
        self.dense = keras.layers.Dense(config.image_size**2, kernel_initializer=draw)
        self.shape = (-1, config.image_size, config.image_size, 1)

    def call(self, inputs, training=False):
        return tf.reshape(self.dense(tf.concat(inputs, axis=-1)), self.shape)


class Discriminator(keras.Model):
    def __init__(self, config, seed):
        super().__init__()
        draw = keras.initializers.RandomNormal(0.0, 0.1, seed=seed)
        self.dense = keras.layers.Dense(1, kernel_initializer=draw)

    def call(self, inputs):
        image, condition = inputs
        return self.dense(tf.concat([tf.reshape(tf.tanh(image), [-1, 32 * 32]), condition], axis=-1))


@dataclasses.dataclass(frozen=True)
class SmallConfig(GANConfig):
    image_size: int = 32
    latent_size: int = 4


class SmallGAN(GAN):
    config_class = SmallConfig
    generator_class = Generator
    discriminator_class = Discriminator
    metric_names = ("loss",)

    def train_step(self, data):
        z = self.normal([data["image"].shape[0], self.config.latent_size], stream=0)
        with tf.GradientTape() as tape:
            fake = self.generator((z, self.condition(data["label"], data["label_mask"])), training=True)
            loss = tf.reduce_mean(tf.square(fake - data["image"]))
        self.apply_gradients(self.generator, tape.gradient(loss, self.generator.trainable_variables))
        self.update_average()
        return self.record_means({"loss": loss})


def make_gan(seed=3, **settings):
    return SmallGAN(SmallConfig(**settings), seed=seed)


def test_a_registered_gan_is_made_from_a_run(monkeypatch):
    monkeypatch.setitem(MODELS, "small", SmallGAN)
    model = make_model(RunConfig("small", to_plain(SmallConfig()), ("a", "b"), 3, 4, 1, {"name": "none"}))
    assert isinstance(model, SmallGAN)
    label = tf.one_hot([0, 1], 2)
    model.train_step({"image": tf.zeros([2, 32, 32, 1]), "label": label, "label_mask": tf.ones_like(label)})
    assert int(model.step) == 1 and float(model.metrics[0].result()) > 0


def test_networks_have_seeds_of_their_own():
    model = make_gan(seed=7)
    np.testing.assert_array_equal(model.generator.dense.kernel, SmallGAN(SmallConfig(), 7).generator.dense.kernel)
    kernels = [Discriminator(model.config, seed).dense for seed in (7, 8)]
    for dense in kernels:
        dense.build([None, 32 * 32 + 2])
    np.testing.assert_array_equal(model.discriminator.dense.kernel, kernels[1].kernel)
    assert [model.generator.name, model.ema_generator.name] == ["generator", "ema_generator"]


@pytest.mark.parametrize(("step", "kept"), [(0, 0.1), (8, 0.5), (10**6, 0.75)])
def test_the_average_follows_at_its_rate(step, kept):
    model = make_gan(ema_decay=0.75)
    np.testing.assert_array_equal(model.ema_generator.dense.kernel, model.generator.dense.kernel)
    model.step.assign(step)
    before = model.ema_generator.dense.kernel.numpy()
    model.generator.dense.kernel.assign(before + 1.0)
    model.generator.dense.bias.assign(model.generator.dense.bias + 1.0)
    model.update_average([model.generator.dense.kernel])
    np.testing.assert_allclose(model.ema_generator.dense.kernel - before, 1.0 - kept, atol=1e-5)
    np.testing.assert_array_equal(model.ema_generator.dense.bias, 0.0, err_msg="not among those that take part")
    model.update_average()
    np.testing.assert_allclose(model.ema_generator.dense.bias, 1.0 - kept, atol=1e-5)
    assert model.sampling_generator is model.ema_generator


def test_without_decay_there_is_no_average():
    model = make_gan(ema_decay=0.0)
    model.update_average()
    assert model.ema_generator is None and model.sampling_generator is model.generator
    assert not [name for name in model.checkpoint_variables() if name.startswith("ema")]


def test_checkpoint_names_are_those_of_owners_and_numbers():
    names = list(make_gan().checkpoint_variables())
    assert names[:6] == [f"{owner}/00{i}" for owner in ("generator", "discriminator", "ema_generator") for i in (0, 1)]
    assert names[6] == "generator_optimizer/000" and names[-2:] == ["metrics/loss/0", "metrics/loss/1"]
    assert numbered({"a": ["x", "y"], "b": []}) == {"a/000": "x", "a/001": "y"}


def test_noise_depends_on_seed_step_and_stream_alone():
    def drawn(seed, step, stream, draw="normal"):
        model = make_gan(seed)
        model.step.assign(step)
        return getattr(model, draw)([4, 50], stream).numpy()

    first = drawn(1, 2, 3)
    np.testing.assert_array_equal(drawn(1, 2, 3), first)
    for other in ((2, 2, 3), (1, 3, 3), (1, 2, 4)):
        assert abs(np.corrcoef(first.ravel(), drawn(*other).ravel())[0, 1]) < 0.3
    uniform = drawn(1, 2, 3, "uniform")
    assert 0 <= uniform.min() < 0.1 and 0.9 < uniform.max() < 1


def test_replicas_draw_their_rows_of_one_noise_and_average_their_gradients(two_replicas):
    single = make_gan()
    whole = single.normal([4, 3], stream=0).numpy()
    with two_replicas.scope():
        model = make_gan()
    rows = two_replicas.run(lambda: model.normal([2, 3], stream=0))
    np.testing.assert_array_equal(tf.concat(two_replicas.experimental_local_results(rows), axis=0), whole)

    def step(gan, gradient):
        gan.apply_gradients(gan.discriminator, [gradient], [gan.discriminator.dense.bias])

    for gan in (single, model):
        gan.discriminator_optimizer.epsilon = 1e6  # so that a step is as large as its gradient
        gan.discriminator_optimizer.learning_rate = 1e7
    step(single, tf.constant([3.0]))
    values = two_replicas.experimental_distribute_values_from_function(
        lambda context: tf.constant([2.0 + 2.0 * context.replica_id_in_sync_group])
    )
    two_replicas.run(step, args=(model, values))
    np.testing.assert_allclose(model.discriminator.dense.bias, single.discriminator.dense.bias, rtol=1e-4)
    steps = [
        np.asarray(optimizer.iterations) for optimizer in (model.discriminator_optimizer, model.generator_optimizer)
    ]
    assert steps == [1, 0]


def test_condition_hides_unknown_labels():
    label, mask = tf.constant([[1.0, 0.0], [0.0, 1.0]]), tf.constant([[1.0, 1.0], [0.0, 1.0]])
    np.testing.assert_array_equal(make_gan().condition(label), label)
    np.testing.assert_array_equal(make_gan().condition(label, mask), [[1, 0], [0, 1]])
    joint = make_gan(is_single_label=False)
    np.testing.assert_array_equal(joint.condition(label, mask), [[1, -1], [0, 1]])
    assert make_gan(conditional=False, label_count=0).condition(label, mask).shape == (2, 0)


def test_a_seed_draws_its_own_z_and_truncation_scales_it():
    z = latents_from_seeds(tf.constant([5, 2**40], tf.int64), 4)
    np.testing.assert_array_equal(z[1], tf.random.stateless_normal([4], tf.constant([2**40, 0], tf.int64)))
    model, label = make_gan(), tf.one_hot([0, 1], 2)
    model.ema_generator.dense.kernel.assign(0.1 * model.ema_generator.dense.kernel)
    expected = tf.clip_by_value(model.ema_generator((0.5 * z, label)), -1.0, 1.0)
    np.testing.assert_allclose(model.generate(tf.constant([5, 2**40], tf.int64), label, 0.5), expected, atol=1e-6)
    assert np.abs(model.generate_from_latent(100.0 * z, label)).max() == 1.0


def test_balanced_labels_are_one_hot_and_balanced():
    label = make_gan(label_count=4).balanced_labels(400, stream=5).numpy()
    np.testing.assert_array_equal(label.sum(axis=1), 1)
    assert label.sum(axis=0).min() > 60


def test_lazy_r1_is_scaled_by_gamma_and_interval_and_rests_between():
    model, images, label = make_gan(), tf.random.stateless_normal([3, 32, 32, 1], [0, 1]), tf.one_hot([0, 1, 1], 2)
    realism = lambda image: model.discriminator((image, label))  # noqa: E731
    with tf.GradientTape() as tape:
        expected = r1_penalty(realism, images)
    gradient = tape.gradient(expected, model.discriminator.dense.kernel.value)
    model.step.assign(8)
    value, gradients = model.lazy_r1(realism, images, gamma=0.5, interval=4)
    assert float(value) == pytest.approx(float(expected), rel=1e-5)
    np.testing.assert_allclose(gradients[0], 2.0 * gradient, rtol=1e-4, atol=1e-8)
    for step, gamma in ((9, 0.5), (8, 0.0)):
        model.step.assign(step)
        value, gradients = model.lazy_r1(realism, images, gamma, interval=4)
        assert float(value) == 0 and not np.any(gradients[0])


def test_scores_are_mean_probabilities():
    scores = probability_means(tf.constant([[0.0], [np.log(3.0)]]), tf.constant([[-100.0]]))
    assert float(scores["real_score"]) == pytest.approx(0.625)
    assert float(scores["fake_score"]) == pytest.approx(0.0)
