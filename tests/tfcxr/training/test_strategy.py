import pytest
import tensorflow as tf

from tfcxr.training.strategy import make_strategy
from tfcxr.training.workers import Workers


def test_named_devices_are_mirrored():
    strategy = make_strategy(["CPU:0", "CPU:1"])
    assert isinstance(strategy, tf.distribute.MirroredStrategy)
    assert strategy.num_replicas_in_sync == 2


def test_without_a_gpu_there_is_one_replica():
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU")
    assert make_strategy().num_replicas_in_sync == 1


def test_absent_device_is_refused():
    with pytest.raises(ValueError, match=r"devices GPU:7 are not on this machine; it has CPU:0"):
        make_strategy(["GPU:7"])


def test_devices_of_one_of_several_workers_are_refused():
    with pytest.raises(ValueError, match="--devices is for one machine"):
        make_strategy(["GPU:0"], Workers(1, 2))
