import numpy as np
import pytest
import tensorflow as tf

from tfcxr.config import make_config
from tfcxr.models.acgan import ACGAN, ACGANConfig

pytestmark = pytest.mark.thorough

TINY = {"image_size": 32, "generator_filters": 32, "discriminator_filters": 8, "latent_size": 8}


def make_batch(size=32, rows=6, labels=2):
    label = tf.one_hot(np.arange(rows) % labels, labels)
    image = tf.random.stateless_uniform([rows, size, size, 1], [1, 2], -1.0, 1.0)
    return {"image": image, "label": label, "label_mask": tf.ones_like(label)}


def step_once(batch, **settings):
    model = ACGAN(make_config(ACGANConfig, TINY, settings), seed=1)
    means = tf.function(model.train_step)(batch)
    return model, {name: float(value) for name, value in means.items()}


@pytest.mark.parametrize(
    "settings",
    [
        {"output": "sigmoid", "channels": 3, "generator_dense_units": (16,), "normalization": "layer"},
        {"upsampling": "resize", "generator_kernel_size": 3, "initializer": "glorot"},
        {"minibatch_stddev": True, "dropout": 0.4, "l2": 1e-4},
        {"adversarial_loss": "least_squares", "r1_gamma": 0.0, "ema_decay": 0.0},
        {"augmentations": ("translation", "brightness", "contrast", "cutout"), "r1_interval": 2},
        {"is_single_label": False, "fake_labels": "batch", "classify_fakes": False},
    ],
)
def test_every_option_takes_a_finite_step(settings):
    model, means = step_once(make_batch(), **settings)
    assert np.isfinite(list(means.values())).all()
    image = model.generate(tf.constant([1], tf.int64), tf.constant([[1.0, 0.0]]))
    assert image.shape == (1, 32, 32, settings.get("channels", 1))
    assert -1 <= tf.reduce_min(image) <= tf.reduce_max(image) <= 1


@pytest.mark.parametrize(("image_size", "stages"), [(32, 2), (64, 3), (128, 4)])
def test_any_power_of_two_from_32(image_size, stages):
    model = ACGAN(make_config(ACGANConfig, TINY, {"image_size": image_size}))
    assert len(model.generator.stages) == stages
    assert model.generate(tf.constant([1], tf.int64), tf.ones([1, 2])).shape == (1, image_size, image_size, 1)


def test_published_generator_has_the_published_layers():
    """singh2023: Dense 1024 -> Dense 8*8*256 -> transposed convolutions with LayerNormalization -> 3 channels."""
    config = make_config(
        ACGANConfig,
        {"channels": 3, "generator_dense_units": (1024,), "generator_filters": 256, "normalization": "layer"},
        {"output": "sigmoid", "image_layer": "transpose"},
    )
    generator = ACGAN(config).generator
    assert generator.dense[0].kernel.shape == (102, 1024)
    assert generator.project.kernel.shape == (1024, 8 * 8 * 256)
    assert [type(stage.layers[1]).__name__ for stage in generator.stages] == ["LayerNormalization"] * 2
    assert [stage.layers[0].filters for stage in generator.stages] == [128, 64]
    assert (type(generator.to_image).__name__, generator.to_image.strides) == ("Conv2DTranspose", (2, 2))
    assert generator.to_image.filters == 3


def test_unknown_labels_do_not_reach_the_class_loss():
    batch = make_batch()
    settings = {"is_single_label": False, "fake_labels": "batch"}
    unknown = batch | {"label_mask": tf.zeros_like(batch["label"])}
    assert step_once(unknown, **settings)[1]["discriminator_class"] == 0
    half = tf.constant([[1.0, 0.0]] * 6)
    _, masked = step_once(batch | {"label_mask": half, "label": batch["label"] * half}, **settings)
    _, flipped = step_once(batch | {"label_mask": half, "label": batch["label"] * half + (1 - half)}, **settings)
    assert masked["discriminator_class"] > 0
    assert flipped["discriminator_class"] == masked["discriminator_class"], "what is unknown reaches no network"


def test_balanced_labels_are_balanced_whatever_the_batch():
    model = ACGAN(make_config(ACGANConfig, TINY), seed=1)
    only_normal = tf.tile([[1.0, 0.0]], [400, 1])
    label, mask = tf.function(model._fake_labels)(only_normal, tf.ones_like(only_normal))
    assert 0.4 < float(tf.reduce_mean(label[:, 1])) < 0.6
    np.testing.assert_array_equal(tf.reduce_sum(label, 1), 1)
    assert tf.reduce_min(mask) == 1


def test_averaged_generator_averages_moving_statistics():
    model, _ = step_once(make_batch())
    rate = 1 - 2 / 11  # after one step
    trained = {id(variable) for variable in model.generator.trainable_variables}
    pairs = list(zip(model.generator.variables, model.ema_generator.variables, strict=True))
    statistics = [(weight, average) for weight, average in pairs if id(weight) not in trained]
    assert len(statistics) == 2 * 3, "a mean and a variance for each batch normalization"
    for weight, average in statistics:
        start = 0.0 if weight.name == "moving_mean" else 1.0
        np.testing.assert_allclose(average, start + rate * (np.asarray(weight) - start), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label_count": 0}, "needs at least one label"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"augmentations": ("flip",)}, r"unknown augmentations \['flip'\]; valid names: brightness"),
        ({"r1_interval": 0}, "r1_interval must be at least 1"),
        ({"channels": 2}, "channels must be 1"),
        ({"latent_size": 0}, "latent_size must be at least 1"),
        ({"ema_decay": 1.0}, "ema_decay must be at least 0 and below 1"),
        ({"normalization": "instance"}, "normalization expects one of 'layer', 'batch', got 'instance'"),
        ({"dropuot": 0.1}, "no setting 'dropuot'; did you mean 'dropout'"),
        ({"latent_size": "many"}, "latent_size expects a whole number, got 'many'"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        make_config(ACGANConfig, settings)


def test_the_projection_alone_is_regularised_where_the_paper_says_so():
    batch, weights = make_batch(), {}
    for which in ("all", "projection"):
        settings = {"l2": 0.5, "generator_l2": which, "generator_dense_units": (16,), "r1_gamma": 0.0}
        model = ACGAN(make_config(ACGANConfig, TINY, settings), seed=1)
        regularised = {id(weight) for weight in model._regularised_weights()}
        weights[which] = [
            id(layer.kernel) in regularised for layer in (model.generator.dense[0], model.generator.project)
        ]
        assert np.isfinite(float(model.train_step(batch)["generator_adversarial"]))
    assert weights == {"all": [True, True], "projection": [False, True]}
