import json
import logging

import cv2
import pytest
import tensorflow as tf
from absl import logging as absl_logging

from tfcxr.data.pipeline import load_images
from tfcxr.models.acgan import ACGAN, ACGANConfig
from tfcxr.training import callbacks
from tfcxr.training.samples import generated
from tfcxr.training.samples.generated import GeneratedSamples

TINY = ACGANConfig(image_size=32, generator_filters=32, discriminator_filters=8)


@pytest.fixture
def model():
    return ACGAN(TINY, seed=0)


def real_images(data_dir):
    real = load_images(data_dir, "train")
    return {name: real.images[real.labels[:, index] == 1] for index, name in enumerate(real.info.label_names)}


def test_samples_are_drawn_and_collapse_is_said(model, disc_records, tmp_path, caplog):
    absl_logging.get_absl_logger().propagate = True
    for variable in model.ema_generator.variables:
        variable.assign(tf.zeros_like(variable))
    log = callbacks.MetricsLog(tmp_path, log_every=100)
    names = ("NORMAL", "PNEUMONIA")
    samples = GeneratedSamples(model, tmp_path, names, real_images(disc_records), 2, log)
    samples.set_model(model)
    with caplog.at_level(logging.INFO, "absl"):
        samples.on_train_batch_end(1, {})
        assert not (tmp_path / "samples").exists()
        samples.on_train_batch_end(2, {})
    assert "nearly one picture per class, by mean pairwise MS-SSIM, for NORMAL (1.000, real 0." in caplog.text
    grid = cv2.imread(str(tmp_path / "samples" / "step-00000002.png"))
    assert grid.shape == (2 * (18 + 64), 12 * 64, 3)
    (line,) = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert line["ms_ssim/NORMAL"] == pytest.approx(1.0, abs=1e-4)
    assert line["ms_ssim_real/NORMAL"] < 0.9
    assert samples.is_best
    assert samples.best_distance == line["sliced_wasserstein"]
    assert 0 < line["sliced_wasserstein_real"] < line["sliced_wasserstein"] / 5, (
        "grey against halves of the real images"
    )
    real = f"{line['sliced_wasserstein_real']:.1f}"
    assert (
        f"step 2: sliced_wasserstein {line['sliced_wasserstein']:.1f} (real {real}), ms_ssim 1.000 (real" in caplog.text
    )
    assert caplog.text.rstrip().endswith("; the best so far")
    assert f"48 real training images (between two halves of the real ones: {real})" in samples.best_text


def test_first_pictures_come_early_unless_the_user_says_when(model, disc_records, tmp_path):
    log = callbacks.MetricsLog(tmp_path, log_every=100)
    due = {}
    for sample_every in (None, 500, 300):
        samples = GeneratedSamples(
            model, tmp_path, (), {"images": load_images(disc_records, "test").images}, sample_every, log
        )
        due[sample_every] = [step for step in range(1, 1101) if samples.is_due(step)]
        assert samples.is_early(50) == (sample_every is None) and not samples.is_early(500)
    assert due == {None: [50, 100, 200, 500, 1000], 500: [500, 1000], 300: [300, 600, 900]}


def test_a_growing_model_is_only_compared_with_itself_at_one_size(model, disc_records, tmp_path, monkeypatch):
    log = callbacks.MetricsLog(tmp_path, log_every=100)
    distances = iter([1.0, 3.0, 2.5, 2.7])  # small images are near each other

    def fake_distance(first, second):
        return next(distances) if len(first) == 48 else 0.5  # of half as many: real images among themselves

    monkeypatch.setattr(generated, "sliced_wasserstein_distance", fake_distance)
    monkeypatch.setattr(ACGAN, "current_size", 16)
    samples = GeneratedSamples(model, tmp_path, ("NORMAL", "PNEUMONIA"), real_images(disc_records), 1, log)
    samples.set_model(model)
    best = []
    for step, size in enumerate((16, 32, 32, 32), start=1):
        monkeypatch.setattr(ACGAN, "current_size", size)
        samples.on_train_batch_end(step, {})
        best.append(samples.is_best)
    assert best == [True, True, True, False] and samples.best_distance == 2.5
    resumed = GeneratedSamples(
        model, tmp_path, ("NORMAL", "PNEUMONIA"), real_images(disc_records), 1, log, best_distance=2.0, best_size=16
    )
    resumed.set_model(model)
    distances = iter([2.2])
    resumed.on_train_batch_end(5, {})
    assert resumed.is_best, "2.0 was a distance of images of 16 px"
