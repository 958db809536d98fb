"""Every GAN takes the same steps on two workers as on one; the workers run this file."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tfcxr.training.local_workers import free_addresses

STEPS, ROWS = 2, 4


def take_steps(data_dir, out_file, strategy):
    """Two steps of the tiny variant of each model in which no image depends on others; saves all weights and means."""
    from tfcxr.data.pipeline import training_batches
    from tfcxr.models import MODELS
    from tfcxr.training.loop import train

    found = {}
    for name, gan_class in MODELS.items():
        first, *others = gan_class.config_class.tiny_settings()
        with strategy.scope():
            model = gan_class(gan_class.config_class(**((others or [first])[0] | {"ema_decay": 0.5})), seed=3)
        for optimizer in (model.generator_optimizer, model.discriminator_optimizer):
            optimizer.epsilon = 1e-2  # far above the rounding of gradients
        shrink = max(1, 32 // model.config.stages(1)[-1].image_size)
        rows = ROWS * model.config.batches_per_step
        train(model, training_batches(data_dir, "train", rows, seed=5, shrink=shrink), 0, STEPS, [], strategy)
        weights = {key: np.asarray(value) for key, value in model.checkpoint_variables().items()}
        found |= {f"{name} {key}": value for key, value in weights.items() if not key.startswith("metrics/")}
    np.savez(out_file, **found)


@pytest.mark.slow
def test_two_workers_take_the_steps_of_two_replicas_and_of_one(disc_records, tmp_path):
    addresses = free_addresses(2)
    clusters = [{"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}} for index in (0, 1)]
    configs = {"one": "", "two_replicas": ""} | {f"worker_{k}": json.dumps(c) for k, c in enumerate(clusters)}
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, str(disc_records), str(tmp_path / f"{name}.npz"), name],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | ({"TF_CONFIG": config} if config else {}),
        )
        for name, config in configs.items()
    ]
    for process in processes:
        errors = process.communicate()[1]
        assert process.returncode == 0, errors[-2000:]
    one, replicas, *workers = ({**np.load(tmp_path / f"{name}.npz")} for name in configs)
    assert len({key.split()[0] for key in one}) > 6
    for key, of_one in one.items():
        largest = float(np.abs(of_one).max(initial=0.0))  # a sum's rounding grows with its largest term
        np.testing.assert_array_equal(workers[0][key], workers[1][key], err_msg=key)
        np.testing.assert_allclose(workers[0][key], replicas[key], rtol=1e-5, atol=1e-6 * largest, err_msg=key)
        if "_optimizer/" not in key:  # moments are sums of gradients that nearly cancel for a stylegan2's noise
            np.testing.assert_allclose(workers[0][key], of_one, rtol=1e-4, atol=5e-6 * max(1.0, largest), err_msg=key)


if __name__ == "__main__":
    import tensorflow as tf

    from tfcxr.training.strategy import make_strategy
    from tfcxr.training.workers import read_workers

    tf.config.threading.set_inter_op_parallelism_threads(1)
    data_dir, out_file, run = sys.argv[1:]
    if run == "two_replicas":
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
        )
        take_steps(data_dir, out_file, make_strategy(["CPU:0", "CPU:1"]))
    else:
        take_steps(data_dir, out_file, make_strategy(workers=read_workers()))
