"""What every classifier is trained by: the loss, its weights, and the momentum of short trainings."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcxr.evaluation.extractors import fitting
from tfcxr.evaluation.extractors.epoch_selection import EpochSelection
from tfcxr.evaluation.extractors.fitting import FittingConfig, fit_classifier, quick_momentum
from tfcxr.evaluation.labelled_images import LabelledImages
from tfcxr.optimizers import FusedAdam


def test_cross_entropy_of_hand_computed_values_leaves_out_unknown_labels():
    logits = tf.constant([[0.0, 2.0], [1.0, 0.0]])
    label = tf.constant([[1.0, np.nan], [0.0, 1.0]])
    expected = (np.log(2) + np.log1p(np.exp(1.0)) + np.log(2)) / 3
    loss = fitting._cross_entropy(False, np.ones([2, 2], np.float32))
    assert float(loss(label, logits)) == pytest.approx(expected)
    loss = fitting._cross_entropy(True, np.ones([2, 2], np.float32))
    assert float(loss(label, logits)) == pytest.approx(np.log1p(np.exp(1.0)))  # the first row is not known


def test_weights_are_of_absent_and_present_labels():
    logits, weights = tf.constant([[0.0, 2.0], [1.0, 0.0]]), np.array([[1, 2], [3, 4]], np.float32)
    joint = fitting._cross_entropy(False, weights)(tf.constant([[1.0, 0.0], [0.0, np.nan]]), logits)
    expected = (3 * np.log(2) + 2 * np.log1p(np.exp(2.0)) + np.log1p(np.exp(1.0))) / 3
    assert float(joint) == pytest.approx(expected)
    exclusive = fitting._cross_entropy(True, weights)(tf.constant([[1.0, 0.0], [0.0, 1.0]]), logits)
    assert float(exclusive) == pytest.approx((3 * np.log1p(np.exp(2.0)) + 4 * np.log1p(np.exp(1.0))) / 2)


def test_two_class_softmax_is_the_sigmoid_of_the_logits_difference():
    logits = tf.constant([[0.3, 1.1]])
    expected = tf.nn.sigmoid_cross_entropy_with_logits(tf.constant([1.0]), tf.constant([0.8]))
    loss = fitting._cross_entropy(True, np.ones([2, 2], np.float32))
    assert float(loss(tf.constant([[0.0, 1.0]]), logits)) == pytest.approx(float(expected[0]))


def test_balancing_gives_both_sides_equal_weight():
    labels = np.array([[1, 0], [0, 1], [0, 1], [0, 1]], np.float32)
    weights = fitting._label_weights(labels, True, "weights")
    np.testing.assert_allclose(weights[1] * labels.sum(0), [2, 2])
    unknown = np.array([[1, 0], [0, np.nan], [0, 0]], np.float32)
    weights = fitting._label_weights(unknown, False, "weights")
    np.testing.assert_allclose(weights, [[0.75, 0.5], [1.5, 1]])  # a side that never occurs keeps 1
    np.testing.assert_array_equal(fitting._label_weights(labels, True, "none"), 1)


def test_momentum_forgets_nine_tenths_within_an_epoch():
    assert quick_momentum(0.9, 5) == pytest.approx(0.1 ** (1 / 5))
    assert quick_momentum(0.9, 5) ** 5 == pytest.approx(0.1)
    assert quick_momentum(0.9, 1000) == 0.9


def test_large_images_are_predicted_in_smaller_batches():
    assert [fitting.prediction_batch(size) for size in (32, 90, 91, 512, 4096)] == [256, 256, 253, 8, 1]


def test_published_weights_are_twice_ours():
    """Segal et al. 2021: w_P = (Np + Nn) / Np, w_N = (Np + Nn) / Nn; Adam's steps do not depend on the factor."""
    labels = np.array([[1], [0], [0], [0], [np.nan]], np.float32)
    np.testing.assert_allclose(2 * fitting._label_weights(labels, False, "weights")[:, 0], [4 / 3, 4 / 1])


def make_network():
    image = keras.Input([8, 8, 1])
    hidden = keras.layers.Flatten()(keras.layers.BatchNormalization()(image))
    hidden = keras.layers.Dropout(0.2, seed=3)(hidden)
    logits = keras.layers.Dense(2, kernel_initializer=keras.initializers.HeNormal(seed=1))(hidden)
    return keras.Model(image, logits)


def make_data(rows=24):
    random = np.random.default_rng(0)
    labels = (random.uniform(size=(rows, 2)) < 0.5).astype(np.float32)
    images = random.integers(0, 150, (rows, 8, 8, 1)) + (60 * labels[:, :1, None, None]).astype(np.int64)
    return LabelledImages(images.astype(np.uint8), labels)


def fit(network, progress_file=None, rows=24, **settings):
    config = FittingConfig(**({"batch_size": 5, "max_epochs": 4, "patience": 9} | settings))
    optimizer = FusedAdam(config.rate(rows // config.batch_size))
    optimizer.build(network.trainable_variables)
    data = make_data(rows)
    found = fit_classifier(
        network, optimizer, data, data.where(np.arange(rows) < 9), False, config, 0, "test", progress_file=progress_file
    )
    return found, optimizer


@pytest.mark.thorough
@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
@pytest.mark.parametrize("steps", [None, 7])
def test_two_epochs_and_two_more_are_four(tmp_path, monkeypatch, schedule, steps):
    settings = {"selects_by": "auc", "schedule": schedule, "augmentation": "segal2021", "plateau_patience": 1}
    whole, stopped = make_network(), make_network()
    original = fitting.fit_classifier
    monkeypatch.setitem(globals(), "fit_classifier", lambda *a, **k: original(*a, **k, steps_per_epoch=steps))
    expected, _ = fit(whole, **settings)
    save, file = EpochSelection.save, tmp_path / "training" / "epoch.npz"

    def save_and_stop(self, *given):
        save(self, *given)
        if self.epochs == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(EpochSelection, "save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            fit(stopped, file, **settings)
    resumed = make_network()
    found, _ = fit(resumed, file, **settings)
    assert found.curves == expected.curves and found.best_epoch == expected.best_epoch
    for mine, other in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)
    again = make_network()
    assert fit(again, file, **settings)[0].curves == expected.curves, "a finished training trains no further"
    np.testing.assert_array_equal(again.get_weights()[-1], whole.get_weights()[-1])


def test_a_damaged_progress_file_is_named(tmp_path):
    (tmp_path / "epoch.npz").write_bytes(b"cut off")
    with pytest.raises(ValueError, match="epoch.npz is damaged .*remove its folder and train again"):
        fit(make_network(), tmp_path / "epoch.npz")


def test_the_best_auc_is_kept_and_the_rate_falls_on_a_plateau(monkeypatch):
    values = iter([0.6, 0.8, 0.7, 0.7, 0.75, 0.7, 0.7, 0.7])
    monkeypatch.setattr(fitting, "mean_auc", lambda *_: next(values))
    found, optimizer = fit(
        make_network(), max_epochs=20, patience=5, selects_by="auc", schedule="plateau", plateau_patience=2
    )
    assert found.best_epoch == 2 and len(found.curves["loss"]) == 7, "it ends 5 epochs after the best one"
    assert float(optimizer.learning_rate) == pytest.approx(1e-3 / 100), "after epochs 4 and 6"


def test_no_auc_of_the_validation_images_is_refused():
    data = make_data()
    config = FittingConfig(batch_size=8, max_epochs=1, selects_by="auc")
    network, one_sided = make_network(), LabelledImages(data.images[:4], np.ones([4, 2], np.float32))
    optimizer = FusedAdam()
    optimizer.build(network.trainable_variables)
    with pytest.raises(ValueError, match="no AUC can choose the best epoch; give other validation images, or set sel"):
        fit_classifier(network, optimizer, data, one_sided, False, config, 0, "test")
