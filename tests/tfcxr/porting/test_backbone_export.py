import json

import numpy as np
import pytest
import tensorflow as tf

from tfcxr.backbones.content_features import saved_model_features
from tfcxr.backbones.densenet import DenseNet
from tfcxr.backbones.vgg import VGG16Features
from tfcxr.porting.backbone_export import export_backbone
from tfcxr.porting.ported import Ported
from tfcxr.porting.weight_transfer import WeightTransfer

IMAGES = tf.random.stateless_uniform([3, 32, 32, 1], [1, 2], -1.0, 1.0)
SOURCE = {"file": "densenet.pt", "sha256": "e" * 64}
MOVED = {"network": WeightTransfer(("a", "b"), {"c": "counts batches"}, 12, "f" * 64)}


def make_ported(**settings):
    tiny = {"growth_rate": 4, "block_config": (2, 2), "initial_filters": 8, "bottleneck_size": 2, "classes": 3}
    model = DenseNet(**tiny, **settings)
    model.classifier.bias.assign([1.0, 2.0, 3.0])
    facts = {"labels": ["Edema", "Mass", ""], "op_thresholds": [0.5, None, 0.25]}
    return Ported(model, "backbone", MOVED, facts, ("Grey images.",))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    ported = make_ported()
    return ported, export_backbone(ported, tmp_path_factory.mktemp("out") / "tiny", "xrv_densenet121", SOURCE)


def test_signature_takes_signed_grey_images_of_any_size(exported):
    ported, path = exported
    extract = tf.saved_model.load(str(path)).signatures["serving_default"]
    for image in (IMAGES, IMAGES[:1, :20, :27]):
        outputs = extract(image=image)
        features = ported.model.pooled(1024 * image)
        assert set(outputs) == {"features", "logits"} and features.shape[1] == ported.model.feature_count
        np.testing.assert_allclose(outputs["features"], features, atol=1e-5 * np.abs(features).max())
        logits = ported.model(1024 * image)
        np.testing.assert_allclose(outputs["logits"], logits, atol=1e-5 * np.abs(logits).max())
    with pytest.raises(tf.errors.InvalidArgumentError, match="images need at least 5 pixels a side, got"):
        extract(image=IMAGES[:, :4])


@pytest.mark.thorough
def test_serves_as_content_model(exported):
    ported, path = exported
    features = saved_model_features(path)
    images = tf.identity(IMAGES)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(images)
        theirs, ours = features(images), ported.model.pooled(1024 * images)
    expected = tape.gradient(ours, images)
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(tape.gradient(theirs, images), expected, atol=1e-4 * np.abs(expected).max())


def test_description_says_where_weights_came_from(exported):
    _, path = exported
    description = json.loads((path / "backbone.json").read_text())
    assert description["format"] == "xrv_densenet121"
    assert description["checkpoint"] == SOURCE
    assert (description["weights_sha256"], description["parameters"]) == ("f" * 64, 12)
    assert description["input"]["network_value_range"] == "[-1024, 1024]"
    assert description["input"]["smallest_size"] == 5 and description["input"]["resized_to"] is None
    assert description["outputs"] == {"features": 16, "logits": 3}
    assert description["labels"] == ["Edema", "Mass", ""]
    assert description["settings"]["op_thresholds"] == [0.5, None, 0.25]
    assert description["notes"] == ["Grey images."]
    assert [entry.name for entry in path.parent.iterdir()] == [path.name], "nothing temporary is left"


def test_images_are_resized_inside_and_must_be_square(tmp_path):
    ported = make_ported(input_size=16)
    path = export_backbone(ported, tmp_path / "resizing", "xrv_densenet121", SOURCE)
    extract = tf.saved_model.load(str(path)).signatures["serving_default"]
    found = extract(image=IMAGES)["features"]
    np.testing.assert_allclose(found, ported.model.pooled(1024 * IMAGES), rtol=1e-4, atol=1e-4)
    assert extract(image=IMAGES[:, :4, :4])["features"].shape == (3, 16)
    with pytest.raises(tf.errors.InvalidArgumentError, match="images that are resized must be square"):
        extract(image=IMAGES[:, :20])


def test_a_network_of_colours_without_classes_gives_features_alone(tmp_path):
    model = VGG16Features(blocks=((4,), (6,)))
    path = export_backbone(Ported(model, "backbone", MOVED), tmp_path / "vgg", "torchvision_vgg16", SOURCE)
    outputs = tf.saved_model.load(str(path)).signatures["serving_default"](image=IMAGES)
    assert set(outputs) == {"features"}
    np.testing.assert_allclose(outputs["features"], model.pooled(model.from_signed(IMAGES)), atol=1e-5)


def test_what_cannot_be_exported_is_refused(exported, tmp_path):
    ported, path = exported
    with pytest.raises(ValueError, match="exists already; choose another folder"):
        export_backbone(ported, path, "xrv_densenet121", SOURCE)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        export_backbone(ported, tmp_path / "file" / "new", "xrv_densenet121", SOURCE)
