"""The registry of signatures: a new one is exported, called by name and shown in the card; names of today stay."""

import numpy as np
import pytest
import tensorflow as tf

from tfcxr.serving import signatures
from tfcxr.serving.loaded_model import LoadedModel
from tfcxr.serving.saved_model import export_model
from tfcxr.serving.signatures import SIGNATURES, signatures_of
from tfcxr.serving.signatures.signature import Signature


class Brightness(Signature):
    """As a newcomer would write it."""

    name = "brightness"
    kinds = ("generator",)
    meaning = "the mean grey of each seed's image"
    defaults = {"gain": 1.0}

    def inputs(self, served):
        return [tf.TensorSpec([None], tf.int64, "seed"), *served.label_specs, tf.TensorSpec([], tf.float32, "gain")]

    def outputs(self, served, inputs):
        images = served.images(inputs["seed"], served.checked_label(inputs, "seed"), tf.constant(1.0))["image"]
        return {"grey": inputs["gain"] * tf.reduce_mean(tf.cast(images, tf.float32), axis=[1, 2, 3])}


@pytest.mark.thorough
def test_a_new_signature_is_one_class_and_one_line(make_tiny_gan, one_hot, tmp_path, monkeypatch):
    monkeypatch.setitem(signatures.SIGNATURES, "brightness", Brightness())
    model, run = make_tiny_gan()
    path = export_model(model, run, tmp_path / "gan", {"step": 1})
    loaded, seeds, labels = LoadedModel(path), np.arange(3), one_hot([0, 1, 1])
    grey = loaded.generate(seeds, labels).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(loaded.call("brightness", seed=seeds, label=labels)["grey"], grey, rtol=1e-5)
    np.testing.assert_allclose(loaded.call("brightness", seed=seeds, label=labels, gain=2)["grey"], 2 * grey, rtol=1e-5)
    assert "| `brightness` | `brightness` | the mean grey of each seed's image |" in (path / "README.md").read_text()
    outside = tf.saved_model.load(str(path))
    np.testing.assert_allclose(outside.brightness(tf.constant(seeds), tf.constant(labels))["grey"], grey, rtol=1e-5)


def test_each_kind_has_the_names_that_servers_and_clients_know():
    names = {kind: {name: one.name for name, one in signatures_of(kind).items()} for kind in ("generator", "cascade")}
    images = {"generate": "serving_default", "generate_png": "png"}
    assert names["cascade"] == images
    assert names["generator"] == images | {"generate_from_latent": "latent", "score": "score"}
    assert {name: one.name for name, one in signatures_of("super_resolution").items()} == {
        "super_resolve": "serving_default",
        "super_resolve_png": "png",
    }
    compared = [name for name, one in SIGNATURES.items() if not one.rows_are_independent]
    assert compared == ["score"], "minibatch stddev compares the images of a request"
    assert all(signature.meaning and signature.kinds for signature in SIGNATURES.values())


def test_calls_that_a_model_cannot_answer(tiny_export, tiny_enlarger, one_hot):
    generator, enlarger = LoadedModel(tiny_export), LoadedModel(tiny_enlarger)
    with pytest.raises(ValueError, match="enlarger/1 is a super_resolution with super_resolve, so it cannot generate; "
                       "give the export of a generator or cascade"):  # fmt: skip
        enlarger.generate(np.arange(1), one_hot([0]))
    with pytest.raises(
        ValueError, match="tiny/1 is a generator with generate, .*, so it cannot super_resolve; give the"
    ):
        generator.super_resolve(np.zeros([1, 4, 4, 1]))
    with pytest.raises(ValueError, match="unknown function 'scores'; did you mean 'score'"):
        generator.call("scores", image=np.zeros([1, 32, 32, 1]))
    with pytest.raises(ValueError, match="generate of .*tiny/1 has the inputs label, seed, truncation; got label, "):
        generator.call("generate", label=one_hot([0]))
    with pytest.raises(ValueError, match="score of .*tiny/1 has the inputs image; got image, noise"):
        generator.call("score", image=np.zeros([1, 32, 32, 1]), noise=1.0)


def test_functions_are_found_by_their_signatures(tiny_enlarger):
    """The tiny enlarger's function is `enhance`, as earlier versions named it."""
    enlarger = LoadedModel(tiny_enlarger)
    assert hasattr(enlarger.saved_model, "enhance") and not hasattr(enlarger.saved_model, "super_resolve")
    image = np.arange(4, dtype=np.uint8).reshape(1, 2, 2, 1)
    np.testing.assert_array_equal(enlarger.super_resolve(image), image.repeat(2, axis=1).repeat(2, axis=2))
