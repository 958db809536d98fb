"""TensorFlow starts without its own lines; what others write meanwhile is kept."""

import os
import subprocess
import sys

import pytest

START_UP = [
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1795886242.456660   26823 port.cc:153] oneDNN custom operations are on.",
    "2026-11-28 17:00:00.123456: E external/local_xla/xla/stream_executor/cuda/cuda_fft.cc:467] Unable to register",
    "To enable the following instructions: AVX2, in other operations, rebuild TensorFlow.",
]
PROGRAM = f"""
import os, sys
from tfcxr.startup import tensorflow_started
with tensorflow_started():
    os.write(2, ({START_UP!r}[0] + chr(10)).encode())
    for line in {START_UP!r}[1:]:
        print(line, file=sys.stderr)
    print("error: ours", file=sys.stderr)
    if "--fails" in sys.argv:
        raise ValueError("import failed")
with tensorflow_started():
    print("later", file=sys.stderr)
assert "tensorflow" in sys.modules
"""


@pytest.mark.thorough
@pytest.mark.parametrize("flags", [[], ["--fails"]])
def test_start_up_lines_are_left_out_and_all_else_is_kept(flags):
    done = subprocess.run([sys.executable, "-c", PROGRAM, *flags], capture_output=True, text=True)
    lines = done.stderr.splitlines()
    assert "error: ours" in lines
    assert not set(lines) & set(START_UP)
    if flags:
        assert lines[-1] == "ValueError: import failed"
    else:
        assert [line for line in lines if "starting TensorFlow" not in line] == ["error: ours", "later"]


@pytest.mark.thorough
def test_convolutions_are_those_of_onednn_on_any_processor():
    """TensorFlow alone switches it off without AVX-512; it counts the memory of a processor only with it."""
    environment = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    program = "import tfcxr; import tensorflow as tf; print(tf.config.experimental.get_memory_info('CPU:0')['peak'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert int(done.stdout) >= 0, done.stderr
