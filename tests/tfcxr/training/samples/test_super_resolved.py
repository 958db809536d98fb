import json
import logging

import cv2
import numpy as np
import pytest
import tensorflow as tf
from absl import logging as absl_logging

from tfcxr.data.pipeline import load_images
from tfcxr.evaluation.metrics.image_fidelity import psnr, ssim
from tfcxr.models.srgan import SRGAN, SRGANConfig
from tfcxr.training.callbacks import MetricsLog
from tfcxr.training.samples.super_resolved import SuperResolvedSamples

TINY = {"image_size": 32, "scale": 2, "residual_blocks": 1, "filters": 4, "kernel_size": 3, "discriminator_filters": 2}
pytestmark = pytest.mark.thorough


@pytest.fixture
def real(disc_records):
    return load_images(disc_records, "train").images[:6]


def make_samples(run_dir, real, **settings):
    model = SRGAN(SRGANConfig(**(TINY | {"warmup_steps": 2} | settings)), seed=1)
    log = MetricsLog(run_dir, log_every=100)
    samples = SuperResolvedSamples(model, run_dir, (), {"images": real}, 3, log)
    samples.set_model(model)
    return model, samples


def lines(run_dir):
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def spoil(model):
    """A tenth, the residual's scale, is added to the output of the generator that is exported."""
    bias = model.sampling_generator.last.bias
    bias.assign(tf.fill(bias.shape, 1.0))


@pytest.mark.parametrize("channels", [1, 3])
def test_an_untrained_model_scores_as_bicubic(tmp_path, real, channels):
    _, samples = make_samples(tmp_path, real, channels=channels)
    for step in range(1, 7):
        samples.on_train_batch_end(step, {})
        assert samples.is_best == (step == 1), "only better is best"
    assert [line["step"] for line in lines(tmp_path)] == [1, 3, 6]
    values = lines(tmp_path)[0]
    assert values["psnr"] == pytest.approx(values["psnr_bicubic"], abs=0.05)
    assert samples.best_distance == 1 - values["ssim"]
    small = [cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA) for image in real]
    bicubic = tf.image.resize(np.stack(small)[..., None].astype(np.float32), [32, 32], "bicubic")
    bicubic = np.round(np.clip(bicubic, 0, 255))
    # the builder's averages round halves to even, ours of the same pixels too; a few differ by one grey level
    assert values["psnr_bicubic"] == pytest.approx(psnr(bicubic, real).mean(), abs=0.05)
    assert values["ssim_bicubic"] == pytest.approx(ssim(bicubic, real).mean(), abs=0.002)
    assert 0 < values["ms_ssim_real"] < 1 and 0 < values["ms_ssim"] < 1


def test_the_grid_shows_small_bicubic_ours_and_real(tmp_path, real):
    _, samples = make_samples(tmp_path, real)
    samples.on_train_batch_end(3, {})
    grid = cv2.imread(str(tmp_path / "samples" / "step-00000003.png"))
    assert grid.shape == (4 * (18 + 64), 6 * 64, 3)
    rows = [grid[82 * row + 18 : 82 * (row + 1) : 2, :64:2, 0] for row in range(4)]
    np.testing.assert_array_equal(rows[3], real[0, ..., 0])
    assert np.abs(rows[0][::2, ::2].astype(int) - rows[0][1::2, 1::2]).max() == 0, "pixels of the small image"
    assert np.abs(rows[1].astype(int) - rows[3]).max() > 0


def test_worse_than_bicubic_is_said_once_after_the_warmup(tmp_path, real, caplog):
    absl_logging.get_absl_logger().propagate = True
    model, samples = make_samples(tmp_path, real)
    spoil(model)
    with caplog.at_level(logging.WARNING):
        samples.on_train_batch_end(1, {})
        assert not caplog.records, "in the warm-up it may be"
        samples.on_train_batch_end(3, {})
        samples.on_train_batch_end(6, {})
    (message,) = {record.getMessage() for record in caplog.records}
    assert "step 3: images come out worse than bicubic" in message
    assert lines(tmp_path)[1]["psnr"] < lines(tmp_path)[1]["psnr_bicubic"] - 1


def test_images_that_bicubic_restores_leave_numbers_in_the_log(tmp_path):
    flat = np.arange(2, dtype=np.uint8)[:, None, None, None] * 51 + np.zeros([2, 32, 32, 1], np.uint8)
    _, samples = make_samples(tmp_path, flat)
    samples.on_train_batch_end(1, {})
    assert lines(tmp_path)[0]["psnr_bicubic"] == 100


def test_other_images_are_refused(tmp_path, real):
    for images, got in ((real[:1], r"uint8 \(1, 32, 32, 1\)"), (real[:, :16], "16"), (real.astype(float), "float64")):
        with pytest.raises(ValueError, match=rf"at least two uint8 images \[images, 32, 32, 1\], got .*{got}"):
            make_samples(tmp_path, images)
