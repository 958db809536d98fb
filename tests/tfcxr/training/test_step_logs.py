import math

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import ops

from tfcxr.models.acgan import ACGAN, ACGANConfig
from tfcxr.training.loop import train
from tfcxr.training.step_logs import FirstFault, NonFiniteLossError, StepLogs, require_finite

NAMES = ("first", "second")


def logs_of(steps, rates=None):
    """The logs after steps with these values of both names."""
    fault = FirstFault(NAMES)
    observe = tf.function(fault.observe)
    observed = None
    for step, values in enumerate(steps, start=1):
        observed = observe(tf.constant(step, tf.int64), tf.constant(values, tf.float32))
    return StepLogs(NAMES, observed, fault, rates or {})


def test_values_are_the_floats_of_the_last_step():
    logs = logs_of([(1.0, 2.0), (0.1, -3.5)], {"learning_rate": 0.25})
    assert dict(logs) == {"first": float(np.float32(0.1)), "second": -3.5, "learning_rate": 0.25}
    assert list(logs) == ["first", "second", "learning_rate"] and len(logs) == 3


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_fault_is_named_by_its_step_however_late_it_is_read(value):
    logs = logs_of([(1.0, 2.0), (1.0, value), (math.nan, math.nan), (1.0, 2.0)])
    with pytest.raises(NonFiniteLossError, match=rf"training stopped at step 2: second is {value}; resume from"):
        require_finite(logs)


class ReadEvery:
    """Reads the logs of every so manyth step; counts how often a value was copied from the device."""

    def __init__(self, every, monkeypatch):
        self.every, self.copies, self.seen = every, 0, []
        copy = ops.EagerTensor._numpy

        def counted(tensor):
            self.copies += 1
            return copy(tensor)

        monkeypatch.setattr(ops.EagerTensor, "_numpy", counted)

    def on_train_batch_end(self, step, logs):
        if step % self.every == 0:
            self.seen.append(dict(logs))

    def __getattr__(self, name):  # a Keras callback's other methods
        return lambda *arguments, **named: None


@pytest.mark.thorough
def test_only_steps_whose_values_are_read_wait_for_the_device(monkeypatch):
    model = ACGAN(ACGANConfig(image_size=32, generator_filters=32, discriminator_filters=8), seed=0)
    batch = {
        "image": tf.zeros([4, 32, 32, 1]),
        "label": tf.one_hot([0, 1, 0, 1], 2),
        "label_mask": tf.ones([4, 2]),
    }
    reader = ReadEvery(4, monkeypatch)
    train(model, tf.data.Dataset.from_tensors(batch).repeat(), 0, 8, [reader], tf.distribute.get_strategy())
    assert [set(seen) for seen in reader.seen] == [set(ACGAN.metric_names)] * 2
    assert reader.copies == 2, "the last step's check finds its values read"
