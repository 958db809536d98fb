import json
import logging

import cv2
import numpy as np
import pytest
import tensorflow as tf
from absl import logging as absl_logging

from tfcxr.data.pipeline import load_images, training_batches
from tfcxr.models.acgan import ACGAN, ACGANConfig
from tfcxr.training import callbacks
from tfcxr.training.loop import train

TINY = ACGANConfig(image_size=32, generator_filters=32, discriminator_filters=8)


@pytest.fixture
def model():
    return ACGAN(TINY, seed=0)


def real_images(data_dir):
    real = load_images(data_dir, "train")
    return {name: real.images[real.labels[:, index] == 1] for index, name in enumerate(real.info.label_names)}


def test_non_finite_loss_stops_with_step_and_term(model, disc_records):
    weight = model.discriminator.realism.kernel
    weight.assign(weight * np.nan)
    batches = training_batches(disc_records, "train", 8, seed=0)
    with pytest.raises(ValueError, match=r"training stopped at step 1: discriminator_adversarial is nan"):
        train(model, batches, 0, 3, [callbacks.StopOnNonFinite()], tf.distribute.get_strategy())


def test_metrics_are_means_since_the_last_line(model, disc_records, tmp_path):
    batches = training_batches(disc_records, "train", 8, seed=0)
    log = callbacks.MetricsLog(tmp_path, log_every=2)
    train(model, batches, 0, 5, [log], tf.distribute.get_strategy())
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4]
    assert set(lines[0]) == {"step", *ACGAN.metric_names}
    assert float(model.metrics[0].variables[1]) == 1, "one step has been counted since the last line"
    assert list((tmp_path / "tensorboard").iterdir())


def test_resumed_log_is_cut_where_the_checkpoint_was(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 2}\n{"step": 4}\n{"st')
    log = callbacks.MetricsLog(tmp_path, log_every=2, resumed_size=12)
    assert log.size == 12
    log.write(4, {})
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 2}\n{"step": 4}\n'


def test_samples_are_drawn_and_collapse_is_said(model, disc_records, tmp_path, caplog):
    absl_logging.get_absl_logger().propagate = True
    for variable in model.ema_generator.variables:
        variable.assign(tf.zeros_like(variable))
    log = callbacks.MetricsLog(tmp_path, log_every=100)
    names = ("NORMAL", "PNEUMONIA")
    samples = callbacks.Samples(model, tmp_path, names, real_images(disc_records), 2, log)
    samples.set_model(model)
    with caplog.at_level(logging.WARNING):
        samples.on_train_batch_end(1, {})
        assert not (tmp_path / "samples").exists()
        samples.on_train_batch_end(2, {})
    assert "nearly one picture a class, by mean pairwise MS-SSIM, for NORMAL (1.000, real 0." in caplog.text
    grid = cv2.imread(str(tmp_path / "samples" / "step-00000002.png"))
    assert grid.shape == (2 * (18 + 64), 12 * 64, 3)
    (line,) = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert line["ms_ssim/NORMAL"] == pytest.approx(1.0, abs=1e-4)
    assert line["ms_ssim_real/NORMAL"] < 0.9
    assert samples.is_best
    assert samples.best_distance == line["sliced_wasserstein"]


def test_a_growing_model_is_only_compared_with_itself_at_one_size(model, disc_records, tmp_path, monkeypatch):
    log = callbacks.MetricsLog(tmp_path, log_every=100)
    distances = iter([1.0, 3.0, 2.5, 2.7])  # small images are near each other
    monkeypatch.setattr(callbacks, "sliced_wasserstein_distance", lambda drawn, real: next(distances))
    monkeypatch.setattr(ACGAN, "current_size", 16)
    samples = callbacks.Samples(model, tmp_path, ("NORMAL", "PNEUMONIA"), real_images(disc_records), 1, log)
    samples.set_model(model)
    best = []
    for step, size in enumerate((16, 32, 32, 32), start=1):
        monkeypatch.setattr(ACGAN, "current_size", size)
        samples.on_train_batch_end(step, {})
        best.append(samples.is_best)
    assert best == [True, True, True, False] and samples.best_distance == 2.5
    resumed = callbacks.Samples(
        model, tmp_path, ("NORMAL", "PNEUMONIA"), real_images(disc_records), 1, log, best_distance=2.0, best_size=16
    )
    resumed.set_model(model)
    distances = iter([2.2])
    resumed.on_train_batch_end(5, {})
    assert resumed.is_best, "2.0 was a distance of images of 16 px"
