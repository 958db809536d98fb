"""Fine-tuning: what learns, what is frozen, what the critic sees. What every model does is in test_contract.py."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcxr.backbones.bilinear_resize import resize_antialiased
from tfcxr.models.pggan.transfer import TransferPGGAN, TransferPGGANConfig

SMALL = {"image_size": 32, "latent_size": 8, "filters": (8, 8, 6, 4), "critic_size": 32}
SMALL |= {"critic_growth_rate": 4, "critic_blocks": (1, 1), "critic_filters": 8, "critic_head": 8}


def make(**settings):
    return TransferPGGAN(TransferPGGANConfig(**(SMALL | settings)), seed=3)


def batch(rows=4, size=32):
    empty = tf.zeros([rows, 0])
    image = tf.tanh(tf.random.stateless_normal([rows, size, size, 1], [0, 1]))
    return {"image": image, "label": empty, "label_mask": empty}


def state_of(network):
    """A copy of every value by the part that it belongs to."""
    if hasattr(network, "blocks"):
        parts = {"latent": network.latent, "first": network.first}
        parts |= {f"block_{8 << index}": block for index, block in enumerate(network.blocks)}
        parts |= {f"to_image_{index}": layer for index, layer in enumerate(network.to_image)}
    else:
        parts = {"backbone": network.backbone, "hidden": network.hidden, "value": network.value}
    return {
        f"{part}/{index}/{variable.name}": variable.numpy().copy()
        for part, layer in parts.items()
        for index, variable in enumerate(layer.variables)
    }


def moved(model, data=None):
    before = state_of(model.generator) | state_of(model.discriminator)
    model.train_step(batch() if data is None else data)
    after = state_of(model.generator) | state_of(model.discriminator)
    return {name for name in before if not np.array_equal(before[name], after[name])}


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("settings", "learns"),
    [
        ({}, {"block_16", "block_32", "to_image_3"}),
        ({"trained_blocks": (2,)}, {"block_32", "to_image_3"}),
        ({"trained_blocks": (0, 2)}, {"block_8", "block_32", "to_image_3"}),
        ({"trained_blocks": (), "trains_base": True}, {"latent", "first"}),
        (
            {"trained_blocks": (0, 1, 2), "trains_base": True},
            {"latent", "first", "block_8", "block_16", "block_32", "to_image_3"},
        ),
    ],
)
def test_only_the_named_blocks_and_the_head_move(settings, learns):
    assert {path.split("/")[0] for path in moved(make(**settings))} == learns | {"hidden", "value"}


@pytest.mark.thorough
def test_the_averaged_generator_keeps_what_is_frozen_too():
    model = make(ema_decay=0.5)
    before = state_of(model.ema_generator)
    model.train_step(batch())
    after = state_of(model.ema_generator)
    still = {path for path in before if np.array_equal(before[path], after[path])}
    assert {path for path in before if path.startswith(("latent", "first", "block_8", "to_image_0"))} <= still
    assert not any("block_32" in path and "kernel" in path for path in still)


@pytest.mark.thorough
def test_frozen_layers_are_on_no_tape():
    """Nothing flows back through what was computed before the first block that learns."""
    model = make(trained_blocks=(2,))
    function = tf.function(model.train_step, autograph=False).get_concrete_function(batch())
    filter_gradients = [op for op in function.graph.get_operations() if op.type == "Conv2DBackpropFilter"]
    shapes = {tuple(op.outputs[0].shape) for op in filter_gradients if op.outputs[0].shape.rank}
    sizes = [tf.get_static_value(op.inputs[1]) for op in filter_gradients]
    kernels = shapes | {tuple(size) for size in sizes if size is not None}
    assert (3, 3, 6, 4) in kernels, "the block that learns"
    assert (3, 3, 8, 8) not in kernels, "the frozen ones"


@pytest.mark.thorough
def test_batch_statistics_move_only_where_asked():
    still = moved(make())
    assert not any("moving" in path for path in still)
    published = moved(make(moves_batch_statistics=True))
    assert any("moving_mean" in path for path in published)
    assert not any(path.endswith("gamma") for path in published)


def test_both_kinds_of_images_are_shown_in_the_same_way():
    model, images = make(critic_size=16), batch()["image"]
    model.generator = lambda inputs, **_: 0.5 * (images + 1.0)
    shown = model._fake_images(tf.zeros([4, 8]), tf.zeros([4, 0]), 0.0)
    np.testing.assert_allclose(shown, model._real_images(images, 0.0), atol=1e-3)
    np.testing.assert_allclose(shown, 1024.0 * resize_antialiased(images, 16), atol=1e-3)


def test_published_handling_by_hand():
    model = make(value_handling="as_published", critic_size=16, channels=3)
    colours = tf.random.stateless_uniform([2, 32, 32, 3], [5, 5], -1.0, 1.0)
    model.generator = lambda inputs, **_: colours
    shown = model._fake_images(tf.zeros([2, 8]), tf.zeros([2, 0]), 0.0)
    resized = tf.image.resize(tf.tanh(colours), [16, 16]).numpy()
    np.testing.assert_allclose(shown[..., 0], np.tanh(resized @ np.array([0.2989, 0.5870, 0.1140])), atol=1e-6)
    grey = tf.fill([1, 32, 32, 1], 0.2)  # .6 in [0, 1]
    np.testing.assert_allclose(model._real_images(grey, 0.0), (0.6 - 0.502) / 0.290, rtol=1e-5)
    in_paper = make(value_handling="as_in_paper", critic_size=16, channels=3)
    np.testing.assert_allclose(in_paper._real_images(grey, 0.0), np.tanh(0.6), rtol=1e-5)
    in_paper.generator = model.generator
    assert np.array_equal(in_paper._fake_images(tf.zeros([2, 8]), tf.zeros([2, 0]), 0.0), shown)


def test_it_says_how_much_learns():
    """Block to 32 px: 3*3*6*4 + 4 + 3*3*4*4 + 4 = 368; layer to the image: 4 + 1 = 5."""
    assert make(trained_blocks=(-1,)).learning_text().startswith("373 of ")
    assert make().learning_text().endswith("what makes 16 px, 32 px")


def test_records_may_be_smaller_than_the_images():
    model = make(data_size=16)
    assert [(stage.image_size, stage.end_step) for stage in model.config.stages(4, 7)] == [(16, 7)]
    assert moved(model, batch(size=16))
    assert model.generate(tf.range(2, dtype=tf.int64), tf.zeros([2, 0])).shape == (2, 32, 32, 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"trained_blocks": (3,)},
            r"trained_blocks must name at least one of the 3 scale blocks, 0 \(8 px\) to 2 \(32",
        ),
        ({"trained_blocks": ()}, r"trained_blocks must name at least one .* got \(\)"),
        ({"trained_blocks": (-4,)}, r"or -1 to -3 from the last, got \(-4,\)"),
        ({"conditional": True, "label_count": 2}, "transfer_pggan generates without labels"),
        ({"value_handling": "as_published", "dialect": "karras"}, "for generators of value_range 0..1, got -1..1"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        make(**settings)


@pytest.fixture
def keras_critic(tmp_path):
    image = keras.Input([24, 24, 3])
    features = keras.layers.SeparableConv2D(6, 3, strides=2)(image)
    features = keras.layers.ReLU()(keras.layers.BatchNormalization()(features))
    keras.Model(image, keras.layers.GlobalAveragePooling2D()(features)).save(tmp_path / "critic.keras")
    return str(tmp_path / "critic.keras")


def settings_with(critic):
    found = TransferPGGAN.prepare_settings({"pretrained": "runs/x", "critic_weights": critic}, lambda path: grown_run())
    return {name: found[name] for name in ("critic_weights", "critic_sha256", "critic_size")}


def grown_run():
    class Run:
        model, settings, weights = "pggan", {"image_size": 32}, {"state/size": 32}

    return Run()


@pytest.mark.thorough
def test_any_keras_file_may_be_the_critic_and_stays_as_it_is(keras_critic):
    settings = settings_with(keras_critic)
    assert settings["critic_size"] == 24 and len(settings["critic_sha256"]) == 64
    model = make(**settings)
    assert {path.split("/")[0] for path in moved(model)} == {"block_16", "block_32", "to_image_3", "hidden", "value"}
    images = batch()["image"]
    assert model._real_images(images, 0.0).shape == (4, 24, 24, 1)
    expected = model.discriminator.backbone(tf.repeat(resize_antialiased(images, 24), 3, axis=-1), training=False)
    np.testing.assert_allclose(model.discriminator.map_of(model._real_images(images, 0.0)), expected, atol=1e-5)


def test_another_keras_file_than_at_the_start_is_refused(keras_critic):
    settings = settings_with(keras_critic)
    image = keras.Input([24, 24, 1])
    keras.Model(image, keras.layers.GlobalMaxPooling2D()(image)).save(keras_critic)
    with pytest.raises(ValueError, match="critic.keras is another file than when this run began .* put the file back"):
        make(**settings)
    with pytest.raises(ValueError, match="value_handling='as_published' is the study's for its DenseNet"):
        make(**(settings | {"value_handling": "as_published"}))
