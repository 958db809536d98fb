"""Which devices train together."""

import tensorflow as tf

from tfcxr.training.meeting import waiting_for_others
from tfcxr.training.workers import Workers


def make_strategy(devices: list[str] | None = None, workers: Workers | None = None) -> tf.distribute.Strategy:
    """All GPUs of this machine mirrored, or else its CPU; with several workers, those of all of them.

    Several workers wait here for each other; `waiting_for_others` ends the process after a quarter of an hour.
    TensorFlow must not have computed anything before.

    Args:
      devices: names such as ["GPU:0", "GPU:1"] to use these only.
      workers: that train together; this process alone where None.

    Raises:
      ValueError: a device this machine does not have, or devices named for one of several workers.
      ConnectionError: this worker's port is taken, or the others cannot be reached.
    """
    if workers is not None and workers.count > 1:
        if devices:
            raise ValueError("--devices is for one machine; each of several workers trains on all of its GPUs")
        try:
            with waiting_for_others(workers):
                return tf.distribute.MultiWorkerMirroredStrategy()
        except tf.errors.OpError as error:
            own = workers.addresses[workers.index]
            raise ConnectionError(
                f"worker {workers.index} of {workers.count} did not meet the others ({error.message}); see that all "
                f"are started, that they reach {own}, and that no other process here has its port"
            ) from error
    present = [device.name.removeprefix("/device:") for device in tf.config.list_logical_devices()]
    if devices:
        if missing := [device for device in devices if device not in present]:
            raise ValueError(f"devices {', '.join(missing)} are not on this machine; it has {', '.join(present)}")
        return tf.distribute.MirroredStrategy(devices)
    if any(device.startswith("GPU") for device in present):
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()
