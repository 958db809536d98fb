"""StyleGAN2-ADA's state dicts: against the authors' own numbers, and what does not fit."""

import re

import numpy as np
import pytest
import tensorflow as tf

from tfcxr.models.stylegan2 import Generator
from tfcxr.porting.stylegan2_ada import _generator_settings, port


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
    alone = ported.model.score(image, none)[0]
    each = [discriminator((image[row : row + 1], none[:1]))[0] for row in range(4)]
    np.testing.assert_allclose(alone, tf.concat(each, 0), rtol=1e-4, err_msg="as the original judges one image")


@pytest.mark.thorough
def test_the_conditional_checkpoint_gives_the_reference_numbers(reference, assert_reference):
    data = reference("stylegan2_ada_conditional")
    ported = port(data.checkpoint)
    model = ported.model
    assert (model.config.label_count, model.config.latent_size, model.config.style_size) == (3, 24, 20)
    assert (model.config.mapping_layers, model.config.discriminator_mapping_layers) == (2, 8)
    for name, network in (("ema_generator", "G_ema"), ("discriminator", "D")):
        transfer = ported.transfers[name]
        assert sorted((*transfer.used, *transfer.ignored)) == sorted(data.checkpoint[network])
        assert all(key.endswith("resample_filter") for key in transfer.ignored)
    generator, discriminator = model.ema_generator, model.discriminator
    z, label = tf.constant(data.inputs["z"]), tf.constant(data.inputs["label"])
    image = tf.constant(data.inputs["image"].transpose(0, 2, 3, 1))
    first, other = label[:4], label[4:]
    w, average = generator.mapping(z, first), generator.mapping.average.numpy()
    found = {
        "w": w,
        "w/other_label": generator.mapping(z, other),
        "w/psi_0.7": average + 0.7 * (w - average),
        "image": generator((z, first)),
        "image/other_label": generator((z, other)),
        "cmap": discriminator.mapping(None, label),
        "score": discriminator((image, label))[0],
        "score/alone": model.score(image, label)[0],
    }
    found["image/psi_0.7"] = generator.synthesis(generator.styles(found["w/psi_0.7"]))
    found["score/of_fake"] = discriminator((found["image"], first))[0]
    with tf.GradientTape() as tape:
        tape.watch(image)
        total = tf.reduce_sum(discriminator((image, label))[0])
    found["grad_norm"] = tf.norm(tf.reshape(tape.gradient(total, image), [8, -1]), axis=1)
    clamped = port(data.checkpoint, convolution_clamp=data.spec["clamp"]).model
    found["clamped/image"] = clamped.ema_generator((z, first))
    found["clamped/score"] = clamped.discriminator((image, label))[0]
    assert_reference(found, data.expected)
    whole = tf.clip_by_value(found["image/psi_0.7"], -1.0, 1.0)
    np.testing.assert_allclose(
        model.generate_from_latent(z, first, truncation=0.7), whole, atol=1e-5, err_msg="as it is exported"
    )


# a checkpoint of this file's own: 32 px, 2 labels

WIDTHS = {4: 6, 8: 6, 16: 4, 32: 2}
STYLE, LATENT, LABELS = 5, 3, 2


def make_states(labels=LABELS, depth=2, judging_depth=3):
    generator = np.random.default_rng(0)
    blur = np.outer([1, 3, 3, 1], [1, 3, 3, 1]).astype(np.float32) / 64

    def layer(state, name, *shape, has_bias=True):
        state[f"{name}.weight"] = generator.normal(size=shape).astype(np.float32)
        if has_bias:
            state[f"{name}.bias"] = generator.normal(size=shape[0]).astype(np.float32)

    def mapping(state, latent, width, depth):
        if labels:
            layer(state, "mapping.embed", width, labels)
        inputs = latent + (width if labels else 0)
        for index in range(depth):
            layer(state, f"mapping.fc{index}", width, width if index else inputs)

    drawing = {"mapping.w_avg": generator.normal(size=STYLE).astype(np.float32)}
    mapping(drawing, LATENT, STYLE, depth)
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
        mapping(judging, 0, WIDTHS[4], judging_depth)
    return {"G_ema": drawing, "D": judging}


@pytest.mark.thorough
@pytest.mark.parametrize(("labels", "depth", "judging_depth"), [(0, 2, 8), (LABELS, 2, 3), (LABELS, 1, 8), (1, 3, 0)])
def test_sizes_are_read_off_and_every_variable_is_fed(labels, depth, judging_depth):
    states = make_states(labels, depth, judging_depth)
    ported = port(states, deviation_group_size=2)
    config = ported.model.config
    assert (config.image_size, config.channels, config.label_count, config.latent_size) == (32, 1, labels, LATENT)
    assert (config.style_size, config.mapping_layers, config.filters) == (STYLE, depth, WIDTHS)
    assert config.discriminator_mapping_layers == judging_depth
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


def test_what_no_key_says_is_in_the_notes():
    states = make_states()
    assert any("are cut off at 256" in note and "--fp32=true" in note for note in port(states).notes)
    ported = port(states | {"training_set_kwargs": {}, "augment_pipe": None}, convolution_clamp=0)
    assert ported.settings["convolution_clamp"] == 0
    assert any("have no bound" in note for note in ported.notes)
    assert any(note.endswith("networks: augment_pipe, training_set_kwargs.") for note in ported.notes)


@pytest.mark.thorough
def test_joint_labels_are_told_as_the_original_tells_them():
    states = make_states()
    plain, joint = port(states).model, port(states, is_single_label=False).model
    z = tf.random.stateless_normal([4, LATENT], [1, 2])
    image = tf.random.stateless_uniform([4, 32, 32, 1], [3, 4], -1.0, 1.0)
    label = tf.constant([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    drawn = plain.generate_from_latent(z, label)
    assert np.std(drawn) > 0.01
    np.testing.assert_allclose(joint.generate_from_latent(z, label), drawn, atol=1e-5)
    np.testing.assert_allclose(joint.score(image, label)[0], plain.score(image, label)[0], rtol=1e-4, atol=1e-6)
    trained = joint.generator((z, joint.condition(label)))
    np.testing.assert_allclose(trained, plain.generator((z, label)), atol=1e-5)
    half = joint.discriminator.mapping(None, joint.condition(label[3:], tf.zeros([1, 2])))
    np.testing.assert_allclose(half, plain.discriminator.mapping(None, 0.5 * label[3:]), rtol=1e-4, atol=1e-5)


def test_widths_of_any_channel_base_are_found():
    """1000 / 4 and 1000 / 8 leave no remainder, 1000 / 16 and 1000 / 32 do."""
    state = {"mapping.w_avg": np.zeros(4), "mapping.fc0.weight": np.zeros([4, 4])}
    for size, width in {4: 250, 8: 125, 16: 62, 32: 31}.items():
        block = f"synthesis.b{size}"
        state[f"{block}.conv1.weight"], state[f"{block}.torgb.weight"] = (
            np.zeros([width, 1, 3, 3]),
            np.zeros([1, width]),
        )
        state[f"{block}.conv1.noise_const"] = np.zeros([size, size])
    found = _generator_settings(state)
    assert (found["channel_base"], found["channel_max"]) == (1000, 250)


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


def without(network, pattern):
    states = make_states()
    return states | {network: {key: value for key, value in states[network].items() if not re.search(pattern, key)}}


@pytest.mark.thorough
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
        (make_states() | {"D": {"a": np.ones(1)}}, "D is no state dict of .* it lacks b4.conv.weight"),
        (make_states() | {"D": make_states(0)["D"]}, "G_ema is told 2 labels and D 0"),
        (make_states() | {"D": make_states(3)["D"]}, "G_ema is told 2 labels and D 3"),
        (broken("D", **{"b8.conv1.resample_filter": np.ones([4, 4])}), "D.b8.conv1.resample_filter is not the filter"),
        (broken("D", **{"b4.out.bias": None}), "of the D do not fit, .* 1 missing: b4.out.bias"),
        (broken("G_ema", **{"more": np.ones(1)}), "of the G_ema do not fit, .* 1 without a place: more"),
        (broken("G_ema", **{"mapping.fc1.weight": np.full([5, 5], np.inf)}), "not finite: mapping.fc1.weight"),
        (broken("G_ema", **{"synthesis.b8.conv1.weight": np.ones([5, 5, 3, 3])}), "at most channel_max, got"),
        (broken("G_ema", **{"synthesis.b8.skip.weight": np.ones([6, 6, 1, 1])}), "G_ema is of architecture 'resnet'"),
        (
            without("G_ema", r"b(4|8|16)\.torgb"),
            "G_ema is of architecture 'orig' by its keys; StyleGAN2 here is 'skip'",
        ),
        (without("G_ema", "noise"), "G_ema was made with use_noise=False"),
        (
            broken("D", **{"b8.fromrgb.weight": np.ones([6, 1, 1, 1])}),
            "D is of architecture 'skip' by its keys; .*'resnet'",
        ),
        (without("D", "skip"), "D is of architecture 'orig'"),
        (broken("D", **{"b4.conv.weight": np.ones([6, 6, 3, 3])}), "D has 0 channels of minibatch stddev"),
        (broken("D", **{"b4.out.weight": np.ones([9, 6])}), r"D.b4.out has 9 units; .* as b4.conv, 6 \(cmap_dim\)"),
        (broken("D", **{"mapping.embed.weight": np.ones([9, 2])}), "D.mapping.embed has 9 units"),
        (broken("G_ema", **{"mapping.embed.weight": np.ones([9, 2])}), "G_ema.mapping.embed has 9 units; .* as w, 5"),
        (broken("G_ema", **{"mapping.fc0.weight": np.ones([9, 8])}), "G_ema.mapping.fc0 has 9 units; .* as w, 5"),
        (broken("D", **{"mapping.fc1.weight": None}), "1 missing: mapping.fc1.weight; 2 without a place: mapping.fc2"),
    ],
)
def test_what_does_not_fit_is_refused(checkpoint, message):
    with pytest.raises(ValueError, match=message):
        port(checkpoint)


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match="deviation_group_size must be at least 1, got 0"):
        port(make_states(), deviation_group_size=0)
    with pytest.raises(ValueError, match="StyleGAN2Config.is_single_label expects true or false"):
        port(make_states(), is_single_label="yes")
    with pytest.raises(ValueError, match="convolution_clamp must be at least 0, got -1"):
        port(make_states(), convolution_clamp=-1.0)
