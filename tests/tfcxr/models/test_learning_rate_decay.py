import json

import numpy as np
import pytest
import tensorflow as tf

from tfcxr.config import to_plain
from tfcxr.data.pipeline import training_batches
from tfcxr.models.learning_rate_decay import remaining_share
from tfcxr.models.model_config import Stage
from tfcxr.models.pggan import PGGAN, PGGANConfig
from tfcxr.models.vanilla_gan import VanillaGAN, VanillaGANConfig
from tfcxr.training.callbacks import MetricsLog
from tfcxr.training.loop import train
from tfcxr.training.run_folder import RunConfig, start_run

TINY = VanillaGANConfig.tiny_settings()[0] | {"generator_learning_rate": 0.1, "discriminator_learning_rate": 0.2}


def make_gan(**settings):
    return VanillaGAN(VanillaGANConfig(**(TINY | settings)), seed=3)


def run_steps(model, records, start, stop, steps, callbacks=()):
    """Trains from `start` to `stop` of a training of `steps`."""
    stop_at = tf.keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda step, logs: setattr(model, "stop_training", step == stop)
    )
    batches = training_batches(records, "train", 4, seed=5, start_step=start)
    train(model, batches, start, steps, [*callbacks, stop_at], tf.distribute.get_strategy())


@pytest.mark.parametrize(
    ("steps", "expected"), [(0, 1.0), (70, 1.0), (71, 1 - 0.9 / 30), (85, 0.55), (99, 0.13), (100, 0.1)]
)
def test_the_share_falls_linearly_over_the_last_steps(steps, expected):
    assert remaining_share(steps, 100, 0.3, 0.1) == pytest.approx(expected)
    assert remaining_share(steps, 100, 0.0, 0.1) == 1.0


def test_it_may_fall_from_the_first_step():
    assert [remaining_share(steps, 4, 1.0, 0.0) for steps in range(5)] == [1.0, 0.75, 0.5, 0.25, 0.0]


@pytest.mark.thorough
def test_the_optimizers_take_each_step_at_its_rate(disc_records, tmp_path):
    model = make_gan(decay_last=0.5)
    log = MetricsLog(tmp_path, log_every=1)
    run_steps(model, disc_records, 0, 4, 4, [log])
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["learning_rate"] for line in lines] == pytest.approx([0.1, 0.1, 0.1, 0.05])
    rates = [float(model.generator_optimizer.learning_rate), float(model.discriminator_optimizer.learning_rate)]
    assert rates == pytest.approx([0.05, 0.1])


@pytest.mark.thorough
def test_a_step_at_half_the_rate_moves_half_as_far(disc_records):
    """Adam's first step is the learning rate times the gradient's sign, whatever its size."""
    moved = []
    for settings, stop in (({}, 1), ({"decay_last": 1.0}, 3)):
        model = make_gan(epsilon=1e-12, **settings)
        start = np.asarray(model.discriminator.trainable_variables[0])
        if settings:  # the third of four steps
            model.decay_learning_rates(2, 4)
        run_steps(model, disc_records, stop - 1, stop, 4)
        moved.append(np.abs(np.asarray(model.discriminator.trainable_variables[0]) - start).max())
    assert moved == pytest.approx([0.2, 0.1], rel=1e-3)


def test_without_decay_nothing_is_set_or_logged(disc_records, tmp_path):
    model = make_gan()
    model.generator_optimizer.learning_rate = 0.7
    assert model.decay_learning_rates(3, 4) == {}
    run_steps(model, disc_records, 0, 1, 4, [MetricsLog(tmp_path, log_every=1)])
    assert float(model.generator_optimizer.learning_rate) == pytest.approx(0.7)
    assert "learning_rate" not in (tmp_path / "metrics.jsonl").read_text()


@pytest.mark.thorough
def test_a_resumed_run_ends_with_the_same_bits(disc_records):
    whole, first, second = (make_gan(decay_last=0.75, final_learning_rate_share=0.2) for _ in range(3))
    run_steps(whole, disc_records, 0, 4, 4)
    run_steps(first, disc_records, 0, 2, 4)
    saved = {name: np.asarray(variable) for name, variable in first.checkpoint_variables().items()}
    for name, variable in second.checkpoint_variables().items():
        variable.assign(saved[name])
    run_steps(second, disc_records, 2, 4, 4)
    for name, variable in whole.checkpoint_variables().items():
        np.testing.assert_array_equal(variable, second.checkpoint_variables()[name], err_msg=name)


def test_a_growing_model_falls_from_the_rate_of_its_stage():
    model = PGGAN(PGGANConfig(**PGGANConfig.tiny_settings()[0], decay_last=0.5))
    model.begin_stage(Stage(16, 4, 50, 100, is_fading=True, learning_rate=0.4))
    assert model.decay_learning_rates(75, 100) == pytest.approx({"learning_rate": 0.2})
    assert float(model.discriminator_optimizer.learning_rate) == pytest.approx(0.2)
    model.begin_stage(Stage(16, 4, 100, 200))
    assert float(model.generator_optimizer.learning_rate) == pytest.approx(1e-3), "the configuration's"


def test_a_run_that_falls_towards_its_end_keeps_it(tmp_path):
    def run(steps, decay_last):
        settings = to_plain(VanillaGANConfig(**TINY, decay_last=decay_last))
        return RunConfig("vanilla_gan", settings, (), 0, 4, steps, {"name": "discs"})

    start_run(tmp_path, run(100, 0.3), resume=False)
    start_run(tmp_path, run(100, 0.3), resume=True)
    with pytest.raises(ValueError, match=r"towards step 100 \(decay_last=0.3\), .* step 200; give --steps=100 or"):
        start_run(tmp_path, run(200, 0.3), resume=True)


@pytest.mark.parametrize("settings", [{"decay_last": 1.5}, {"final_learning_rate_share": -0.1}])
def test_shares_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))} must be at least 0 and at most 1"):
        VanillaGANConfig(**settings)
