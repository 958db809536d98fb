import math

import pytest
import tensorflow as tf

from tfcxr.losses.adversarial import ADVERSARIAL_LOSSES, discriminator_loss, generator_loss

LOGITS_OF_3_4THS = math.log(3.0)  # sigmoid is .75


def column(*values):
    return tf.constant(values, tf.float32)[:, None]


def test_least_squares_by_hand():
    real, fake = column(LOGITS_OF_3_4THS, 0.0), column(0.0, 0.0)
    assert float(discriminator_loss("least_squares", real, fake)) == pytest.approx((0.25**2 + 0.5**2) / 2 + 0.5**2)
    assert float(generator_loss("least_squares", real)) == pytest.approx((0.25**2 + 0.5**2) / 2)


def test_log_by_hand():
    real, fake = column(LOGITS_OF_3_4THS), column(-LOGITS_OF_3_4THS)
    assert float(discriminator_loss("log", real, fake)) == pytest.approx(-2 * math.log(0.75), rel=1e-5)
    assert float(generator_loss("log", fake)) == pytest.approx(-math.log(0.25), rel=1e-5)


def test_minimax_by_hand():
    real, fake = column(LOGITS_OF_3_4THS), column(-LOGITS_OF_3_4THS, LOGITS_OF_3_4THS)
    expected = -math.log(0.75) - (math.log(0.75) + math.log(0.25)) / 2
    assert float(discriminator_loss("minimax", real, fake)) == pytest.approx(expected, rel=1e-5)
    assert float(generator_loss("minimax", fake)) == pytest.approx((math.log(0.75) + math.log(0.25)) / 2, rel=1e-5)


def test_hinge_by_hand():
    real, fake = column(0.25, 3.0), column(-4.0, -0.5)
    assert float(discriminator_loss("hinge", real, fake)) == pytest.approx(0.75 / 2 + 0.5 / 2)
    assert float(generator_loss("hinge", fake)) == pytest.approx(4.5 / 2)


def test_wasserstein_by_hand():
    real, fake = column(5.0, 1.0), column(-2.0, 4.0)
    assert float(discriminator_loss("wasserstein", real, fake)) == pytest.approx(1.0 - 3.0)
    assert float(generator_loss("wasserstein", fake)) == pytest.approx(-1.0)


@pytest.mark.parametrize("name", ADVERSARIAL_LOSSES)
def test_gradients_pull_the_two_networks_apart(name):
    logits = column(0.3)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(logits)
        as_real = discriminator_loss(name, logits, column(0.0))
        as_fake = discriminator_loss(name, column(0.0), logits)
        for_generator = generator_loss(name, logits)
    assert tape.gradient(as_real, logits) < 0 < tape.gradient(as_fake, logits)
    assert tape.gradient(for_generator, logits) < 0


@pytest.mark.parametrize("name", ADVERSARIAL_LOSSES)
def test_gradients_agree_with_differences(name):
    step = 1e-2

    def totals(shift):
        logits = column(-0.4, 0.7) + shift
        losses = [discriminator_loss(name, logits, 2.0 * logits), generator_loss(name, logits)]
        return tf.stack(losses)

    shift = tf.constant(0.0)
    with tf.GradientTape() as tape:
        tape.watch(shift)
        value = totals(shift)
    gradient = tape.jacobian(value, shift)
    expected = (totals(step) - totals(-step)) / (2 * step)
    assert gradient.numpy() == pytest.approx(expected.numpy(), abs=2e-4)


@pytest.mark.parametrize(("name", "expected"), [("log", -1.0), ("minimax", 0.0)])
def test_log_loss_still_teaches_a_generator_that_is_always_found_out(name, expected):
    logits = column(-20.0)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = generator_loss(name, logits)
    assert tape.gradient(loss, logits).numpy().item() == pytest.approx(expected, abs=1e-3)


def test_an_unknown_name_is_refused():
    message = "unknown adversarial loss 'squares'; valid names: least_squares, log, minimax, hinge, wasserstein"
    with pytest.raises(ValueError, match=message):
        discriminator_loss("squares", column(0.0), column(0.0))
    with pytest.raises(ValueError, match=message):
        generator_loss("squares", column(0.0))
