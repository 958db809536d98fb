import keras
import numpy as np
import pytest

from tfcxr.data.pipeline import load_images
from tfcxr.data.stored_images import open_images
from tfcxr.evaluation.extractors import classifier, fitting
from tfcxr.evaluation.extractors.classifier import TrainedClassifier, build_classifier, train_classifier
from tfcxr.evaluation.extractors.classifier_config import ClassifierConfig, make_classifier_config
from tfcxr.evaluation.extractors.fitting import Fit
from tfcxr.evaluation.labelled_images import LabelledImages

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def squares():
    """240 noisy 32-px images; the positive half has a bright square."""
    generator = np.random.default_rng(0)
    positive = np.arange(240) % 2
    images = generator.integers(0, 120, (240, 32, 32, 1)).astype(np.uint8)
    images[positive == 1, 10:18, 10:18] += 100
    return images, np.eye(2, dtype=np.float32)[positive]


def train(images, labels, is_single_label=True, seed=0, **settings):
    config = make_classifier_config("small_cnn", {"max_epochs": 6, "batch_size": 32, "dense_units": ()} | settings)
    data = LabelledImages(images, labels)
    rows = np.arange(len(images))
    return train_classifier(
        config, data.where(rows < 160), data.where((rows >= 160) & (rows < 200)), is_single_label, seed
    )


def test_training_learns_keeps_the_best_epoch_and_follows_the_seed(squares):
    images, labels = squares
    trained = train(images, labels, patience=6)
    probability, features = trained.predict(images[200:])
    assert probability.shape == (40, 2) and features.shape == (40, 256) and probability.dtype == np.float32
    np.testing.assert_allclose(probability.sum(1), 1, atol=1e-5)
    assert ((probability[:, 1] > 0.5) == (labels[200:, 1] == 1)).mean() > 0.9
    losses = trained.fit.curves["validation_loss"]
    assert len(losses) == len(trained.fit.curves["loss"]) == 6 and losses[trained.fit.best_epoch - 1] == min(losses)
    kept, _ = trained.predict(images[160:200])
    best = -np.log(kept[labels[160:200] == 1]).mean()  # the kept weights give the best epoch's loss
    assert best == pytest.approx(min(losses), rel=1e-3)
    again, _ = train(images, labels, patience=6).predict(images[200:])
    np.testing.assert_array_equal(probability, again)


def test_stored_images_train_and_are_predicted_as_an_array_is(disc_records):
    """Only the batches in use are read, and neither the weights nor the scores change by that."""
    stored, loaded = open_images(disc_records, ["train"]), load_images(disc_records, "train")
    config = make_classifier_config("small_cnn", {"max_epochs": 2, "batch_size": 8, "dense_units": (8,)})
    results = []
    for images in (stored, loaded.images):
        data, is_training = LabelledImages(images, loaded.labels), np.arange(48) < 36
        trained = train_classifier(config, data.where(is_training), data.where(~is_training), True, seed=0)
        results.append((trained.fit.curves, *trained.predict(images)))
    assert results[0][0] == results[1][0]
    np.testing.assert_array_equal(results[0][1], results[1][1])
    np.testing.assert_array_equal(results[0][2], results[1][2])


def test_the_graph_is_traced_once(squares):
    images, labels = squares
    trained = train(images, labels, max_epochs=1)
    for count in (40, 3, 1):
        trained.predict(images[:count])
    assert trained.predict_batch.experimental_get_tracing_count() == 1


def test_large_images_are_predicted_a_few_at_a_time(monkeypatch):
    batches = []
    read = classifier.read_batches
    monkeypatch.setattr(classifier, "read_batches", lambda images, size: batches.append(size) or read(images, size))
    model = keras.Sequential([keras.Input([512, 512, 1]), keras.layers.GlobalAveragePooling2D()])
    model = keras.Model(model.inputs, [model.outputs[0], model.outputs[0]])
    trained = TrainedClassifier(model, Fit({}, 1, 0.0))
    probability, _ = trained.predict(np.full((9, 512, 512, 1), 255, np.uint8))
    assert batches == [8]
    np.testing.assert_allclose(probability, 1.0)


def test_large_validation_images_are_predicted_a_few_at_a_time(squares, monkeypatch):
    sizes = []
    read = fitting.read_batches
    monkeypatch.setattr(fitting, "read_batches", lambda images, size: sizes.append(size) or read(images, size))
    monkeypatch.setattr(fitting, "PREDICTION_PIXELS", 5 * 32**2)
    train(*squares, max_epochs=1)
    assert sizes == [5]


def test_labels_that_teach_or_validate_nothing_are_refused(squares):
    images, labels = squares
    with pytest.raises(ValueError, match="no label is known to be in some training images and not in others"):
        train(images, np.eye(2, dtype=np.float32)[np.zeros(240, int)])
    unknown = labels.copy()
    unknown[160:200] = np.nan
    with pytest.raises(ValueError, match="no label of the validation images is known"):
        train(images, unknown)


def test_joint_labels_with_unknown_ones_augmented_balanced_in_bfloat16(squares):
    images, labels = squares
    labels = labels.copy()
    labels[::3, 0] = np.nan
    settings = {"max_epochs": 2, "augmentation": "small", "balance_classes": "weights", "precision": "mixed_bfloat16"}
    trained = train(images, labels, is_single_label=False, **settings)
    probability, features = trained.predict(images[200:])
    assert np.isfinite(trained.fit.curves["loss"]).all()
    assert features.dtype == probability.dtype == np.float32
    assert ((probability > 0) & (probability < 1)).all()
    assert keras.config.dtype_policy().name == "float32"  # the process's own policy is given back


def test_vgg16_is_the_published_one():
    model = build_classifier(ClassifierConfig(), 32, 2, True, seed=0)
    trunk = sum(layer.count_params() for layer in model.layers if layer.name.startswith("block"))
    assert trunk == 14_714_688  # Keras's count for VGG-16 without its top
    layers = [type(layer).__name__ for layer in model.layers]
    assert "GlobalMaxPooling2D" in layers and layers.count("Dropout") == 2
    slopes = [layer.negative_slope for layer in model.layers if isinstance(layer, keras.layers.LeakyReLU)]
    assert slopes == pytest.approx([0.2, 0.2])
    assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == [0.4, 0.4]
    config = ClassifierConfig()
    published = (
        config.learning_rate,
        config.batch_size,
        config.max_epochs,
        config.patience,
        config.validation_fraction,
    )
    assert published == (1e-5, 64, 60, 2, 0.2)


@pytest.mark.parametrize("architecture", ["densenet121", "small_cnn"])
def test_batch_normalisation_follows_short_trainings(architecture):
    config = make_classifier_config(architecture, {})
    model = build_classifier(config, 32, 3, False, seed=0)
    momenta = {layer.momentum for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)}
    assert momenta == {0.9}
    assert config.learning_rate == 1e-3


def test_the_seed_decides_the_first_weights():
    config = make_classifier_config("small_cnn", {})
    kernels = [build_classifier(config, 32, 2, True, seed).get_layer("logits").kernel.numpy() for seed in (1, 1, 2)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])


def test_a_loss_that_is_not_finite_stops_training(squares):
    images, labels = squares
    with pytest.raises(ValueError, match="the loss is nan at step 2; lower learning_rate"):
        train(images, labels, learning_rate=1e38, dense_units=(8,))


def test_no_validation_images_are_refused(squares):
    images, labels = squares
    config = make_classifier_config("small_cnn", {})
    data = LabelledImages(images, labels)
    with pytest.raises(ValueError, match="needs training and validation images, got 240 and 0"):
        train_classifier(config, data, data.where(np.zeros(240, bool)), True, seed=0)


@pytest.mark.parametrize(
    ("architecture", "settings", "message"),
    [
        ("vgg61", {}, "unknown classifier 'vgg61'; did you mean 'vgg16'"),
        ("vgg16", {"architecture": "small_cnn"}, "choose it with --classifier"),
        ("vgg16", {"learning_rat": 1.0}, "no setting 'learning_rat'; did you mean 'learning_rate'"),
        ("vgg16", {"batch_size": 0}, "batch_size must be above 0, got 0"),
        ("vgg16", {"dropout": 1.0}, "dropout must be at least 0 and below 1"),
        ("vgg16", {"dense_units": (0,)}, "dense_units must be 1 or more each"),
        ("vgg16", {"precision": "float16"}, "precision expects one of 'float32', 'mixed_bfloat16'"),
    ],
)
def test_wrong_settings_are_refused(architecture, settings, message):
    with pytest.raises(ValueError, match=message):
        make_classifier_config(architecture, settings)


@pytest.mark.parametrize("is_fast, precision", [(True, "mixed_bfloat16"), (False, "float32")])
def test_auto_is_the_precision_that_the_hardware_has(monkeypatch, is_fast, precision):
    monkeypatch.setattr("tfcxr.precision.has_bfloat16", lambda: is_fast)
    assert ClassifierConfig(precision="auto").precision == precision
