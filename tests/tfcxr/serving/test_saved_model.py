"""The exported SavedModel: signatures, equal pictures in any batch and process, errors."""

import dataclasses
import json
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl import logging as absl_logging
from tensorflow.core.protobuf import saved_model_pb2

from tfcxr.models.base import GAN
from tfcxr.models.model_config import GANConfig
from tfcxr.serving.saved_model import export_model, weights_sha256
from tfcxr.serving.served import ServedGenerator, default_chunk_rows, served_variables

pytestmark = pytest.mark.thorough

NAMES = ("NORMAL", "PNEUMONIA")
ONE = tf.constant(1.0)


def generate(functions, seeds, labels):
    return functions.generate(tf.constant(seeds, tf.int64), tf.constant(labels, tf.float32))["image"].numpy()


def test_loads_and_generates_the_same_without_tfcxr(tiny_export, one_hot, tmp_path):
    seeds, classes = [5, 2**40, 9, 11, 0, 3, 7], [0, 1, 1, 0, 1, 0, 0]
    here = generate(tf.saved_model.load(str(tiny_export)), seeds, one_hot(classes))
    script = f"""
        import sys
        sys.modules["tfcxr"] = None  # importing it fails from here on
        import numpy as np
        import tensorflow as tf
        try:
            import tfcxr
        except ImportError:
            pass
        else:
            sys.exit("tfcxr could be imported")
        loaded = tf.saved_model.load({str(tiny_export)!r}).signatures["serving_default"]
        def generate(seeds, classes):
            return loaded(
                seed=tf.constant(seeds, tf.int64), label=tf.one_hot(classes, 2), truncation=tf.constant(1.0)
            )["image"].numpy()
        batch, alone = generate({seeds[::-1]}, {classes[::-1]}), generate({seeds[:1]}, {classes[:1]})
        np.savez("there.npz", batch=batch, alone=alone)
        """
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "PATH": ""}
    subprocess.run([sys.executable, "-I", "-c", textwrap.dedent(script)], cwd=tmp_path, env=environment, check=True)
    there = np.load(tmp_path / "there.npz")
    assert here.std() > 10  # pictures, not one grey
    np.testing.assert_array_equal(there["batch"][::-1], here)
    np.testing.assert_array_equal(there["alone"], here[:1])


@pytest.mark.parametrize("settings", [{"normalization": "batch"}, {"normalization": "layer", "channels": 3}])
def test_a_picture_does_not_depend_on_its_batch(make_tiny_gan, one_hot, settings):
    model, _ = make_tiny_gan(image_size=64, generator_filters=256, latent_size=100, **settings)
    functions = ServedGenerator(model, NAMES)
    seeds = np.random.default_rng(0).integers(0, 2**60, 35)
    labels = one_hot(np.arange(35) % 2)
    alone = np.concatenate([generate(functions, seeds[[row]], labels[[row]]) for row in range(35)])
    assert alone.std(axis=0).mean() > 5  # they differ from each other
    order = np.random.default_rng(1).permutation(35)
    for batch in (7, 35):
        rows = [order[start : start + batch] for start in range(0, 35, batch)]
        together = np.concatenate([generate(functions, seeds[row], labels[row]) for row in rows])
        np.testing.assert_array_equal(together, alone[order])


def test_signatures_tell_shapes_and_the_default_truncation(tiny_export):
    saved = saved_model_pb2.SavedModel.FromString((tiny_export / "saved_model.pb").read_bytes())
    signatures = saved.meta_graphs[0].signature_def
    assert {"serving_default", "png", "latent", "score"} <= set(signatures)
    for name in ("serving_default", "png"):
        assert set(signatures[name].inputs) == {"seed", "label", "truncation"}
        assert tf.make_ndarray(signatures[name].defaults["truncation"]) == 1.0
    assert [size.size for size in signatures["serving_default"].inputs["label"].tensor_shape.dim] == [-1, 2]
    assert set(signatures["score"].outputs) == {"realism", "label_probability"}


def test_every_signature_agrees_with_the_model(make_tiny_gan, one_hot):
    model, _ = make_tiny_gan()
    functions = ServedGenerator(model, NAMES)
    seeds, labels = tf.range(10, dtype=tf.int64), tf.constant(one_hot(np.arange(10) % 2))
    images = functions.generate(seeds, labels, tf.constant(0.5))["image"].numpy()
    expected = model.generate(seeds, labels, 0.5).numpy()
    assert images.dtype == np.uint8 and images.shape == (10, 32, 32, 1)
    assert np.abs(images - (expected + 1) * 127.5).max() < 0.51  # rounding to whole grey levels
    pngs = functions.generate_png(seeds, labels, tf.constant(0.5))["png_bytes"].numpy()
    np.testing.assert_array_equal(np.stack([tf.io.decode_png(png) for png in pngs]), images)
    z = tf.random.stateless_normal([10, 8], [1, 2])
    latent = functions.generate_from_latent(z, labels)["image"].numpy()
    np.testing.assert_allclose(latent, model.call((z, labels)), atol=1e-5)
    scores = functions.score(tf.constant(images))
    logits, classes = model.discriminator(tf.constant(images, tf.float32) / 127.5 - 1.0)
    np.testing.assert_allclose(scores["realism"], tf.sigmoid(logits[:, 0]), atol=1e-5)
    np.testing.assert_allclose(scores["label_probability"], tf.nn.softmax(classes), atol=1e-5)


def test_truncation_left_out_is_one(tiny_export, one_hot):
    loaded = tf.saved_model.load(str(tiny_export))
    seeds, labels = tf.range(3, dtype=tf.int64), tf.constant(one_hot([0, 1, 0]))
    full = loaded.generate(seeds, labels, ONE)["image"].numpy()
    np.testing.assert_array_equal(loaded.generate(seeds, labels)["image"], full)
    assert (loaded.generate(seeds, labels, tf.constant(0.3))["image"].numpy() != full).any()


def test_truncation_is_one_number_or_one_per_image(tiny_export, one_hot):
    loaded = tf.saved_model.load(str(tiny_export))
    inputs = {"seed": tf.range(10, dtype=tf.int64), "label": tf.constant(one_hot(np.arange(10) % 2))}
    for name, output in (("serving_default", "image"), ("png", "png_bytes")):
        signature = loaded.signatures[name]
        half, whole = (signature(**inputs, truncation=tf.constant(value))[output].numpy() for value in (0.5, 1.0))
        np.testing.assert_array_equal(signature(**inputs, truncation=tf.fill([10], 0.5))[output], half)
        mixed = signature(**inputs, truncation=tf.constant([0.5] * 4 + [1.0] * 6))[output]
        np.testing.assert_array_equal(mixed, [*half[:4], *whole[4:]])
        for wrong in ([0.5, 0.5], [[0.5]] * 10):
            message = r"truncation needs one value for all images or one per seed,\] \[10\] \[values, got the shape"
            with pytest.raises(tf.errors.InvalidArgumentError, match=message):
                signature(**inputs, truncation=tf.constant(wrong))
        with pytest.raises(tf.errors.InvalidArgumentError, match="truncation holds NaN or infinity; give 0 to 1 inst"):
            signature(**inputs, truncation=tf.constant(np.nan, tf.float32))


def test_rest_calls_the_signatures_by_rows_and_by_columns(tiny_export):
    rest_json = pytest.importorskip("tfcxr.server.rest_json", reason="needs the extra 'serving'")
    saved = saved_model_pb2.SavedModel.FromString((tiny_export / "saved_model.pb").read_bytes())
    definition = saved.meta_graphs[0].signature_def["serving_default"]
    signature = tf.saved_model.load(str(tiny_export)).signatures["serving_default"]

    def images(document):
        inputs, is_row = rest_json.read_inputs(document, definition)
        assert is_row == ("instances" in document)
        return signature(**{name: tf.constant(value) for name, value in inputs.items()})["image"].numpy()

    rows = [{"seed": 5, "label": [1, 0], "truncation": 0.5}, {"seed": 6, "label": [0, 1], "truncation": 0.5}]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    by_rows = images({"instances": rows})
    np.testing.assert_array_equal(images({"inputs": columns}), by_rows)
    np.testing.assert_array_equal(images({"inputs": columns | {"truncation": 0.5}}), by_rows)
    rows[1]["truncation"] = 1
    other = images({"instances": rows})
    np.testing.assert_array_equal(other[0], by_rows[0])
    assert (other[1] != by_rows[1]).any()


def test_no_rows_give_no_pictures(make_tiny_gan):
    functions = ServedGenerator(make_tiny_gan()[0], NAMES)
    none = tf.zeros([0, 2])
    assert functions.generate(tf.zeros([0], tf.int64), none)["image"].shape == (0, 32, 32, 1)
    assert functions.generate_png(tf.zeros([0], tf.int64), none)["png_bytes"].shape == (0,)
    assert functions.score(tf.zeros([0, 32, 32, 1], tf.uint8))["realism"].shape == (0,)


def test_a_label_that_does_not_fit_is_refused_with_a_sentence(tiny_export):
    signature = tf.saved_model.load(str(tiny_export)).signatures["serving_default"]
    seed = tf.constant([1], tf.int64)
    for label, message in (
        (tf.zeros([1, 3]), r"label needs 2 columns \(NORMAL, PNEUMONIA\), got\] \[3\]"),
        (tf.zeros([2, 2]), r"label needs a row for each seed,\] \[1\] \[rows, got\] \[2\]"),
        (tf.constant([[1.0, np.nan]]), r"label \(NORMAL, PNEUMONIA\) holds NaN or infinity"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            signature(seed=seed, label=label, truncation=ONE)


def test_several_labels_have_probabilities_of_their_own(make_tiny_gan):
    model, _ = make_tiny_gan(("A", "B", "C"), is_single_label=False, fake_labels="batch")
    images = tf.cast(tf.random.stateless_uniform([5, 32, 32, 1], [0, 1], maxval=255), tf.uint8)
    probability = ServedGenerator(model, ("A", "B", "C")).score(images)["label_probability"].numpy()
    logits = model.discriminator(tf.cast(images, tf.float32) / 127.5 - 1.0)[1]
    np.testing.assert_allclose(probability, tf.sigmoid(logits), atol=1e-5)


def test_minibatch_stddev_scores_any_number_of_images(make_tiny_gan):
    functions = ServedGenerator(make_tiny_gan(minibatch_stddev=True)[0], NAMES)
    for rows in (1, 8, 11):
        assert functions.score(tf.zeros([rows, 32, 32, 1], tf.uint8))["realism"].shape == (rows,)


def test_a_model_without_labels_has_no_label_input():
    class Plain(GAN):
        def make_generator(self):
            z, label = keras.Input([4]), keras.Input([0])
            joined = keras.layers.Concatenate()([z, label])
            image = keras.layers.Reshape([32, 32, 1])(keras.layers.Dense(32 * 32, activation="tanh")(joined))
            return keras.Model((z, label), image)

        def make_discriminator(self):
            image = keras.Input([32, 32, 1])
            flat = keras.layers.Flatten()(image)
            return keras.Model(image, keras.layers.Dense(1)(flat))

        def discriminator_inputs(self):
            return tf.zeros([1, 32, 32, 1])

        def score(self, image, label, label_mask=None):
            return self.discriminator(image), None

    functions = ServedGenerator(Plain(GANConfig(image_size=32, label_count=0, conditional=False, latent_size=4)), ())
    assert functions.generate(tf.range(3, dtype=tf.int64))["image"].shape == (3, 32, 32, 1)
    assert functions.generate_from_latent(tf.zeros([2, 4]))["image"].shape == (2, 32, 32, 1)
    assert set(functions.score(tf.zeros([2, 32, 32, 1], tf.uint8))) == {"realism"}


def test_versions_count_up_and_are_never_overwritten(make_tiny_gan, tmp_path):
    model, run = make_tiny_gan()
    folder = tmp_path / "gan"
    (folder / "9").mkdir(parents=True)
    assert export_model(model, run, folder, {"step": 1}) == folder / "10"
    with pytest.raises(ValueError, match="holds version 10 already; choose another"):
        export_model(model, run, folder, {"step": 1}, version=10)
    with pytest.raises(ValueError, match="a version is a number from 1, got 0"):
        export_model(model, run, folder, {"step": 1}, version=0)
    assert sorted(path.name for path in folder.iterdir()) == ["10", "9"]


def test_a_version_after_one_of_another_run_says_so(make_tiny_gan, tmp_path, caplog):
    absl_logging.get_absl_logger().propagate = True
    model, run = make_tiny_gan()
    folder = tmp_path / "gan"
    for step in (1, 2):
        export_model(model, run, folder, {"step": step})
    assert "newest version" not in caplog.text, "two exports of one run"
    other = dataclasses.replace(run, seed=4)
    export_model(model, other, folder, {"step": 9})
    export_model(model, run, folder, {"step": 1}, version=10)
    said = (
        f"{folder / '3'} is now the newest version of {folder}; version 2 before it is of another run: acgan on discs, "
    )
    assert said + "2 steps, seed 3." in caplog.text
    assert "version 3 before it is of another run: acgan on discs, 9 steps, seed 4." in caplog.text
    caplog.clear()
    export_model(model, run, folder, {"step": 1}, version=5)
    assert "newest version" not in caplog.text


def test_a_failed_export_leaves_nothing(make_tiny_gan, tmp_path, monkeypatch):
    model, run = make_tiny_gan()

    def fail(*arguments, **options):
        raise tf.errors.ResourceExhaustedError(None, None, "variables/x; No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(OSError, match="could not write the SavedModel: .*No space left"):
        export_model(model, run, tmp_path / "gan", {"step": 1})
    assert list((tmp_path / "gan").iterdir()) == []


def test_label_names_and_chunks_are_checked(make_tiny_gan):
    model, _ = make_tiny_gan()
    with pytest.raises(ValueError, match="the model has 2 labels, got 1 names"):
        ServedGenerator(model, ["NORMAL"])
    with pytest.raises(ValueError, match="chunk_rows must be at least 1, got 0"):
        ServedGenerator(model, NAMES, chunk_rows=0)
    assert [default_chunk_rows(size) for size in (32, 64, 128, 256, 1024)] == [4, 4, 2, 2, 2]


def test_bfloat16_training_is_exported_in_float32(make_tiny_gan, one_hot, tmp_path):
    half, run = make_tiny_gan(precision="mixed_bfloat16")
    full, _ = make_tiny_gan()
    loaded = tf.saved_model.load(str(export_model(half, run, tmp_path / "gan", {"step": 1})))
    labels = one_hot([0, 1, 0])
    np.testing.assert_array_equal(
        generate(loaded, [1, 2, 3], labels), generate(ServedGenerator(full, NAMES), [1, 2, 3], labels)
    )
    assert json.loads((tmp_path / "gan/1/model.json").read_text())["weights_sha256"] == weights_sha256(
        served_variables(full)
    )


def test_the_hash_tells_weights_apart(make_tiny_gan):
    model, _ = make_tiny_gan()
    before = weights_sha256(served_variables(model))
    model.discriminator.variables[-1].assign_add([1e-6, 0.0])
    assert weights_sha256(served_variables(model)) != before
