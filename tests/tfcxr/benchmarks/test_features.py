"""Extractors are timed by batches, in float32 and, where the processor has it, in bfloat16."""

import keras
import pytest

from tfcxr.benchmarks import features
from tfcxr.benchmarks.features import describe_features, measure_features
from tfcxr.benchmarks.measurement import MeasurementArguments


@pytest.mark.parametrize("has_bfloat16", [True, False])
def test_a_network_of_a_file(tmp_path, monkeypatch, has_bfloat16):
    image = keras.Input([16, 16, 3])
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(image))
    keras.Model(image, pooled).save(tmp_path / "net.keras")
    monkeypatch.setattr(features, "has_bfloat16", lambda: has_bfloat16)
    monkeypatch.setattr("tfcxr.backbones.frozen_network.has_bfloat16", lambda: True)
    arguments = MeasurementArguments(
        extractor=str(tmp_path / "net.keras"), image_size=32, generate_batch_size=5, repeats=10
    )
    figures = measure_features(arguments)
    assert figures["images_per_second"] > 0 and figures["input_size"] == 16 and figures["features"] == 4
    assert ("bfloat16_error" in figures) == has_bfloat16
    assert describe_features(figures).startswith("batch 5, 16 px, 4 features")
    if has_bfloat16:
        assert figures["bfloat16_error"] < 0.02
