"""Keras's dtype policy for a stretch of code, without changing the process's own; what "auto" stands for here."""

import contextlib
import pathlib
from collections.abc import Iterator, Sequence

import keras
import tensorflow as tf

CPU_FACTS = pathlib.Path("/proc/cpuinfo")
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}  # of the processor
BFLOAT16_CAPABILITY = (8, 0)  # of an NVIDIA GPU: Ampere and later


@contextlib.contextmanager
def precision_scope(precision: str) -> Iterator[None]:
    """Layers made inside compute in this precision, "float32" or "mixed_bfloat16"; weights stay float32."""
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(previous)


def has_bfloat16(devices: Sequence[str] = ()) -> bool:
    """Whether all GPUs of this machine, or without any its processor, compute in bfloat16, which others emulate slowly.

    Args:
      devices: that train, such as CPU:0; all GPUs, or else the processor, where none is named.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if gpus and not (devices and all(device.startswith("CPU") for device in devices)):
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        return all(detail.get("compute_capability", (0, 0)) >= BFLOAT16_CAPABILITY for detail in details)
    facts = CPU_FACTS.read_text(encoding="utf-8") if CPU_FACTS.is_file() else ""
    return not BFLOAT16_FLAGS.isdisjoint(facts.split())


@contextlib.contextmanager
def graphs_in(precision: str) -> Iterator[None]:
    """Graphs that run for the first time inside compute convolutions and matrix products in this precision, of CPUs.

    It is for networks whose layers are fixed, such as SavedModels; "float32" changes nothing.
    """
    name = "auto_mixed_precision_onednn_bfloat16"
    before = tf.config.optimizer.get_experimental_options().get(name, False)
    tf.config.optimizer.set_experimental_options({name: precision == "bfloat16"})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({name: before})
