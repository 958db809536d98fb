"""Which devices train together."""

import os

import tensorflow as tf


def make_strategy(devices: list[str] | None = None) -> tf.distribute.Strategy:
    """All GPUs of this machine mirrored; several machines where TF_CONFIG names them; else the CPU.

    Args:
      devices: names such as ["GPU:0", "GPU:1"] to use these only.

    Raises:
      ValueError: a device this machine does not have.
    """
    present = [device.name.removeprefix("/device:") for device in tf.config.list_logical_devices()]
    if devices:
        if missing := [device for device in devices if device not in present]:
            raise ValueError(f"devices {', '.join(missing)} are not on this machine; it has {', '.join(present)}")
        return tf.distribute.MirroredStrategy(devices)
    if os.environ.get("TF_CONFIG"):
        return tf.distribute.MultiWorkerMirroredStrategy()
    if any(device.startswith("GPU") for device in present):
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()
