"""The discriminator as a classifier: it learns labels, masks unknown ones, keeps its best epoch."""

import numpy as np
import pytest
import tensorflow as tf

from tfcxr.data.pipeline import load_images
from tfcxr.models.pggan import PGGAN, PGGANConfig
from tfcxr.training.discriminator_classifier import (
    DiscriminatorClassifierConfig,
    train_discriminator_classifier,
)
from tfcxr.training.label_fitting import macro_auc

QUICK = DiscriminatorClassifierConfig(batch_size=16, max_epochs=8, learning_rate=0.01)


@pytest.fixture(scope="module")
def model():
    return PGGAN(PGGANConfig(image_size=32, latent_size=8, filters=(16, 16, 8, 8)), seed=3)


@pytest.fixture(scope="module")
def data(disc_records):
    train, validation = (load_images(disc_records, split) for split in ("train", "validation"))
    return train.images, train.labels, validation.images, validation.labels


def test_it_learns_the_discs(model, data, disc_records):
    before = [np.asarray(variable).copy() for variable in model.variables]
    classifier = train_discriminator_classifier(model, *data, is_single_label=True, config=QUICK)
    test = load_images(disc_records, "test")
    probability, features = classifier.predict(test.images)
    assert probability.shape == (16, 2) and features.shape == (16, 16)
    np.testing.assert_allclose(probability.sum(axis=1), 1.0, rtol=1e-5)
    assert macro_auc(probability, test.labels) > 0.9 and classifier.macro_auc > 0.9
    epochs = len(classifier.curves["loss"])
    assert classifier.best_epoch == 1 + int(np.argmin(classifier.curves["validation_loss"])) <= epochs
    assert classifier.macro_auc == classifier.curves["validation_auc"][classifier.best_epoch - 1]
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_the_judge_is_traced_once(model, data, disc_records):
    config = DiscriminatorClassifierConfig(batch_size=16, max_epochs=3, patience=3)
    classifier = train_discriminator_classifier(model, *data, is_single_label=True, config=config)
    for count in (16, 5, 1):
        classifier.predict(data[2][:count])
    assert len(classifier.curves["loss"]) == 3
    assert classifier.network.predict.experimental_get_tracing_count() == 1


def test_the_best_epoch_is_kept(model, data):
    """With wrong validation labels the loss only grows after the first epoch, so training ends `patience` later."""
    images, labels, validation_images, validation_labels = data
    config = DiscriminatorClassifierConfig(batch_size=16, max_epochs=20, patience=2, learning_rate=0.01)
    arguments = (images, labels, validation_images, 1 - validation_labels)
    classifier = train_discriminator_classifier(model, *arguments, is_single_label=True, config=config)
    losses = classifier.curves["validation_loss"]
    assert len(losses) == classifier.best_epoch + 2 < 20
    probability, _ = classifier.predict(validation_images)
    kept = -np.log(probability[np.arange(16), np.argmin(validation_labels, axis=1)]).mean()
    np.testing.assert_allclose(kept, losses[classifier.best_epoch - 1], rtol=1e-4)


def test_unknown_labels_teach_nothing(model, data):
    """A label that is never known keeps its probability of one half; the other is learned, and the same each time."""
    images, labels, validation_images, validation_labels = (array.copy() for array in data)
    labels[:, 1] = validation_labels[:, 1] = np.nan
    config = DiscriminatorClassifierConfig(batch_size=16, max_epochs=2, learning_rate=0.01)
    runs = [
        train_discriminator_classifier(model, images, labels, validation_images, validation_labels, False, config)
        for _ in range(2)
    ]
    probability, _ = runs[0].predict(validation_images)
    np.testing.assert_array_equal(probability[:, 1], 0.5)
    assert np.ptp(probability[:, 0]) > 0.01 and runs[0].macro_auc > 0.5
    assert runs[0].curves == runs[1].curves


def test_macro_auc_leaves_out_what_cannot_be_told():
    labels = np.array([[1, np.nan, 1], [0, 1, 1], [1, 0, 1], [0, np.nan, 1]], np.float32)
    score = np.array([[0.9, 0.9, 0.1], [0.1, 0.2, 0.2], [0.2, 0.7, 0.3], [0.3, 0.1, 0.4]], np.float32)
    assert macro_auc(score, labels) == pytest.approx((0.75 + 0.0) / 2)
    assert np.isnan(macro_auc(score, np.full_like(labels, np.nan)))


def test_refusals(model, data):
    images, labels, validation_images, validation_labels = data
    train = train_discriminator_classifier
    with pytest.raises(ValueError, match="images have 32x32 pixels, but those for training 16x16; use records of 32"):
        train(model, images[:, :16, :16], labels, validation_images, validation_labels, True)
    with pytest.raises(ValueError, match="needs training and validation images, got no validation image"):
        train(model, images, labels, validation_images[:0], validation_labels[:0], True)
    with pytest.raises(ValueError, match="no label of the training images is known"):
        train(model, images, labels * np.nan, validation_images, validation_labels, True)
    with pytest.raises(ValueError, match="no label of the validation images is known"):
        train(model, images, labels, validation_images, validation_labels[:, :0], True)
    with pytest.raises(ValueError, match="only the discriminator of a pggan can be retrained, got a Model"):
        train(tf.keras.Model(), images, labels, validation_images, validation_labels, True)


def test_a_loss_that_is_not_finite_ends_it(data):
    broken = PGGAN(PGGANConfig(image_size=32, latent_size=8, filters=(8, 8, 8, 8)), seed=3)
    broken.discriminator.last.kernel.assign(broken.discriminator.last.kernel * np.nan)
    with pytest.raises(ValueError, match="the label loss is nan at step 1; lower learning_rate"):
        train_discriminator_classifier(broken, *data, is_single_label=True, config=QUICK)


@pytest.mark.parametrize("name, least", [("max_epochs", 1), ("patience", 1), ("seed", 0)])
def test_settings_are_checked(name, least):
    with pytest.raises(ValueError, match=f"ClassifierConfig.{name} must be {least} or more, got {least - 1}"):
        DiscriminatorClassifierConfig(**{name: least - 1})
