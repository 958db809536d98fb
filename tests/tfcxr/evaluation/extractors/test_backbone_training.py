import dataclasses
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tfcxr.backbones.stored_backbone import load_backbone, read_backbone
from tfcxr.data.pipeline import from_pixels, load_images
from tfcxr.data.records import shard_name, write_dataset_info, write_shard
from tfcxr.data.schema import Record, SplitInfo, encode_record
from tfcxr.evaluation.extractors.backbone_training import (
    BackboneTrainingConfig,
    export_trained_backbone,
    train_backbone,
)

pytestmark = pytest.mark.thorough

TINY = BackboneTrainingConfig(
    growth_rate=4,
    block_config=(2, 2),
    initial_filters=8,
    bottleneck_size=2,
    batch_size=16,
    max_epochs=10,
    patience=10,
    learning_rate=1e-2,
)


@pytest.fixture(scope="module")
def trained(disc_records):
    return train_backbone(TINY, disc_records, seed=1)


@pytest.fixture(scope="module")
def stored(trained, tmp_path_factory):
    return export_trained_backbone(trained, tmp_path_factory.mktemp("stored") / "critic" / "1")


def test_discs_are_told_apart_also_in_images_that_were_not_seen(trained, disc_records):
    assert trained.macro_auc > 0.9
    assert trained.fit.best_epoch == 1 + int(np.argmin(trained.fit.curves["validation_loss"]))
    test = load_images(disc_records, "test")
    logits = trained.network(trained.network.from_signed(from_pixels(tf.constant(test.images)))).numpy()
    assert (logits.argmax(axis=1) == test.labels.argmax(axis=1)).mean() > 0.8
    assert not trained.network.trainable_variables


def test_stored_network_gives_the_same_features_bit_for_bit(trained, stored, disc_records):
    image = from_pixels(tf.constant(load_images(disc_records, "test").images))
    loaded = load_backbone(stored)
    expected = trained.network.pooled(trained.network.from_signed(image)).numpy()
    assert expected.std(axis=0).max() > 0
    np.testing.assert_array_equal(loaded.pooled(loaded.from_signed(image)), expected)
    np.testing.assert_array_equal(loaded(loaded.from_signed(image)), trained.network(loaded.from_signed(image)))
    assert not loaded.trainable_variables and {variable.dtype for variable in loaded.variables} == {"float32"}
    served = tf.saved_model.load(str(stored)).signatures["serving_default"](image=image)
    np.testing.assert_allclose(served["features"], expected, atol=1e-4 * np.abs(expected).max())


def test_description_rebuilds_the_network_and_says_what_it_learned_from(trained, stored):
    description = read_backbone(stored)
    settings = description["settings"]
    assert {name: settings[name] for name in ("growth_rate", "initial_filters", "bottleneck_size")} == {
        "growth_rate": 4,
        "initial_filters": 8,
        "bottleneck_size": 2,
    }
    assert settings["block_config"] == [2, 2] and (settings["classes"], settings["channels"]) == (2, 1)
    assert (settings["value_range"], settings["input_size"]) == ("[-1024, 1024]", 0)
    assert description["labels"] == ["NORMAL", "PNEUMONIA"] and description["is_single_label"]
    assert description["data"]["name"] == "discs" and description["data"]["validation_images"] == 16
    assert description["validation_auc"] == trained.macro_auc
    assert [entry.name for entry in stored.parent.iterdir()] == ["1"], "nothing temporary is left"


def test_same_seed_same_weights_and_early_stopping(disc_records):
    short = dataclasses.replace(TINY, max_epochs=3, patience=1, schedule="constant", learning_rate=0.5)
    first, second = (train_backbone(short, disc_records, seed=2) for _ in range(2))
    for mine, other in zip(first.network.variables, second.network.variables, strict=True):
        np.testing.assert_array_equal(mine.numpy(), other.numpy())
    epochs = len(first.fit.curves["loss"])
    assert epochs == 3 or epochs == first.fit.best_epoch + 1


def write_joint_records(data_dir, source):
    """Two joint labels of which the second is known for no image; one split of 12 patients."""
    images = load_images(source, "train")
    label = np.stack([images.labels[:, 1], np.full(48, np.nan)], axis=1)
    rows = zip(images.images[:, :, :, 0], images.keys, label, images.patient_keys, strict=True)
    records = [encode_record(Record(pixels, key, tuple(row), patient), "raw") for pixels, key, row, patient in rows]
    shard = write_shard(data_dir / shard_name("train", 0, 1), records)
    counts = {"Mass": {"positive": 24, "negative": 24, "unknown": 0}}
    counts["Edema"] = {"positive": 0, "negative": 0, "unknown": 48}
    splits = {"train": SplitInfo(48, 24, counts, (shard,))}
    info = dataclasses.replace(images.info, label_names=("Mass", "Edema"), is_single_label=False, splits=splits)
    write_dataset_info(data_dir, info)


def test_unknown_labels_teach_nothing_and_patients_validate(tmp_path, disc_records):
    write_joint_records(tmp_path / "32", disc_records)
    config = dataclasses.replace(TINY, max_epochs=4, validation_fraction=0.25)
    trained = train_backbone(config, tmp_path / "32", validation_split="", seed=0)
    assert trained.facts["data"]["images"] == 36 and trained.facts["data"]["validation_images"] == 12
    untouched = train_backbone(
        dataclasses.replace(config, max_epochs=1, learning_rate=1e-30), tmp_path / "32", "train", ""
    )
    kernels = trained.network.classifier.kernel.numpy(), untouched.network.classifier.kernel.numpy()
    assert not np.allclose(kernels[0][:, 0], kernels[1][:, 0])
    np.testing.assert_array_equal(kernels[0][:, 1], kernels[1][:, 1])
    assert not trained.facts["is_single_label"] and np.isfinite(trained.macro_auc)


def test_what_cannot_be_trained_is_refused(disc_records, tmp_path):
    with pytest.raises(ValueError, match="at least one batch of 64 training images and one validation image, got 48"):
        train_backbone(dataclasses.replace(TINY, batch_size=64), disc_records)
    with pytest.raises(ValueError, match="no split 'later'|split 'later'"):
        train_backbone(TINY, disc_records, "later")
    with pytest.raises(ValueError, match="DenseNet needs images of at least 61 pixels a side"):
        train_backbone(dataclasses.replace(TINY, block_config=(1,) * 5), disc_records)
    with pytest.raises(FileNotFoundError):
        train_backbone(TINY, tmp_path / "absent")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"growth_rate": 0}, "growth_rate must be at least 1, got 0"),
        ({"block_config": ()}, r"block_config needs a number of layers for each block, got \(\)"),
        ({"batch_size": 1}, "batch_size must be at least 2 for batch statistics, got 1"),
        ({"learning_rate": float("inf")}, "learning_rate must be above 0, got inf"),
        ({"validation_fraction": 1.0}, "validation_fraction must be at least 0 and below 1, got 1.0"),
        ({"schedule": "linear"}, "schedule must be constant, cosine or plateau, got 'linear'"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        BackboneTrainingConfig(**settings)


def test_a_loss_that_is_not_finite_ends_training(disc_records):
    with pytest.raises(ValueError, match="DenseNet: the loss is .* at step .*; lower learning_rate"):
        train_backbone(dataclasses.replace(TINY, learning_rate=1e30, schedule="constant"), disc_records)


def test_a_folder_that_holds_no_densenet_is_refused(trained, stored, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder .*absent; give one that tfcxr.port or"):
        load_backbone(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="has no backbone.json; did you mean .*1?"):
        load_backbone(stored.parent)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="has no backbone.json; give a folder"):
        load_backbone(tmp_path / "empty")
    with pytest.raises(ValueError, match="1 exists already; choose another folder"):
        export_trained_backbone(trained, stored)
    other = shutil.copytree(stored, tmp_path / "other")
    description = json.loads((other / "backbone.json").read_text())

    def describe(**changes):
        (other / "backbone.json").write_text(json.dumps(description | changes))

    describe(format="torchvision_vgg16", settings={"input_size": 0})
    with pytest.raises(
        ValueError, match="format 'torchvision_vgg16', which is no DenseNet: its settings have no growth_"
    ):
        load_backbone(other)
    describe(settings=description["settings"] | {"growth_rate": 6})
    with pytest.raises(
        ValueError, match="weights.weights.h5 does not fit the settings in backbone.json, or is damaged"
    ):
        load_backbone(other)
    describe(settings=description["settings"] | {"block_config": [2, 3]})
    with pytest.raises(ValueError, match="weights.weights.h5 does not fit the settings in backbone.json"):
        load_backbone(other)
    describe()
    (other / "weights.weights.h5").write_bytes(b"no weights")
    with pytest.raises(
        ValueError, match="weights.weights.h5 does not fit the settings in backbone.json, or is damaged"
    ):
        load_backbone(other)
    (other / "weights.weights.h5").unlink()
    with pytest.raises(FileNotFoundError, match="other has no weights.weights.h5; write the folder anew"):
        load_backbone(other)
    (other / "backbone.json").write_text("{")
    with pytest.raises(ValueError, match="backbone.json is damaged"):
        load_backbone(other)
