"""KID and coverage while a generator trains, by a tiny network that the tests make."""

import json

import keras
import numpy as np
import pytest

from tfcxr.backbones.frozen_network import open_frozen_network
from tfcxr.data.pipeline import load_images
from tfcxr.evaluation.metrics.kernel_distance import KERNEL
from tfcxr.evaluation.metrics.manifold import manifold_scores
from tfcxr.models.acgan import ACGAN, ACGANConfig
from tfcxr.training.callbacks import MetricsLog
from tfcxr.training.samples.generated import GeneratedSamples
from tfcxr.training.samples.quality import FEATURES_FILE, open_quality

NAMES = ("NORMAL", "PNEUMONIA")


@pytest.fixture(scope="module")
def extractor(tmp_path_factory):
    """A network of 32-px images with 12 features."""
    image, kernel = keras.Input([32, 32, 1]), keras.initializers.GlorotUniform(0)
    hidden = keras.layers.Conv2D(12, 7, strides=4, activation="relu", kernel_initializer=kernel)(image)
    path = tmp_path_factory.mktemp("extractor") / "judge.keras"
    keras.Model(image, keras.layers.GlobalAveragePooling2D()(hidden)).save(path)
    return str(path)


def open_judge(extractor, data_dir, images=16, validation_splits="validation", **options):
    return open_quality(extractor, data_dir, "train", validation_splits, NAMES, images=images, **options)


class Generator:
    """Returns fixed images in turn, and keeps what it was asked for."""

    def __init__(self, images):
        self.images, self.seeds, self.labels = images, [], []

    def __call__(self, seed, label):
        self.seeds.extend(seed.numpy())
        self.labels.extend(label.numpy())
        return self.images[seed.numpy()]


def test_values_are_those_of_the_metrics_on_the_network_s_features(extractor, disc_records, tmp_path):
    quality = open_judge(extractor, disc_records)
    quality.prepare(tmp_path)
    train, validation = (load_images(disc_records, split) for split in ("train", "validation"))
    generator = Generator(255 - train.images[:16])
    values = quality.score(generator)
    np.testing.assert_array_equal(generator.seeds, np.arange(16))
    np.testing.assert_array_equal(generator.labels, validation.labels), "one image for each label of a held-out one"
    features = open_frozen_network(extractor).features
    real, generated = features(validation.images), features(generator.images)
    assert values["kid"] == pytest.approx(KERNEL.distance(generated, real, 0))
    assert values["coverage"] == manifold_scores(generated, real)["coverage"].mean()
    assert values["kid"] > 5 * abs(values["kid_real"]) and values["coverage"] < values["coverage_real"]
    assert quality.score(Generator(validation.images))["coverage"] == 1
    assert quality.kids[0] == values["kid"]
    quality.score(generator, counts=False)
    assert len(quality.kids) == 2


def test_overfitting_is_r_v_of_the_discriminator_s_means(extractor, disc_records, tmp_path):
    quality = open_judge(extractor, disc_records)
    quality.prepare(tmp_path)
    train, validation = (load_images(disc_records, split) for split in ("train", "validation"))
    kinds = {"training": train.images, "held out": validation.images}
    kind_of = {image.tobytes(): name for name, images in kinds.items() for image in images}
    images, labels = (
        np.concatenate([getattr(found, name) for found in (train, validation)]) for name in ("images", "labels")
    )
    label_of = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
    logits = {"training": 2.0, "held out": 1.0, "generated": -2.0}

    def realism(images, labels):
        for image, label in zip(images, labels, strict=True):
            np.testing.assert_array_equal(label, label_of.get(image.tobytes(), label))
        return [logits[kind_of.get(image.tobytes(), "generated")] for image in images]

    generator = Generator(255 - train.images[:16])
    assert quality.score(generator, realism)["overfitting"] == pytest.approx(0.25)
    logits["held out"] = 2.0
    values = quality.score(generator, realism)
    assert values["overfitting"] == 0 and "overfitting 0.00" in quality.text(values)
    logits["generated"] = 2.0
    assert quality.score(generator, realism)["overfitting"] == 0, "it tells no image from another"
    assert "overfitting" not in quality.score(generator)


def test_real_images_have_the_labels_of_the_held_out_ones(extractor, write_records, tmp_path):
    write_records(tmp_path / "32", {"train": 60, "validation": 40}, shards=1)
    quality = open_judge(extractor, tmp_path / "32", labels=["PNEUMONIA"], images=20)
    assert quality.measure["images"] == 20 and quality.measure["labels"] == ["PNEUMONIA"]
    quality.prepare(tmp_path)
    train, validation = (load_images(tmp_path / "32", split) for split in ("train", "validation"))
    with np.load(tmp_path / FEATURES_FILE) as kept:
        features = open_frozen_network(extractor).features
        for name, images in (("training", train), ("validation", validation)):
            expected = features(images.images[images.labels[:, 1] == 1][:20])
            np.testing.assert_allclose(kept[name], expected, atol=1e-6)


def test_features_of_real_images_are_computed_once(extractor, disc_records, tmp_path, monkeypatch):
    first = open_judge(extractor, disc_records)
    first.prepare(tmp_path)
    again, other = open_judge(extractor, disc_records), open_judge(f"{extractor}:values=unit", disc_records)
    calls = []
    network = type(first._network)
    monkeypatch.setattr(network, "features", lambda self, images: calls.append(len(images)) or np.ones([16, 12]))
    again.prepare(tmp_path)
    assert not calls and again._real_values == first._real_values
    other.prepare(tmp_path)
    assert calls == [16, 16], "by another measure they are others"


def test_what_cannot_be_judged_is_refused(extractor, disc_records, write_records, tmp_path):
    with pytest.raises(ValueError, match="but --splits=train and --validation_splits=validation,train share train"):
        open_judge(extractor, disc_records, validation_splits="validation,train")
    write_records(tmp_path / "few", {"train": 30, "validation": 12})
    with pytest.raises(ValueError, match="needs 16 images or more of the same labels in each split, got 12 in 'valid"):
        open_judge(extractor, tmp_path / "few")
    write_records(tmp_path / "small", {"train": 20, "validation": 40})
    with pytest.raises(ValueError, match="got 10 in 'train'"):
        open_judge(extractor, tmp_path / "small", labels=["NORMAL"], images=20)


@pytest.mark.thorough
def test_a_watcher_logs_it_and_the_best_has_the_smallest_kid(extractor, disc_records, tmp_path, monkeypatch):
    model = ACGAN(ACGANConfig(image_size=32, generator_filters=32, discriminator_filters=8), seed=0)
    train = load_images(disc_records, "train")
    real = {name: train.images[train.labels[:, index] == 1] for index, name in enumerate(NAMES)}
    quality = open_judge(extractor, disc_records)
    log = MetricsLog(tmp_path, log_every=100)
    samples = GeneratedSamples(model, tmp_path, NAMES, real, 1, log, quality=quality, stop_when_flat=True)
    samples.set_model(model)
    kids, best = iter([0.5, 0.3, *[0.4] * 14]), []
    scores = quality._scores
    monkeypatch.setattr(quality, "_scores", lambda features: scores(features) | {"kid": next(kids)})
    for step in range(1, 17):
        assert not samples.should_stop
        samples.on_train_batch_end(step, {})
        best.append(samples.is_best)
    assert best == [True, True, *[False] * 14] and samples.best_distance == 0.3
    assert samples.should_stop
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["kid"] for line in lines[:3]] == [0.5, 0.3, 0.4]
    assert {"kid_real", "coverage", "coverage_real", "overfitting", "sliced_wasserstein"} < lines[0].keys()
    assert samples.state()["quality"] == {"measure": quality.measure, "kid": [line["kid"] for line in lines]}
    text = quality.text(lines[-1])
    assert "kid no longer falls (mean of the last 8 samples 0.400, before 0.400)" in text
    assert "by judge.keras (of real training images: " in samples.best_text
    assert "16 real images that are not trained on" in samples.best_text


@pytest.mark.thorough
@pytest.mark.parametrize("size", [16, 32])
def test_a_model_that_still_grows_is_not_called_flat(extractor, disc_records, tmp_path, monkeypatch, size):
    model = ACGAN(ACGANConfig(image_size=32, generator_filters=32, discriminator_filters=8), seed=0)
    monkeypatch.setattr(ACGAN, "current_size", size)
    quality = open_judge(extractor, disc_records)
    real = {"NORMAL": load_images(disc_records, "train").images[::2]}
    samples = GeneratedSamples(model, tmp_path, NAMES, real, None, MetricsLog(tmp_path, 100), quality=quality)
    samples.set_model(model)
    for step in (50, 500):
        samples.on_train_batch_end(step, {})
    assert len(quality.kids) == (size == 32), "nor is the early sample of step 50 counted"
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert all(("overfitting" in line) == (size == 32) for line in lines), "its discriminator sees smaller images"
