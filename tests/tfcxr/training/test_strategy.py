import json

import pytest
import tensorflow as tf

from tfcxr.training.strategy import make_strategy


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


def test_a_cluster_of_machines_is_refused(monkeypatch):
    cluster = {"cluster": {"worker": ["one:1", "two:1"]}, "task": {"type": "worker", "index": 1}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    with pytest.raises(ValueError, match="TF_CONFIG names 2 machines, but training runs on one"):
        make_strategy()
    cluster["cluster"]["worker"].pop()
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))  # as services set it that always do
    assert make_strategy().num_replicas_in_sync >= 1
    for damaged in ("{", "[1]", '{"cluster": 5}'):
        monkeypatch.setenv("TF_CONFIG", damaged)
        with pytest.raises(ValueError, match="TF_CONFIG is no cluster in JSON"):
            make_strategy()
