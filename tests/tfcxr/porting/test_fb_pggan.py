"""The GAN zoo's PGGAN checkpoints: against the authors' own numbers, and what does not fit."""

import re

import numpy as np
import pytest
import tensorflow as tf

from tfcxr.porting.fb_pggan import port
from tfcxr.porting.inert_pickle import PickledObject


def told_nothing(rows):
    return tf.zeros([rows.shape[0], 0])


@pytest.mark.thorough
def test_the_reference_checkpoint_gives_the_reference_numbers(reference, assert_reference):
    data = reference("fb_pgan_small")
    ported = port(data.checkpoint)
    model = ported.model
    for name, network in (("generator", "netG"), ("ema_generator", "avgG"), ("discriminator", "netD")):
        assert sorted(ported.transfers[name].used) == sorted(data.checkpoint[network])
    z = tf.constant(data.inputs["z"])
    found = {}
    for key in data.expected:
        size, alpha, name = re.fullmatch(r"size_(\d+)/alpha_([\d.]+)/(\w+)", key).groups()
        size, alpha = int(size), float(alpha)
        image = tf.constant(data.inputs[f"img_{size}"].transpose(0, 2, 3, 1))
        if name in ("avgG", "netG"):
            generator = model.ema_generator if name == "avgG" else model.generator
            found[key] = generator((z, told_nothing(z)), size=size, alpha=alpha)
        elif name == "netD_penultimate":
            found[key] = model.discriminator.features(image, alpha)
        elif name == "netD_grad_norm":
            with tf.GradientTape() as tape:
                tape.watch(image)
                total = tf.reduce_sum(model.discriminator((image, told_nothing(image)), alpha=alpha))
            found[key] = tf.norm(tf.reshape(tape.gradient(total, image), [len(image), -1]), axis=1)
        else:
            image = image[: len(data.expected[key])]
            found[key] = model.discriminator((image, told_nothing(image)), alpha=alpha)
    assert_reference(found, data.expected)


# a checkpoint of this file's own

WIDTHS = [6, 5]  # at 4 and 8 px
LATENT = 3
ENDLESS = []
for _ in range(100):
    ENDLESS = [ENDLESS, ENDLESS]  # 2^100 leaves, which printing it would visit


def make_checkpoint(middle=".module", **config):
    generator = np.random.default_rng(0)

    def layers(shapes):
        state = {}
        for name, shape in shapes.items():
            state[f"{name}{middle}.weight"] = generator.normal(size=shape).astype(np.float32)
            state[f"{name}{middle}.bias"] = generator.normal(size=shape[0]).astype(np.float32)
        return state

    first, second = WIDTHS
    drawing = {
        "scaleLayers.0.0": [second, first, 3, 3],
        "scaleLayers.0.1": [second, second, 3, 3],
        "toRGBLayers.0": [1, first, 1, 1],
        "toRGBLayers.1": [1, second, 1, 1],
        "formatLayer": [16 * first, LATENT],
        "groupScale0.0": [first, first, 3, 3],
    }
    judging = {
        "scaleLayers.0.0": [second, second, 3, 3],
        "scaleLayers.0.1": [first, second, 3, 3],
        "fromRGBLayers.0": [first, 1, 1, 1],
        "fromRGBLayers.1": [second, 1, 1, 1],
        "decisionLayer": [1, first],
        "groupScaleZero.0": [first, first + 1, 3, 3],
        "groupScaleZero.1": [first, 16 * first],
    }
    networks = {"netG": layers(drawing), "netD": layers(judging), "avgG": layers(drawing)}
    return {"config": {"alpha": 0, "lossCriterion": "WGANGP"} | config} | networks


def scores(ported):
    image = tf.constant(np.random.default_rng(1).normal(size=[2, 8, 8, 1]), tf.float32)
    return ported.model.discriminator((image, told_nothing(image))).numpy()


def test_every_variable_is_fed_and_old_keys_are_the_same():
    ported, old = port(make_checkpoint()), port(make_checkpoint(middle=""))
    for name in ("generator", "ema_generator", "discriminator"):
        variables = getattr(ported.model, name).variables
        assert sum(int(np.prod(variable.shape)) for variable in variables) == ported.transfers[name].parameter_count
    config = ported.model.config
    assert (config.dialect, config.image_size, config.filters, config.latent_size) == ("karras", 8, (6, 5), LATENT)
    assert config.value_range == "-1..1"
    np.testing.assert_array_equal(scores(ported), scores(old))


def test_a_checkpoint_gives_the_numbers_of_a_forward_pass_in_numpy():
    """What is not in the other dialect: normalization after the dense layer; written out, and drawn at 4 px."""
    checkpoint = make_checkpoint()
    state = checkpoint["avgG"]
    normal = lambda x: x / np.sqrt(np.mean(x**2, axis=1, keepdims=True) + 1e-8)  # noqa: E731
    leaky = lambda x: np.where(x > 0, x, 0.2 * x)  # noqa: E731
    z = np.random.default_rng(3).normal(size=[2, LATENT])
    rows = normal(z) @ state["formatLayer.module.weight"].T + state["formatLayer.module.bias"]
    x = normal(leaky(np.sqrt(2 / LATENT) * rows).reshape(2, WIDTHS[0], 4, 4))
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)])
    kernel, bias = state["groupScale0.0.module.weight"], state["groupScale0.0.module.bias"]
    taps = [(i, j) for i in range(3) for j in range(3)]
    x = sum(np.einsum("bchw,oc->bohw", padded[:, :, i : i + 4, j : j + 4], kernel[:, :, i, j]) for i, j in taps)
    x = normal(leaky(np.sqrt(2 / (9 * WIDTHS[0])) * (x + bias[:, None, None])))
    kernel, bias = state["toRGBLayers.0.module.weight"][:, :, 0, 0], state["toRGBLayers.0.module.bias"]
    expected = np.sqrt(2 / WIDTHS[0]) * (np.einsum("bchw,oc->bhwo", x, kernel) + bias)
    found = port(checkpoint).model.ema_generator((tf.constant(z, tf.float32), tf.zeros([2, 0])), size=4)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_what_the_config_says():
    given = {"alpha": 0.4, "leakyReluLeak": 0.1, "perChannelNormalization": False, "equalizedlR": False}
    given |= {"lossCriterion": "DCGAN", "categoryVectorDim": 2}
    checkpoint = make_checkpoint()
    checkpoint["config"] = PickledObject("models.utils.config.BaseConfig", given)
    ported = port(checkpoint)
    config = ported.model.config
    assert (config.leaky_slope, config.normalizes_generator, config.is_equalized) == (0.1, False, False)
    assert config.output_activation == "tanh"
    assert ported.settings["alpha"] == pytest.approx(0.4) == float(ported.model.state["alpha"].value)
    assert any("last 2 numbers of z name the category" in note for note in ported.notes)
    ported = port(checkpoint, leakiness=0.3, output_activation="linear")
    assert (ported.model.config.leaky_slope, ported.model.config.output_activation) == (0.3, "linear")


def test_without_a_moving_average():
    checkpoint = make_checkpoint()
    del checkpoint["avgG"]
    ported = port(checkpoint)
    assert ported.model.ema_generator is None and any("no moving average" in note for note in ported.notes)


def broken(network, **changes):
    checkpoint = make_checkpoint()
    state = checkpoint[network] | changes
    return checkpoint | {network: {key: value for key, value in state.items() if value is not None}}


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        ({"netG": {}}, r"expected a dictionary with netG, netD and mostly config and avgG, got \['netG'\]"),
        (make_checkpoint() | {"netD": [1]}, "in netD, which is of type list"),
        (make_checkpoint(alpha=-1), r"alpha, .*, must be one number in \[0, 1\]; config has -1"),
        (make_checkpoint(leakyReluLeak="x"), "leakyReluLeak must be one number; config has a value of type str"),
        (make_checkpoint(leakyReluLeak=ENDLESS), "leakyReluLeak must be one number; config has a value of type list"),
        (make_checkpoint(alpha=ENDLESS), "alpha must be one number; config has a value of type list"),
        (make_checkpoint(categoryVectorDim=ENDLESS), "categoryVectorDim must be one number; config has"),
        (broken("netG", **{"toRGBLayers.1.module.weight": None}), "netG do not fit, .* without a place"),
        (broken("netD", **{"groupScaleZero.0.module.weight": None}), "lacks the key groupScaleZero.0.module.weight"),
        (broken("avgG", **{"formatLayer.module.bias": np.ones(3)}), r"avgG do not fit, .* has shape \(3,\)"),
        (broken("avgG", **{"more": np.ones(3)}), "avgG do not fit, .* 1 without a place: more"),
    ],
)
def test_what_does_not_fit_is_refused(checkpoint, message):
    with pytest.raises(ValueError, match=message):
        port(checkpoint)
