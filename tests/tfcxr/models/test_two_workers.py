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
def test_two_workers_take_the_steps_of_one(disc_records, tmp_path):
    addresses = free_addresses(2)
    one = [sys.executable, __file__, str(disc_records), str(tmp_path / "one.npz")]
    clusters = [{"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}} for index in (0, 1)]
    runs = [(one, "")]
    for index, cluster in enumerate(clusters):
        runs.append(([*one[:-1], str(tmp_path / f"worker_{index}.npz")], json.dumps(cluster)))
    processes = [
        subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=os.environ | {"TF_CONFIG": config})
        for words, config in runs
    ]
    for process in processes:
        errors = process.communicate()[1]
        assert process.returncode == 0, errors[-2000:]
    single, *workers = ({**np.load(tmp_path / f"{name}.npz")} for name in ("one", "worker_0", "worker_1"))
    assert len({key.split()[0] for key in single}) > 6
    for key, expected in single.items():
        for worker in workers:
            largest = float(np.abs(expected).max(initial=0.0))  # a sum's rounding grows with its largest term
            atol = 5e-6 * max(1.0, largest)
            if "_optimizer/" in key:  # sums of gradients: those of a stylegan2 differ by up to 1.4e-3 of the largest
                atol = max(atol, 2e-3 * largest)
            np.testing.assert_allclose(worker[key], expected, rtol=1e-4, atol=atol, err_msg=key)
        np.testing.assert_array_equal(workers[0][key], workers[1][key], err_msg=key)


if __name__ == "__main__":
    import tensorflow as tf

    from tfcxr.training.strategy import make_strategy
    from tfcxr.training.workers import read_workers

    tf.config.threading.set_inter_op_parallelism_threads(1)
    take_steps(sys.argv[1], sys.argv[2], make_strategy(workers=read_workers()))
