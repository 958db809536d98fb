"""Which devices train together."""

import json
import os

import tensorflow as tf


def make_strategy(devices: list[str] | None = None) -> tf.distribute.Strategy:
    """All GPUs of this machine mirrored, or else its CPU.

    Args:
      devices: names such as ["GPU:0", "GPU:1"] to use these only.

    Raises:
      ValueError: a device this machine does not have, or TF_CONFIG names several machines.
    """
    _check_one_machine(os.environ.get("TF_CONFIG", ""))
    present = [device.name.removeprefix("/device:") for device in tf.config.list_logical_devices()]
    if devices:
        if missing := [device for device in devices if device not in present]:
            raise ValueError(f"devices {', '.join(missing)} are not on this machine; it has {', '.join(present)}")
        return tf.distribute.MirroredStrategy(devices)
    if any(device.startswith("GPU") for device in present):
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def _check_one_machine(tf_config: str) -> None:
    """Refuses a cluster: no worker of it would be the one that writes."""
    if not tf_config:
        return
    try:
        cluster = json.loads(tf_config).get("cluster", {})
        machines = [address for addresses in cluster.values() for address in addresses]
    except (json.JSONDecodeError, AttributeError, TypeError) as error:
        raise ValueError(f"TF_CONFIG is no cluster in JSON ({error}); unset it to train on this machine") from error
    if len(machines) > 1:
        raise ValueError(
            f"TF_CONFIG names {len(machines)} machines, but training runs on one, on all of its GPUs; unset TF_CONFIG "
            "and start it on one machine"
        )
