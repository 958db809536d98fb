"""The optimisation of latents, on images that are their z and classes that are its first values."""

import collections

import numpy as np
import pytest
import tensorflow as tf

from tfcxr.sampling.latent_optimization import (
    LatentObjective,
    LatentStart,
    OptimizationSettings,
    log_odds_of,
    optimize_latents,
    truncated_normal,
)

CLASSES = 3


def objective(is_single_label=False, chunk_rows=4, factor=1.0):
    def generate(z, label):
        return tf.reshape(z, [-1, 2, 2, 1])

    def logits(image):
        return factor * tf.reshape(image, [-1, 4])[:, :CLASSES]

    return LatentObjective(generate, logits, is_single_label, chunk_rows)


def start(subject, z, thresholds=(0, 0, 0), directions=(1, 0, 0)):
    rows = (np.array(values, np.float32) for values in (z, (), thresholds, directions))
    return LatentStart(subject, *rows)


def optimized(starts, settings, made=None):
    waiting = collections.deque(starts)
    return list(optimize_latents(made or objective(), lambda: waiting.popleft() if waiting else None, settings))


def test_adam_moves_z_until_the_class_reaches_its_threshold():
    (found,) = optimized([start(0, [-0.25, 0.5, -0.5, 0.1])], OptimizationSettings(learning_rate=0.1))
    # the gradient of the shortfall is -1 of the first value alone, so each step of Adam is the learning rate
    np.testing.assert_allclose(found.shortfalls, [0.25, 0.15, 0.05, 0.0], atol=1e-6)
    np.testing.assert_allclose(found.z, [0.05, 0.5, -0.5, 0.1], atol=1e-6)
    np.testing.assert_allclose(found.log_odds, found.z[:CLASSES], atol=1e-6)
    np.testing.assert_allclose(found.first_log_odds, [-0.25, 0.5, -0.5], atol=1e-6)
    assert found.is_reached and found.steps == 3


def test_several_classes_and_classes_that_are_kept_below():
    settings = OptimizationSettings(learning_rate=0.1)
    both = start("both", [-0.25, -0.45, 0.5, 0], directions=(1, 1, 0))
    kept = start("kept", [-0.25, 0.35, 0.5, 0], directions=(1, -1, 0))
    found = {latent.start.subject: latent for latent in optimized([both, kept], settings)}
    assert (found["both"].log_odds[:2] >= 0).all() and found["both"].log_odds[2] == 0.5
    assert found["kept"].log_odds[0] >= 0 >= found["kept"].log_odds[1]
    assert found["both"].shortfalls[0] == pytest.approx(0.7) and found["kept"].shortfalls[0] == pytest.approx(0.6)


def test_a_latent_that_is_there_leaves_at_once_and_another_enters():
    settings = OptimizationSettings(learning_rate=0.1, batch_size=2)
    starts = [start(0, [-1.95, 0, 0, 0]), start(1, [0.5, 0, 0, 0]), start(2, [-0.05, 0, 0, 0]), start(3, [1, 0, 0, 0])]
    waiting = collections.deque(starts)
    made, rows = objective(), []
    gradient = made.gradient
    made.gradient = lambda *inputs: rows.append(len(inputs[0])) or gradient(*inputs)
    found = list(optimize_latents(made, lambda: waiting.popleft() if waiting else None, settings))
    assert [latent.start.subject for latent in found] == [1, 2, 3, 0]
    assert rows[:4] == [2, 2, 2, 2] and set(rows[4:]) == {1} and len(rows) == 21
    assert gradient.experimental_get_tracing_count() == 1  # whatever the number of rows


@pytest.mark.thorough
def test_the_batch_changes_no_latent():
    random = np.random.default_rng(0)
    starts = [start(index, random.normal(size=4), thresholds=random.uniform(0, 1, 3)) for index in range(23)]
    ends = []
    for batch_size in (1, 5, 64):
        found = optimized(starts, OptimizationSettings(learning_rate=0.03, batch_size=batch_size))
        ends.append(np.stack([latent.z for latent in sorted(found, key=lambda latent: latent.start.subject)]))
    np.testing.assert_array_equal(ends[0], ends[1])
    np.testing.assert_array_equal(ends[0], ends[2])


def test_one_that_does_not_arrive_is_given_up_and_may_start_again():
    waiting = collections.deque([start("far", [-5, 0, 0, 0])])
    found = []
    for latent in optimize_latents(
        objective(), lambda: waiting.popleft() if waiting else None, OptimizationSettings(0.1, max_steps=4)
    ):
        found.append((latent.start.subject, latent.steps, latent.is_reached))
        if latent.start.subject == "far":
            waiting.append(start("near", [-0.05, 0, 0, 0]))
    assert found == [("far", 4, False), ("near", 1, True)]


def test_one_that_will_not_arrive_at_its_pace_is_given_up_early():
    starts = [start("near", [-3.45, 0, 0, 0]), start("far", [-4.95, 0, 0, 0])]  # a step is the learning rate long
    found = optimized(starts, OptimizationSettings(0.1, max_steps=40))
    assert [(latent.start.subject, latent.steps, latent.is_reached) for latent in found] == [
        ("far", 20, False),
        ("near", 35, True),
    ]


def test_log_odds_of_exclusive_classes_are_those_of_the_softmax():
    z = np.array([[1.0, -0.5, 0.2, 0.9]], np.float32)
    probability = tf.nn.softmax(3 * z[:, :CLASSES]).numpy()
    made = objective(is_single_label=True, factor=3.0)
    log_odds = made.gradient(z, np.zeros([1, 0]), np.zeros([1, 3]), np.ones([1, 3]))[2]
    np.testing.assert_allclose(log_odds, np.log(probability / (1 - probability)), rtol=1e-5)


def test_rendered_images_are_classified_as_they_are_stored():
    pixels, log_odds = objective().render(np.array([[-1, 1, 0.001, 2]], np.float32), np.zeros([1, 0], np.float32))
    np.testing.assert_array_equal(pixels, [[[0, 255], [128, 255]]])
    np.testing.assert_allclose(log_odds, [[-1, 1, 128 / 127.5 - 1]], atol=1e-6)


def test_the_start_is_sampled_again_beyond_the_bound():
    z = truncated_normal(np.random.default_rng(0), 200_000, 0.7)
    assert z.dtype == np.float32 and np.abs(z).max() <= 0.7
    assert (np.abs(z) > 0.699).mean() < 0.003  # clipping would put 48 % there
    # the variance of a standard normal within a is 1 - 2 a phi(a) / (2 Phi(a) - 1), 0.1533 for a = 0.7
    assert z.var() == pytest.approx(0.1533, abs=0.002)


def test_thresholds_in_log_odds():
    assert log_odds_of(0.8) == pytest.approx(np.log(4)) and log_odds_of(0.5) == 0
    assert log_odds_of(1.0) == pytest.approx(13.8, abs=0.1) and log_odds_of(0.0) == pytest.approx(-13.8, abs=0.1)


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="a class score of a generated image is NaN or infinite"):
        optimized([start(0, [np.nan, 0, 0, 0])], OptimizationSettings())
    with pytest.raises(ValueError, match="the learning rate must be above 0, got 0"):
        OptimizationSettings(learning_rate=0.0)
    with pytest.raises(ValueError, match="expected at least 1 step and 1 latent, got 0 and 256"):
        OptimizationSettings(max_steps=0)
