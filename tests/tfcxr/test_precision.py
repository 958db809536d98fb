"""Which hardware computes in bfloat16."""

import pytest
import tensorflow as tf

from tfcxr import precision


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fma avx512f avx512_bf16 amx_bf16", True), ("amx_bf16", True), ("avx512_bf16", True), ("avx2 avx512f", False)],
)
def test_a_processor_has_it_by_its_flags(tmp_path, monkeypatch, flags, expected):
    facts = tmp_path / "cpuinfo"
    facts.write_text(f"model name\t: Some processor\nflags\t\t: fpu {flags} sse\n")
    monkeypatch.setattr(precision, "CPU_FACTS", facts)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    assert precision.has_bfloat16() is expected
    facts.unlink()
    assert not precision.has_bfloat16(), "a system without the file"


@pytest.mark.parametrize(
    ("capabilities", "devices", "expected"),
    [
        ([(8, 0), (9, 0)], (), True),
        ([(8, 0), (7, 5)], (), False),
        ([None], ("GPU:0",), False),
        ([(9, 0)], ("CPU:0",), False),
    ],
)
def test_all_gpus_have_it_by_their_compute_capability(tmp_path, monkeypatch, capabilities, devices, expected):
    monkeypatch.setattr(precision, "CPU_FACTS", tmp_path / "none")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: range(len(capabilities)))
    details = [{} if pair is None else {"compute_capability": pair} for pair in capabilities]
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details[gpu])
    assert precision.has_bfloat16(devices) is expected
