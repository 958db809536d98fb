import numpy as np
import pytest
import tensorflow as tf

from tfcxr.config import make_config
from tfcxr.models.cgan import CGAN, CGANConfig

TINY = {"image_size": 32, "generator_filters": 32, "discriminator_filters": 8, "latent_size": 8}


def make_batch(size=32, rows=6, labels=2):
    label = tf.one_hot(np.arange(rows) % labels, labels)
    image = tf.random.stateless_uniform([rows, size, size, 1], [1, 2], -1.0, 1.0)
    return {"image": image, "label": label, "label_mask": tf.ones_like(label)}


def step_once(batch, **settings):
    model = CGAN(make_config(CGANConfig, TINY, settings), seed=1)
    means = model.train_step(batch)
    return model, {name: float(value) for name, value in means.items()}


@pytest.mark.thorough
@pytest.mark.parametrize(
    "settings",
    [
        {"conditioning": "projection", "adversarial_loss": "hinge", "spectral_normalization": True},
        {"adversarial_loss": "minimax", "dropout": 0.0, "r1_gamma": 0.0, "channels": 3, "ema_decay": 0.0},
        {"spectral_normalization": True, "normalization": "none", "r1_interval": 1},
        {"augmentations": ("translation", "brightness", "contrast", "cutout"), "fake_labels": "batch"},
        {"is_single_label": False, "conditioning": "projection", "precision": "mixed_bfloat16"},
        {"minibatch_stddev": True, "full_size_filters": 4},
        {"mismatched_share": 0.5, "dropout": 0.0},
    ],
    ids=str,
)
def test_every_option_takes_a_finite_step(settings):
    model, means = step_once(make_batch(), **settings)
    assert np.isfinite(list(means.values())).all()
    label = tf.constant([[1.0, 0.0]])
    image = model.generate(tf.constant([1], tf.int64), label)
    assert image.shape == (1, 32, 32, settings.get("channels", 1))
    assert -1 <= tf.reduce_min(image) <= tf.reduce_max(image) <= 1
    realism, named = model.score(image, label)
    assert realism.shape == (1, 1)
    assert realism.dtype == tf.float32
    assert named is None


@pytest.mark.parametrize(("image_size", "doublings"), [(64, 3), (256, 5)])
def test_sizes_up_to_256(image_size, doublings):
    settings = {"image_size": image_size, "generator_filters": 4, "discriminator_filters": 2, "ema_decay": 0.0}
    model = CGAN(make_config(CGANConfig, TINY, settings))
    assert model.generator.first_shape == (-1, 8, 8, 4)
    assert len(model.generator.convolutions) == len(model.discriminator.convolutions) - 1 == doublings
    assert model.generate(tf.constant([1], tf.int64), tf.ones([1, 2])).shape == (1, image_size, image_size, 1)


def test_default_widths():
    generator = CGAN(CGANConfig(image_size=128, ema_decay=0.0)).generator
    assert [layer.filters for layer in generator.convolutions] == [64, 32, 32, 32]


def test_texture_at_full_size_has_noise_that_a_seed_decides():
    model = CGAN(make_config(CGANConfig, TINY, {"latent_size": 64, "full_size_filters": 4}))
    texture = model.generator.texture
    noise = tf.reshape(texture.plane(tf.random.stateless_normal([200, 64], [1, 2])), [200, 32, 32])
    assert abs(float(tf.math.reduce_std(noise)) - 1.0) < 0.03
    neighbours = float(tf.reduce_mean(noise[:, :, 1:] * noise[:, :, :-1]))
    assert abs(neighbours) < 0.03, "white, not smooth"
    assert not any(weight is texture.plane.kernel for weight in model.generator.trainable_variables)
    seeds, label = tf.constant([1, 2, 1], tf.int64), tf.constant([[1.0, 0.0]] * 3)
    first, other, again = model.generate(seeds, label)
    np.testing.assert_allclose(first, again, atol=1e-6)
    assert not np.allclose(first, other, atol=1e-3)
    layer = model.discriminator.convolutions[0]
    assert (layer.filters, layer.strides) == (4, (1, 1))


@pytest.mark.parametrize("conditioning", ["concatenate", "projection"])
def test_both_networks_hear_the_label(conditioning):
    model = CGAN(make_config(CGANConfig, TINY, {"conditioning": conditioning}))
    z = tf.repeat(tf.random.stateless_normal([1, 8], [0, 0]), 2, axis=0)
    images = model.generator((z, tf.eye(2)), training=True)  # in inference mode an untrained one draws near grey
    assert not np.allclose(images[0], images[1], atol=1e-3)
    same = tf.repeat(images[:1], 2, axis=0)
    logits, _ = model.score(same, tf.eye(2))
    assert abs(float(logits[0, 0] - logits[1, 0])) > 1e-5
    assert model.discriminator_reads_label
    assert not model.discriminator_predicts_labels


def test_projection_is_equation_3():
    """Miyato, Koyama 2018: the logit is linear in phi plus the inner product of phi and the label's embedding."""
    model = CGAN(make_config(CGANConfig, TINY, {"conditioning": "projection", "is_single_label": False}))
    network, image = model.discriminator, make_batch()["image"]
    condition = tf.constant([[1.0, -1.0]] * 6)
    features = image
    for convolution in network.convolutions:
        features = tf.nn.leaky_relu(convolution(features), 0.2)
    phi = features.numpy().reshape(6, -1)
    embedding = network.embed_label.kernel.numpy()
    expected = phi @ network.realism.kernel.numpy() + (phi @ (embedding[0] - embedding[1]))[:, None]
    np.testing.assert_allclose(network((image, condition)), expected, atol=1e-6)


def test_unknown_label_is_not_taken_for_an_absent_one():
    batch = make_batch()
    model = CGAN(make_config(CGANConfig, TINY, {"is_single_label": False}))
    label = tf.zeros([6, 2])
    absent, _ = model.score(batch["image"], label)
    unknown, _ = model.score(batch["image"], label, tf.zeros([6, 2]))
    assert np.abs(absent - unknown).min() > 1e-6


def test_joint_labels_of_fakes_are_those_of_the_real_batch():
    model = CGAN(make_config(CGANConfig, TINY, {"is_single_label": False, "label_count": 3}))
    condition = tf.constant([[1.0, 1.0, -1.0], [-1.0, 0.0, 1.0]])
    np.testing.assert_array_equal(model._fake_condition(condition), condition)


def test_balanced_labels_are_balanced_whatever_the_batch():
    only_normal = tf.tile([[1.0, 0.0]], [400, 1])
    model = CGAN(make_config(CGANConfig, TINY), seed=1)
    drawn = tf.function(model._fake_condition)(only_normal)
    assert 0.4 < float(tf.reduce_mean(drawn[:, 1])) < 0.6
    np.testing.assert_array_equal(tf.reduce_sum(drawn, 1), 1)
    model = CGAN(make_config(CGANConfig, TINY, {"fake_labels": "batch"}), seed=1)
    np.testing.assert_array_equal(model._fake_condition(only_normal), only_normal)


def test_a_mismatched_label_is_one_of_the_others():
    config = make_config(CGANConfig, TINY, {"label_count": 3, "conditions": ("sex",)})
    model, rows = CGAN(config), 300
    told = tf.concat([tf.one_hot(tf.range(rows) % 3, 3), tf.ones([rows, config.label_width - 3])], axis=1)
    other = tf.function(model._other_condition, autograph=False)(told).numpy()
    np.testing.assert_array_equal(other[:, 3:], 1)
    np.testing.assert_array_equal(other[:, :3].sum(axis=1), 1)
    named = other[:, :3].argmax(axis=1)
    shares = np.bincount((named - np.arange(rows)) % 3, minlength=3) / rows
    assert shares[0] == 0
    assert 0.4 < shares[1] < 0.6


def test_the_discriminator_learns_to_refuse_a_mismatched_label():
    batch = make_batch()
    batch["image"] = tf.ones_like(batch["image"]) * tf.reshape(2 * batch["label"][:, 1] - 1, [-1, 1, 1, 1])
    settings = {"mismatched_share": 0.5, "dropout": 0.0, "discriminator_learning_rate": 1e-2}
    model = CGAN(make_config(CGANConfig, TINY, settings))
    step = tf.function(model.train_step, autograph=False)
    for _ in range(30):
        step(batch)
    own, other = (model.score(batch["image"], label)[0] for label in (batch["label"], 1 - batch["label"]))
    assert float(tf.reduce_min(own)) > float(tf.reduce_max(other)) + 1


def test_an_image_of_unknown_label_has_none_that_mismatches():
    batch = make_batch() | {"label_mask": tf.zeros([6, 2])}
    _, means = step_once(batch, mismatched_share=0.5, dropout=0.0)
    _, plain = step_once(batch, dropout=0.0)
    assert means["discriminator_adversarial"] == pytest.approx(plain["discriminator_adversarial"])


def test_dropout_drops_its_share_in_training_only():
    model = CGAN(make_config(CGANConfig, TINY, {"dropout": 0.25}))
    noise = tf.function(model._dropout_noise, autograph=False)(50, 3)
    assert noise.shape == (50, model.discriminator.feature_count)
    assert float(tf.reduce_mean(tf.cast(noise < 0.25, tf.float32))) == pytest.approx(0.25, abs=0.02)
    batch = make_batch()
    inputs = (batch["image"], batch["label"])
    bias = float(model.discriminator.realism.bias.numpy()[0])
    nothing_left = model.discriminator(inputs, dropout_noise=tf.zeros([6, model.discriminator.feature_count]))
    np.testing.assert_allclose(nothing_left, bias)
    all_left = model.discriminator(inputs, dropout_noise=tf.ones([6, model.discriminator.feature_count]))
    np.testing.assert_allclose(all_left - bias, (model.discriminator(inputs) - bias) / 0.75, rtol=1e-4)


def test_spectral_norms_move_once_a_step_and_kernels_only_by_the_optimizer():
    model = CGAN(make_config(CGANConfig, TINY, {"spectral_normalization": True, "discriminator_learning_rate": 0.0}))
    layer = model.discriminator.convolutions[1]
    kernel, matrix = layer.kernel.numpy(), layer.kernel.numpy().reshape(-1, 16)
    v = matrix @ layer.left_vector.numpy()
    once = matrix.T @ v / np.linalg.norm(matrix.T @ v)
    model.train_step(make_batch())
    np.testing.assert_array_equal(layer.kernel.numpy(), kernel)
    np.testing.assert_allclose(layer.left_vector.numpy(), once, atol=1e-5)
    names = {id(variable) for variable in model.checkpoint_variables().values()}
    assert id(layer.left_vector) in names, "a resumed run needs it"


@pytest.mark.thorough
def test_r1_pulls_at_the_discriminator_in_every_fourth_step_only():
    gradients = {}
    for gamma in (0.0, 5.0):
        model = CGAN(make_config(CGANConfig, TINY, {"r1_gamma": gamma, "dropout": 0.0}), seed=1)
        model.apply_gradients = lambda network, values, model=model, gamma=gamma: gradients.setdefault(
            (gamma, int(model.step.numpy()), network is model.discriminator), [value.numpy() for value in values]
        )
        model.record_means = lambda values: values
        for step in (0, 1):
            model.step.assign(step)
            r1 = float(model.train_step(make_batch())["r1"])
            assert (r1 > 0) == (gamma > 0 and step == 0)
    is_same = {
        step: all(map(np.array_equal, gradients[0.0, step, True], gradients[5.0, step, True])) for step in (0, 1)
    }
    assert is_same == {0: False, 1: True}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label_count": 0}, "a conditional model needs at least one label, and these data have none"),
        ({"label_count": 0, "conditional": False}, "a CGAN is conditional"),
        ({"image_size": 512}, "32 to 256 px, got image_size=512; enlarge its images with srgan"),
        ({"generator_filters": 0}, "generator_filters must be at least 1, got 0"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"augmentations": ("flip",)}, r"unknown augmentations \['flip'\]; valid names: brightness"),
        ({"r1_interval": 0}, "r1_interval must be at least 1, got 0"),
        ({"mismatched_share": 0.5, "label_count": 1}, "needs at least two labels that exclude each other"),
        ({"mismatched_share": 1.0}, "mismatched_share must be at least 0 and below 1, got 1.0"),
        ({"conditioning": "attention"}, "conditioning expects one of 'concatenate', 'projection', got 'attention'"),
        ({"adversarial_loss": "wasserstein"}, "adversarial_loss expects one of"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        make_config(CGANConfig, settings)
