"""The exported super-resolution model: signatures, any size, equal pictures in any batch and process, errors."""

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tfcxr.config import to_plain
from tfcxr.data.pipeline import from_pixels, to_pixels
from tfcxr.models.srgan import SRGAN, SRGANConfig
from tfcxr.serving.golden import check_golden
from tfcxr.serving.loaded_model import LoadedModel
from tfcxr.serving.model_card import read_description
from tfcxr.serving.saved_model import export_model, weights_sha256
from tfcxr.serving.served import ServedSuperResolution, served_variables
from tfcxr.training.run_folder import RunConfig

TINY = {"image_size": 32, "scale": 2, "residual_blocks": 1, "filters": 4, "kernel_size": 3, "discriminator_filters": 2}
pytestmark = pytest.mark.thorough


def make_model(**settings):
    config = SRGANConfig(**(TINY | settings))
    model = SRGAN(config, seed=3)
    last = model.sampling_generator.last.kernel
    last.assign(tf.random.stateless_normal(last.shape, [7, 7]))
    data = {"name": "discs", "notice": "Discs, not radiographs.", "split": "train"}
    return model, RunConfig("srgan", to_plain(config), (), seed=3, batch_size=4, steps=7, data=data)


def pictures(*shape):
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, np.uint8)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A model trained on crops in bfloat16, with features, exported from a run folder."""
    run_dir = tmp_path_factory.mktemp("run")
    (run_dir / "training_patients.txt").write_text("patient-a\n")
    half = {"precision": "mixed_bfloat16", "content_loss": "vgg19", "content_weights": "random"}
    model, run = make_model(**half, content_layer="block1_conv1")
    return export_model(model, run, tmp_path_factory.mktemp("models") / "sharp", {"step": 7}, None, run_dir)


def test_loads_and_enlarges_the_same_without_tfcxr(exported, tmp_path):
    small = pictures(2, 150, 21, 1)
    np.save(tmp_path / "small.npy", small)
    loaded = tf.saved_model.load(str(exported))
    here = loaded.super_resolve(small)["image"].numpy()
    script = f"""
        import sys
        sys.modules["tfcxr"] = None  # importing it fails from here on
        import numpy as np
        import tensorflow as tf
        super_resolve = tf.saved_model.load({str(exported)!r}).signatures["serving_default"]
        small = np.load("small.npy")
        np.savez("there.npz", *(super_resolve(image=tf.constant(batch))["image"] for batch in (small, small[1:])))
        """
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "PATH": ""}
    subprocess.run([sys.executable, "-I", "-c", textwrap.dedent(script)], cwd=tmp_path, env=environment, check=True)
    there = np.load(tmp_path / "there.npz")
    assert here.shape == (2, 300, 42, 1) and here.dtype == np.uint8
    np.testing.assert_array_equal(there["arr_0"], here)
    np.testing.assert_array_equal(there["arr_1"], here[1:], "alone as in a batch")


def test_signatures_agree_with_the_model(exported):
    model, _ = make_model()  # the same weights in float32
    loaded = tf.saved_model.load(str(exported))
    for shape in ((3, 16, 16, 1), (1, 5, 40, 1), (1, 1, 1, 1)):
        small = pictures(*shape)
        expected = to_pixels(model.super_resolve(from_pixels(tf.constant(small)))).numpy()
        assert np.abs(loaded.super_resolve(small)["image"].numpy().astype(int) - expected).max() <= 1  # rounding
        pngs = loaded.super_resolve_png(small)["png_bytes"].numpy()
        np.testing.assert_array_equal(
            np.stack([tf.io.decode_png(png) for png in pngs]), loaded.super_resolve(small)["image"]
        )
    assert loaded.super_resolve(pictures(0, 8, 8, 1))["image"].shape == (0, 16, 16, 1)
    assert loaded.super_resolve_png(pictures(0, 8, 8, 1))["png_bytes"].shape == (0,)
    saved = saved_model_pb2.SavedModel.FromString((exported / "saved_model.pb").read_bytes())
    assert {"serving_default", "png"} <= set(saved.meta_graphs[0].signature_def)


def test_only_the_generator_is_exported(exported):
    model, _ = make_model()
    exported_weights = sum(
        np.prod(shape) for _, shape in tf.train.list_variables(str(exported / "variables/variables"))
    )
    weights = sum(np.prod(variable.shape) for variable in model.sampling_generator.variables)
    assert weights <= exported_weights < weights + 10, "no discriminator, no features"


def test_the_description_and_card_tell_what_it_is(exported):
    description = read_description(exported)
    assert (description.kind, description.scale, description.latent_size) == ("super_resolution", 2, 0)
    assert (description.image_size, description.steps, description.model) == (32, 7, "srgan")
    assert description.weights_sha256 == weights_sha256(served_variables(make_model()[0]))
    card = (exported / "README.md").read_text()
    assert "2 times as high" in card and "Discs, not radiographs." in card
    assert (exported / "training_patients.txt").read_text() == "patient-a\n"
    assert json.loads((exported / "model.json").read_text())["settings"]["content_loss"] == "vgg19"


def test_its_golden_pictures_are_of_two_small_images(exported):
    description, model = read_description(exported), LoadedModel(exported)
    assert [one["shape"] for one in description.golden] == [[32, 32, 1]] * 2
    assert np.shape(description.golden[0]["inputs"]["image"]) == (1, 16, 16, 1)
    assert check_golden(description, lambda inputs: model.call("super_resolve", **inputs)["image"]).state == "same"
    darker = lambda inputs: model.call("super_resolve", image=inputs["image"] // 2)["image"]  # noqa: E731
    assert check_golden(description, darker).state == "differs"


def test_the_cards_example_runs(exported, tmp_path):
    card = (exported / "README.md").read_text()
    example = card.split("```python\n")[1].split("```")[0].replace("saved_models/sharp/1", str(exported))
    names = {}
    exec(example, names)
    assert names["image"].shape == (1, 32, 32, 1)


def test_images_without_pixels_are_refused(exported):
    loaded = tf.saved_model.load(str(exported))
    with pytest.raises(tf.errors.InvalidArgumentError, match="image needs at least one pixel to each side"):
        loaded.super_resolve(pictures(1, 0, 8, 1))


def test_versions_count_up_and_a_failed_export_leaves_nothing(tmp_path, monkeypatch):
    model, run = make_model()
    folder = tmp_path / "sr"
    (folder / "9").mkdir(parents=True)
    for version, message in (
        (9, "holds version 9 already; choose another"),
        (0, "a version is a number from 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            export_model(model, run, folder, {"step": 1}, version)

    def fail(*arguments, **options):
        raise tf.errors.ResourceExhaustedError(None, None, "variables/x; No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(OSError, match="could not write the SavedModel: .*No space left"):
        export_model(model, run, folder, {"step": 1})
    assert [path.name for path in folder.iterdir()] == ["9"]


def test_the_hash_tells_weights_apart():
    model, _ = make_model()
    before = weights_sha256(served_variables(model))
    model.sampling_generator.last.bias.assign_add([1e-6])
    assert weights_sha256(served_variables(model)) != before


def test_three_channels(tmp_path):
    functions = ServedSuperResolution(make_model(channels=3)[0])
    assert functions.super_resolve(tf.zeros([1, 4, 6, 3], tf.uint8))["image"].shape == (1, 8, 12, 3)
