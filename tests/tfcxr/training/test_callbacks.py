import json

import numpy as np
import pytest
import tensorflow as tf

from tfcxr.data.pipeline import training_batches
from tfcxr.models.acgan import ACGAN, ACGANConfig
from tfcxr.training import callbacks
from tfcxr.training.loop import train

TINY = ACGANConfig(image_size=32, generator_filters=32, discriminator_filters=8)


@pytest.fixture
def model():
    return ACGAN(TINY, seed=0)


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
