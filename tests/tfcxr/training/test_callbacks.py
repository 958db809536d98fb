import json
import re
import time

import numpy as np
import pytest
import tensorflow as tf

from tfcxr.data.pipeline import training_batches
from tfcxr.models import MODELS
from tfcxr.models.acgan import ACGAN, ACGANConfig
from tfcxr.models.model_config import Stage
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
        train(model, batches, 0, 3, [], tf.distribute.get_strategy())


@pytest.mark.thorough
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


def test_the_bar_counts_steps_and_says_the_losses_in_words_of_the_field(model, capsys):
    model.begin_stage(Stage(32, 8, 0, 4))
    bar = callbacks.ProgressBar([Stage(32, 8, 0, 2), Stage(32, 8, 2, 4)], start_step=0)
    bar.set_model(model)
    assert "compiling the next step" in capsys.readouterr().err
    logs = dict.fromkeys(ACGAN.metric_names, 0.5)
    for step in (1, 2, 3, 4):
        time.sleep(0.11)  # tqdm's shortest time between two pictures of its bar
        bar.on_train_batch_end(step, logs)
        shown = capsys.readouterr().err
        assert ("compiling" in shown) == (step == 2), "the first step of the second stage comes next"
    bar.on_train_end()
    shown = capsys.readouterr().err
    assert re.search(
        r"training: 100%\|.*\| 4/4 steps, 00:00 left, \d+ images/s, D 0\.50, G 0\.50, D class 0\.50", shown
    )
    assert "score" not in shown and "R1 0.50" in shown


def test_a_pause_moves_the_time_left_by_its_share(model, capsys):
    model.begin_stage(Stage(32, 8, 5, 1000))
    bar = callbacks.ProgressBar([Stage(32, 8, 0, 5), model.stage], start_step=0)
    bar.set_model(model)
    for step in range(1, 6):
        bar.on_train_batch_end(step, {})
    time.sleep(0.5)  # compiles
    bar.on_train_batch_end(6, {})
    begun = time.monotonic()
    for step in range(7, 27):
        time.sleep(1.0 if step == 26 else 0.03)  # the last as if a picture were drawn
        bar.on_train_batch_end(step, {})
    seconds = time.monotonic() - begun
    shown = capsys.readouterr().err
    minutes, rest, speed = map(int, re.findall(r"26/1000 steps, (\d+):(\d+) left, (\d+) images/s", shown)[-1])
    assert 60 * minutes + rest == pytest.approx(seconds / 20 * 974, rel=0.1)
    assert speed == pytest.approx(8 * 20 / seconds, rel=0.1)


def test_every_model_has_words_for_both_networks_on_the_bar():
    for name, model in MODELS.items():
        words = [word for metric, word in model.bar_names.items() if metric in model.metric_names]
        assert words[:2] == ["D", "G"], name
