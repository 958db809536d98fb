import math

import pytest
import tensorflow as tf

from tfcxr.losses.adversarial import ADVERSARIAL_LOSSES

LOGITS_OF_3_4THS = math.log(3.0)  # sigmoid is .75


def column(*values):
    return tf.constant(values, tf.float32)[:, None]


@pytest.fixture(params=ADVERSARIAL_LOSSES)
def loss(request):
    return ADVERSARIAL_LOSSES[request.param]


@pytest.mark.parametrize(
    ("name", "real", "fake", "for_discriminator", "for_generator"),
    [
        ("least_squares", [LOGITS_OF_3_4THS, 0.0], [0.0, LOGITS_OF_3_4THS], 0.15625 + 0.40625, 0.15625),
        ("log", [LOGITS_OF_3_4THS], [-LOGITS_OF_3_4THS], -2 * math.log(0.75), -math.log(0.25)),
        ("minimax", [LOGITS_OF_3_4THS], [-LOGITS_OF_3_4THS], -2 * math.log(0.75), math.log(0.75)),
        ("hinge", [0.25, 3.0], [-4.0, -0.5], 0.75 / 2 + 0.5 / 2, 4.5 / 2),
        ("wasserstein", [5.0, 1.0], [-2.0, 4.0], 1.0 - 3.0, -1.0),
    ],
)
def test_by_hand(name, real, fake, for_discriminator, for_generator):
    loss = ADVERSARIAL_LOSSES[name]
    assert float(loss.discriminator(column(*real), column(*fake))) == pytest.approx(for_discriminator, rel=1e-5)
    assert float(loss.generator(column(*fake))) == pytest.approx(for_generator, rel=1e-5)


def test_gradients_pull_the_two_networks_apart(loss):
    logits = column(0.3)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(logits)
        as_real = loss.discriminator(logits, column(0.0))
        as_fake = loss.discriminator(column(0.0), logits)
        for_generator = loss.generator(logits)
    assert tape.gradient(as_real, logits) < 0 < tape.gradient(as_fake, logits)
    assert tape.gradient(for_generator, logits) < 0


def test_gradients_agree_with_differences(loss):
    step = 1e-2

    def totals(shift):
        logits = column(-0.4, 0.7) + shift
        return tf.stack([loss.discriminator(logits, 2.0 * logits), loss.generator(logits)])

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
        loss = ADVERSARIAL_LOSSES[name].generator(logits)
    assert tape.gradient(loss, logits).numpy().item() == pytest.approx(expected, abs=1e-3)
