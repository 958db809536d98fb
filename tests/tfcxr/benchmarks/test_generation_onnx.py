"""The comparison with ONNX Runtime: the same images, turns, and what it says where it cannot be had."""

import sys

import numpy as np
import pytest

from tfcxr.benchmarks.generation_onnx import describe_onnx, interval, measure_onnx, time_by_turns
from tfcxr.benchmarks.measurement import MeasurementArguments


@pytest.mark.parametrize("model", ["acgan", pytest.param("wgan_gp", marks=pytest.mark.thorough)])
def test_an_export_and_onnx_runtime_make_the_same_images(model):
    for name in ("onnxruntime", "tf2onnx"):
        pytest.importorskip(name, reason="the extra `onnx` is not installed")
    settings = ("generator_filters=32", "discriminator_filters=8") if model == "acgan" else ()
    figures = measure_onnx(
        MeasurementArguments(model=model, image_size=32, settings=settings, generate_batch_size=6, repeats=10)
    )
    assert figures["largest_difference"] < 1e-4 and figures["rounds"] == 10
    low, high = figures["ratio_interval"]
    assert 0 < low <= figures["ratio"] <= high
    assert describe_onnx(figures).startswith("batch 6, 1 threads; ONNX Runtime ")


def test_what_cannot_be_compared_is_said(monkeypatch):
    with pytest.raises(ValueError, match="--measure=onnx converts --model, untrained; leave --saved_model out"):
        measure_onnx(MeasurementArguments(saved_model="saved_models/acgan"))
    with pytest.raises(ValueError, match="generate images from z; srgan enlarges images"):
        measure_onnx(MeasurementArguments(model="srgan"))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"--measure=onnx needs onnxruntime .*: pip install 'tfcxr\[onnx\]'"):
        measure_onnx(MeasurementArguments())


def test_turns_begin_with_each_in_turn():
    called = []
    times = time_by_turns({"a": lambda: called.append("a"), "b": lambda: called.append("b")}, rounds=4)
    assert "".join(called[-8:]) == "baabbaab" and [of_rounds.shape for of_rounds in times.values()] == [(4, 2)] * 2


def test_the_interval_holds_the_median_and_not_the_outlier():
    low, high = interval(np.array([1.0, 1.1, 1.2, 1.1, 1.0, 1.2, 1.1, 9.0, 1.1, 1.0, 1.2]))
    assert 1.0 <= low <= 1.1 <= high < 2
    assert interval(np.array([2.0, 2.0])) == (2.0, 2.0)
