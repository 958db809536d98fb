"""StyleGAN2-ADA's state dicts: against the authors' own numbers, and what does not fit."""

import numpy as np
import pytest
import tensorflow as tf

from tfcxr.models.stylegan2_networks import Generator
from tfcxr.porting.stylegan2_ada import port


def test_the_reference_checkpoint_gives_the_reference_numbers(reference, assert_reference):
    data = reference("stylegan2_ada_small")
    ported = port(data.checkpoint)
    generator, discriminator = ported.model.ema_generator, ported.model.discriminator
    for name, network in (("ema_generator", "G_ema"), ("discriminator", "D")):
        transfer = ported.transfers[name]
        assert sorted((*transfer.used, *transfer.ignored)) == sorted(data.checkpoint[network])
    z, none = tf.constant(data.inputs["z"]), tf.zeros([4, 0])
    image = tf.constant(data.inputs["img_32"].transpose(0, 2, 3, 1))
    w = generator.mapping(z, none)
    average = generator.mapping.average.numpy()
    silence = [tf.zeros([1, size, size, 1]) for size in generator.synthesis.noise_sizes]
    found = {"w": w, "w_psi_0.7": average + 0.7 * (w - average)}
    for psi, styles in (("1", found["w"]), ("0.7", found["w_psi_0.7"])):
        styles = generator.styles(styles)
        found[f"image/noise_const/psi_{psi}"] = generator.synthesis(styles)
        found[f"image/noise_none/psi_{psi}"] = generator.synthesis(styles, silence)
    found["image/noise_const/unfused"] = generator((z, none))
    for name, rows in (("score", 4), ("score_batch2", 2), ("score_batch1", 1)):
        found[name] = discriminator((image[:rows], none[:rows]))[0]
    found["score_of_fake"] = discriminator((found["image/noise_const/psi_1"], none))[0]
    with tf.GradientTape() as tape:
        tape.watch(image)
        total = tf.reduce_sum(discriminator((image, none))[0])
    found["grad_norm"] = tf.norm(tf.reshape(tape.gradient(total, image), [4, -1]), axis=1)
    assert_reference(found, data.expected)
    alone = ported.model.judge(image, none)[0]
    each = [discriminator((image[row : row + 1], none[:1]))[0] for row in range(4)]
    np.testing.assert_allclose(alone, tf.concat(each, 0), rtol=1e-4, err_msg="as the original judges one image")


# a checkpoint of this file's own: 32 px, 2 labels

WIDTHS = {4: 6, 8: 6, 16: 4, 32: 2}
STYLE, LATENT, LABELS = 5, 3, 2


def make_states(labels=LABELS):
    generator = np.random.default_rng(0)
    blur = np.outer([1, 3, 3, 1], [1, 3, 3, 1]).astype(np.float32) / 64

    def layer(state, name, *shape, has_bias=True):
        state[f"{name}.weight"] = generator.normal(size=shape).astype(np.float32)
        if has_bias:
            state[f"{name}.bias"] = generator.normal(size=shape[0]).astype(np.float32)

    def mapping(state, latent, width):
        if labels:
            layer(state, "mapping.embed", width, labels)
        layer(state, "mapping.fc0", width, latent + (width if labels else 0))
        layer(state, "mapping.fc1", width, width)

    drawing = {"mapping.w_avg": generator.normal(size=STYLE).astype(np.float32)}
    mapping(drawing, LATENT, STYLE)
    for size, width in WIDTHS.items():
        before, block = WIDTHS.get(size // 2), f"synthesis.b{size}"
        drawing[f"{block}.resample_filter"] = blur
        if before is None:
            drawing[f"{block}.const"] = generator.normal(size=[width, 4, 4]).astype(np.float32)
        for name, inputs in (("conv0", before), ("conv1", width)):
            if inputs:
                layer(drawing, f"{block}.{name}", width, inputs, 3, 3)
                layer(drawing, f"{block}.{name}.affine", inputs, STYLE)
                drawing[f"{block}.{name}.noise_strength"] = np.array(0.1, np.float32)
                drawing[f"{block}.{name}.noise_const"] = generator.normal(size=[size, size]).astype(np.float32)
        layer(drawing, f"{block}.torgb", 1, width, 1, 1)
        layer(drawing, f"{block}.torgb.affine", width, STYLE)
    judging = {}
    layer(judging, "b32.fromrgb", WIDTHS[32], 1, 1, 1)
    for size in (32, 16, 8):
        width, after = WIDTHS[size], WIDTHS[size // 2]
        layer(judging, f"b{size}.conv0", width, width, 3, 3)
        layer(judging, f"b{size}.conv1", after, width, 3, 3)
        layer(judging, f"b{size}.skip", after, width, 1, 1, has_bias=False)
        judging[f"b{size}.conv1.resample_filter"] = blur
    layer(judging, "b4.conv", WIDTHS[4], WIDTHS[4] + 1, 3, 3)
    layer(judging, "b4.fc", WIDTHS[4], 16 * WIDTHS[4])
    layer(judging, "b4.out", WIDTHS[4] if labels else 1, WIDTHS[4])
    if labels:
        mapping(judging, 0, WIDTHS[4])
    return {"G_ema": drawing, "D": judging}


@pytest.mark.parametrize("labels", [0, LABELS])
def test_sizes_are_read_off_and_every_variable_is_fed(labels):
    states = make_states(labels)
    ported = port(states, deviation_group_size=2)
    config = ported.model.config
    assert (config.image_size, config.channels, config.label_count, config.latent_size) == (32, 1, labels, LATENT)
    assert (config.style_size, config.mapping_layers, config.filters) == (STYLE, 2, WIDTHS)
    assert config.deviation_group_size == 2
    for name in ("ema_generator", "discriminator"):
        variables = getattr(ported.model, name).variables
        own = sum(int(np.prod(variable.shape)) for variable in variables if variable.name != "typical_deviation")
        assert own == ported.transfers[name].parameter_count
    filters = sum(key.endswith("resample_filter") for key in states["D"])
    assert len(ported.transfers["discriminator"].ignored) == filters == 3
    model = ported.model
    for average, trained in zip(model.ema_generator.variables, model.generator.variables, strict=True):
        np.testing.assert_array_equal(average, trained)
    assert any("lacks G" in note for note in ported.notes)


def test_the_trained_generator_is_kept_apart():
    states = make_states()
    states["G"] = states["G_ema"] | {"mapping.fc0.bias": np.full([STYLE], 3.0, np.float32)}
    ported = port(states)
    np.testing.assert_array_equal(ported.model.generator.mapping.dense[0].bias, np.full([STYLE], 3.0))
    assert not np.allclose(ported.model.ema_generator.mapping.dense[0].bias, 3.0)
    assert ported.transfers["generator"].sha256 != ported.transfers["ema_generator"].sha256
    assert isinstance(ported.model.generator, Generator)


def broken(network, **changes):
    states = make_states()
    state = states[network] | changes
    return states | {network: {key: value for key, value in state.items() if value is not None}}


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        ([1], "expected a dictionary of the state dicts G_ema, D and mostly G, got list"),
        ({"G_ema": {}, "model": 1}, r"state dicts G_ema, D and mostly G, got \['G_ema', 'model'\]"),
        (make_states() | {"D": 3}, "in D, which is of type int"),
        (
            make_states() | {"G_ema": {"a": np.ones(1)}},
            "it lacks mapping.w_avg, mapping.fc0.weight, synth",
        ),
        (broken("D", **{"b8.conv1.resample_filter": np.ones([4, 4])}), "D.b8.conv1.resample_filter is not the filter"),
        (broken("D", **{"b4.out.bias": None}), "of the D do not fit, .* 1 missing: b4.out.bias"),
        (broken("G_ema", **{"more": np.ones(1)}), "of the G_ema do not fit, .* 1 without a place: more"),
        (broken("G_ema", **{"mapping.fc1.weight": np.full([5, 5], np.inf)}), "not finite: mapping.fc1.weight"),
        (broken("G_ema", **{"synthesis.b8.conv1.weight": np.ones([5, 5, 3, 3])}), "at most channel_max, got"),
    ],
)
def test_what_does_not_fit_is_refused(checkpoint, message):
    with pytest.raises(ValueError, match=message):
        port(checkpoint)


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match="deviation_group_size must be at least 1, got 0"):
        port(make_states(), deviation_group_size=0)
    with pytest.raises(ValueError, match="StyleGAN2Config.is_single_label expects bool"):
        port(make_states(), is_single_label="yes")
