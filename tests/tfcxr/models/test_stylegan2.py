import types

import numpy as np
import pytest
import tensorflow as tf

from tfcxr.config import make_config
from tfcxr.losses.penalties import r1_penalty
from tfcxr.models.model_config import Stage
from tfcxr.models.stylegan2 import Discriminator, Generator, StyleGAN2, StyleGAN2Config

TINY = {"image_size": 32, "latent_size": 8, "style_size": 8, "channel_base": 256, "channel_max": 16}
NO_PENALTY = {"r1_gamma": 0.0, "path_length_weight": 0.0}


def make_batch(rows=4, labels=2, channels=1):
    label = tf.one_hot(np.arange(rows) % labels, labels) if labels else tf.zeros([rows, 0])
    image = tf.random.stateless_uniform([rows, 32, 32, channels], [1, 2], -1.0, 1.0)
    return {"image": image, "label": label, "label_mask": tf.ones_like(label)}


def make_model(**settings):
    model = StyleGAN2(make_config(StyleGAN2Config, TINY, settings), seed=1)
    model.begin_stage(Stage(32, 4, 0, 1))
    return model


def step_once(model, batch):
    """One step without tracing, which would take longer than the step. Its values."""
    for mean in model.metrics:
        mean.reset_state()
    return {name: float(value) for name, value in model.train_step(batch).items()}


@pytest.fixture(scope="module")
def tiny():
    """One model for all tests that leave its weights as they are."""
    return make_model()


# numbers; those of the authors' program are in tests/tfcxr/porting/test_stylegan2_ada.py


def fill_by_rule(network):
    """Weights by numpy's frozen legacy generator, the same with every version."""
    for index, variable in enumerate(network.variables):
        spread = 1.0 if variable.name in ("kernel", "const", "noise") else 0.2
        variable.assign(spread * np.random.RandomState(index).standard_normal(variable.shape))
    for layer in network.mapping.dense:  # they learn slowly, so their weights are large
        layer.kernel.assign(100.0 * layer.kernel)


# what the networks read of a configuration; no `channel_base` gives these filters
NETWORK = {"latent_size": 5, "label_count": 2, "style_size": 6, "mapping_layers": 2, "channels": 1}
NETWORK |= {"filters": {4: 8, 8: 8, 16: 4, 32: 4}, "convolution_clamp": 0.0}
NETWORK |= {"discriminator_mapping_layers": 2, "deviation_group_size": 4, "recomputes_blocks": False}


def test_conditional_networks_keep_their_numbers():
    """Golden numbers made by this test's own lines on the day on which the code met the reference within 2e-6.

    They pin what the reference lacks (labels, one channel), and the whole where the reference is absent.
    """
    generator, discriminator = (part(types.SimpleNamespace(**NETWORK), seed=0) for part in (Generator, Discriminator))
    z = tf.constant(np.sin(np.arange(20.0)).reshape(4, 5), tf.float32)
    condition = tf.constant([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0], [0.0, 0.0]])
    fill_by_rule(generator)
    fill_by_rule(discriminator)
    image = generator((z, condition))
    logits, deviation = discriminator((image, condition))
    alone, _ = discriminator((image, condition), is_alone=True)
    pooled = tf.nn.avg_pool2d(image, 16, 16, "VALID").numpy().reshape(4, 4)
    scores = np.concatenate([logits, alone, np.full([4, 1], deviation)], axis=1)
    np.testing.assert_allclose(pooled, GOLDEN_POOLED, atol=2e-4)
    np.testing.assert_allclose(scores, GOLDEN_SCORES, atol=2e-4)


def test_the_projection_is_on_the_mapped_label():
    """By hand in float64: the embedding, normalised; leaky ReLUs of slow layers; the product over a root."""
    condition = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    image = tf.random.stateless_uniform([3, 32, 32, 1], [1, 2], -1.0, 1.0)
    for depth in (0, 3):
        settings = NETWORK | {"discriminator_mapping_layers": depth, "deviation_group_size": 1}
        network = Discriminator(types.SimpleNamespace(**settings), seed=0)
        assert len(network.mapping.dense) == depth
        network.mapping.embed.bias.assign(np.linspace(-1.0, 1.0, 8))
        mapped = condition @ network.mapping.embed.kernel.numpy() / np.sqrt(2.0) + np.linspace(-1.0, 1.0, 8)
        mapped /= np.sqrt(np.mean(mapped**2, axis=1, keepdims=True))
        for layer in network.mapping.dense:
            mapped = 0.01 / np.sqrt(8.0) * mapped @ layer.kernel.numpy()
            mapped = np.sqrt(2.0) * np.where(mapped > 0, mapped, 0.2 * mapped)
        logits, _ = network((image, tf.constant(condition, tf.float32)))
        network.mapping = None  # what the image gives before the product
        features, _ = network((image, tf.constant(condition, tf.float32)))
        expected = np.sum(features.numpy() * mapped, axis=1, keepdims=True) / np.sqrt(8.0)
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


GOLDEN_POOLED = [
    [-1.3993309, -1.3379462, -1.2256438, -0.8924034],
    [-0.5607082, -0.6131146, -0.6483179, -0.58172095],
    [-0.93503344, -0.7973242, -0.73768634, -0.76071954],
    [-1.0481317, -1.034834, -1.0851175, -0.97532314],
]
GOLDEN_SCORES = [  # logits in the batch, alone with another deviation, the batch's deviation
    [3.034795, 3.0333598, 0.32713938],
    [4.0133567, 4.009661, 0.32713938],
    [0.3849106, 0.38267368, 0.32713938],
    [1.6530633, 1.6523584, 0.32713938],
]


# settings


@pytest.mark.parametrize(("size", "rate", "widths"), [(64, 0.0025, (512, 256)), (256, 0.0025, (512, 64))])
def test_auto_settings_up_to_256(size, rate, widths):
    config = StyleGAN2Config(image_size=size)
    assert config.generator_learning_rate == config.discriminator_learning_rate == rate
    assert (config.filters[4], config.filters[size]) == widths
    assert list(config.filters) == [2**power for power in range(2, size.bit_length())]


def test_discriminator_has_a_mapping_network_of_its_own_depth(tiny):
    config = tiny.config
    assert (config.mapping_layers, config.discriminator_mapping_layers) == (2, 8)
    assert len(tiny.generator.mapping.dense) == 2
    assert len(tiny.discriminator.mapping.dense) == 8
    other = make_model(mapping_layers=3, discriminator_mapping_layers=1)
    assert (len(other.generator.mapping.dense), len(other.discriminator.mapping.dense)) == (3, 1)


def test_settings_of_an_earlier_version_mean_the_depth_of_the_generator():
    stored = {"image_size": 32, "mapping_layers": 5}
    assert StyleGAN2Config.implied_settings(stored) == {"discriminator_mapping_layers": 5}
    assert StyleGAN2Config.implied_settings({}) == {"discriminator_mapping_layers": 2}, "the default of then and now"
    assert StyleGAN2Config.implied_settings(stored | {"discriminator_mapping_layers": 8}) == {}


def test_auto_settings_above_256():
    assert [StyleGAN2Config(image_size=512).filters[size] for size in (64, 128, 512)] == [512, 256, 64]
    config = StyleGAN2Config(image_size=1024, discriminator_learning_rate=0.01)
    assert config.filters[1024] == 32
    assert (config.generator_learning_rate, config.discriminator_learning_rate) == (0.002, 0.01)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 2048}, "32 to 1024 px, got image_size=2048"),
        ({"image_size": 48}, "power of two"),
        ({"mapping_layers": 0}, "mapping_layers must be at least 1, got 0"),
        ({"discriminator_mapping_layers": -1}, "discriminator_mapping_layers must be at least 0, got -1"),
        ({"convolution_clamp": -256.0}, "convolution_clamp must be at least 0, got -256"),
        ({"convolution_clamp": float("nan")}, "convolution_clamp must be at least 0, got nan"),
        ({"r1_interval": 0}, "r1_interval must be at least 1, got 0"),
        ({"channel_base": 16}, "channel_base must be at least image_size=64, .* or 0 for auto, got 16"),
        ({"style_mixing": 1.5}, "style_mixing must be at least 0 and at most 1, got 1.5"),
        ({"augmentation_kimg": 0.0}, "augmentation_kimg must be above 0, got 0"),
        ({"augmentation_names": ("flip",)}, r"unknown augmentation_names \['flip'\]; valid names: translation"),
        ({"label_count": 0}, "a conditional model needs at least one label"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        make_config(StyleGAN2Config, settings)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "settings",
    [
        {"conditional": False, "label_count": 0, "channels": 3, "style_mixing": 0.0, **NO_PENALTY},
        {"is_single_label": False, "ema_decay": 0.0, "deviation_group_size": 1, "r1_interval": 1}
        | {"discriminator_mapping_layers": 0, "convolution_clamp": 0.5},
        {"adaptive_augmentation": True, "precision": "mixed_bfloat16", "path_length_shrink": 1},
    ],
    ids=["unconditional", "joint labels", "augmented bfloat16"],
)
def test_options_take_finite_steps(settings):
    model = make_model(**settings)
    batch = make_batch(labels=model.config.label_count)
    for _ in range(2):
        assert np.isfinite(list(step_once(model, batch).values())).all()
    assert int(model.step) == 2
    image = model.generate(tf.constant([1], tf.int64), batch["label"][:1])
    assert image.shape == (1, 32, 32, model.config.channels)
    assert -1 <= tf.reduce_min(image) <= tf.reduce_max(image) <= 1


@pytest.mark.thorough
def test_recomputed_blocks_give_the_same_gradients(monkeypatch):
    """Those of R1 and path length too, with noise in each layer; relative to the largest gradient of each weight."""
    steps = []
    for recomputes in (False, True):
        model, taken = make_model(r1_gamma=1.0, recomputes_blocks=recomputes), []
        for weight in model.generator.trainable_variables:
            if weight.name == "noise_strength":
                weight.assign(0.3)
        monkeypatch.setattr(model, "apply_gradients", lambda network, gradients, to=taken: to.extend(gradients))
        assert step_once(model, make_batch())["path_length_penalty"] > 0
        steps.append(taken)
    for plain, recomputed in zip(*steps, strict=True):
        np.testing.assert_allclose(recomputed, plain, rtol=0, atol=2e-6 * float(tf.reduce_max(tf.abs(plain))))


# sampling


def test_truncation_leads_to_the_average_style(tiny):
    tiny.ema_generator.mapping.average.assign(np.linspace(-1, 1, 8))
    z, label = tf.random.stateless_normal([2, 8], [1, 2]), tf.one_hot([0, 1], 2)
    none = tiny.generate_from_latent(z, label, truncation=0.0)
    np.testing.assert_allclose(none[0], none[1], atol=1e-6)
    whole = tf.clip_by_value(tiny.ema_generator((z, label)), -1.0, 1.0)
    np.testing.assert_allclose(tiny.generate_from_latent(z, label), whole, atol=1e-5)
    half = tiny.generate_from_latent(z, label, truncation=0.5)
    assert not np.allclose(half, whole, atol=0.01) and not np.allclose(half, none, atol=0.01)


def test_a_score_does_not_depend_on_the_batch(tiny):
    batch = make_batch()
    tiny.discriminator.typical_deviation.assign(0.7)
    together, names = tiny.score(batch["image"], batch["label"])
    assert names is None
    alone = tf.concat([tiny.score(batch["image"][i : i + 1], batch["label"][i : i + 1])[0] for i in range(4)], 0)
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)
    other_label, _ = tiny.score(batch["image"], 1.0 - batch["label"])
    assert not np.allclose(together, other_label), "the critic is told the label"
    in_training, _ = tiny.discriminator((batch["image"], batch["label"]))
    assert not np.allclose(together, in_training)


# training


def test_styles_change_at_one_layer_with_the_given_probability(tiny):
    condition = tf.zeros([400, 2])
    w, styles = tiny._draw_styles(condition, stream=0)
    is_first = np.all(np.isclose(styles, w[:, None, :]), axis=2)  # [400, 8]
    assert is_first[:, 0].all()
    assert (np.diff(is_first.astype(int), axis=1) <= 0).all(), "first styles, then second ones"
    counts = np.bincount(is_first.sum(axis=1), minlength=9)
    assert counts[0] == 0 and (counts[1:8] > 20).all()
    assert 20 <= counts[8] <= 70, "one in ten keeps one style throughout"


def test_lazy_r1_is_scaled_by_gamma_and_its_interval(tiny):
    batch = make_batch()
    value, gradients = tiny._lazy_r1(batch["image"], batch["label"])
    assert float(value) > 0
    variables = tiny.discriminator.trainable_variables
    with tf.GradientTape() as tape:
        penalty = r1_penalty(lambda image: tiny.discriminator((image, batch["label"]))[0], batch["image"])
    assert float(penalty) == pytest.approx(float(value), rel=1e-4)
    scale = 16 * 0.0002 * 32 * 32 / 4  # the interval times gamma for 32 px and a batch of 4
    kernel = next(index for index, variable in enumerate(variables) if len(variable.shape) == 4)
    expected = scale * tape.gradient(penalty, variables[kernel])
    np.testing.assert_allclose(gradients[kernel], expected, rtol=1e-3, atol=1e-7)
    tiny.step.assign(15)
    idle, gradients = tiny._lazy_r1(batch["image"], batch["label"])
    tiny.step.assign(0)
    assert float(idle) == 0 and not np.any(gradients[kernel])


@pytest.mark.thorough
def test_path_length_is_the_slope_by_the_styles_and_its_gradient_is_right():
    """Against finite differences: of the image by the styles, and of the penalty by the learned constant."""
    model = make_model(path_length_weight=1.0, path_length_interval=1, style_mixing=0.0)
    for block in model.generator.synthesis.blocks:  # pictures that the styles change much
        block.torgb.kernel.assign(20.0 * block.torgb.kernel)
    condition = tf.zeros([4, 2])
    (penalty, mean), gradients = model._lazy_path_length(condition)
    _, styles = model._draw_styles(condition[::2], stream=8)
    noise = model._draw_noise(2, stream=11)
    direction = model.normal([2, 32, 32, 1], stream=12) / 32.0
    lengths = []
    for row in range(2):
        slopes = np.zeros([8, 8])
        for layer in range(8):
            steps = tf.one_hot(tf.range(8) + 8 * layer, 64, on_value=0.01)  # one for each element of this layer's w
            plus = styles[row][None] + tf.reshape(steps, [8, 8, 8])
            minus = styles[row][None] - tf.reshape(steps, [8, 8, 8])
            change = model.generator.synthesis(plus, [n[row : row + 1] for n in noise])
            change -= model.generator.synthesis(minus, [n[row : row + 1] for n in noise])
            slopes[layer] = tf.reduce_sum(change * direction[row], axis=[1, 2, 3]) / 0.02
        lengths.append(np.sqrt(np.mean(np.sum(slopes**2, axis=1))))
    assert float(penalty) == pytest.approx(np.mean(np.square(lengths)), rel=0.02), "the first mean is 0"
    assert float(mean) == pytest.approx(0.01 * np.mean(lengths), rel=0.02)

    const = model.generator.synthesis.blocks[0].const
    index = next(i for i, v in enumerate(model.generator.trainable_variables) if v is const)
    unit = gradients[index] / tf.norm(gradients[index])
    value, penalties = tf.convert_to_tensor(const), []
    for step in (0.05, -0.05):
        const.assign(value + step * unit)
        penalties.append(float(model._lazy_path_length(condition)[0][0]))
    assert (penalties[0] - penalties[1]) / 0.1 == pytest.approx(float(tf.norm(gradients[index])), rel=0.05)


@pytest.mark.thorough
def test_running_means_follow_training():
    model = make_model(**NO_PENALTY)
    batch = make_batch()
    w, _ = model._draw_styles(model.condition(batch["label"]), stream=2)
    _, deviation = model.discriminator((batch["image"], batch["label"]))
    step_once(model, batch)
    np.testing.assert_allclose(model.generator.mapping.average, 0.005 * tf.reduce_mean(w, axis=0), rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(model.ema_generator.mapping.average, model.generator.mapping.average)
    assert float(model.discriminator.typical_deviation) == pytest.approx(float(deviation), rel=1e-4)


@pytest.mark.parametrize(
    ("ema_half_life", "batch", "step", "half_life"),
    [
        (100.0, 20, 11, 10),  # a twentieth of the 200 images before this step
        (100.0, 20, 1001, 100),
        (0.0, 32, 100_000, 10_000),  # auto
    ],
)
def test_average_has_a_half_life_in_images_that_grows(ema_half_life, batch, step, half_life):
    model = make_model(ema_half_life=ema_half_life)
    model.begin_stage(Stage(32, batch, 0, 1))
    model.step.assign(step)
    assert float(model.ema_rate()) == pytest.approx(1 - 0.5 ** (batch / half_life), rel=1e-3)
    model.step.assign(1)
    assert float(model.ema_rate()) == 1.0, "no image was seen before the first step"


@pytest.mark.thorough
def test_augmentation_grows_while_real_images_are_recognised():
    settings = {"augmentation_interval": 2, "augmentation_kimg": 0.05, "augmentation_names": ("brightness",)}
    model = make_model(adaptive_augmentation=True, **settings, **NO_PENALTY)
    batch = make_batch()
    first = step_once(model, batch)
    second = step_once(model, batch)
    assert first["augmentation_probability"] == second["augmentation_probability"] == 0.0
    signs = first["real_sign"] + second["real_sign"]
    assert float(model.state["real_sign_sum"].value) == pytest.approx(signs)
    model.state["real_sign_sum"].assign(1.9)  # a mean of .95, above the target
    third = step_once(model, batch)
    assert third["augmentation_probability"] == pytest.approx(2 * 4 / 50), "two steps of four images in fifty"
    assert float(model.state["real_sign_sum"].value) == pytest.approx(third["real_sign"])
    model.state["real_sign_sum"].assign(-2.0)
    assert step_once(model, batch)["augmentation_probability"] == third["augmentation_probability"], "not due"
    model.state["real_sign_sum"].assign(-2.0)
    assert step_once(model, batch)["augmentation_probability"] == pytest.approx(0.0, abs=1e-6)

    image = batch["image"]
    np.testing.assert_array_equal(model._augment(image, tf.constant(0.0), stream=0), image)
    change = (model._augment(image, tf.constant(1.0), stream=0) - image).numpy()
    assert np.abs(change).max() > 0.01
    np.testing.assert_allclose(change, change[:, :1, :1] * np.ones_like(change), atol=1e-5)
