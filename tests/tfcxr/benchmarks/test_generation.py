"""Exported models are timed: a generator by seeds and one-hot labels, super-resolution by small images."""

import numpy as np
import pytest

from tfcxr.benchmarks.generation import describe_generation, measure_generation
from tfcxr.benchmarks.measurement import MeasurementArguments
from tfcxr.serving.loaded_model import LoadedModel


@pytest.mark.thorough
def test_requests_to_a_generator(tiny_export, monkeypatch):
    requests = []
    monkeypatch.setattr(LoadedModel, "generate", lambda self, seed, label: requests.append((seed, label)))
    figures = measure_generation(MeasurementArguments(saved_model=str(tiny_export), generate_batch_size=3, repeats=10))
    assert figures["images_per_second"] == 3000 / figures["milliseconds_per_batch"]
    assert [len(seed) for seed, _ in requests] == [3] * 13 + [1] * 13
    np.testing.assert_array_equal(requests[1][0], [3, 4, 5])
    np.testing.assert_array_equal(requests[1][1], [[0, 1], [1, 0], [0, 1]])


@pytest.mark.thorough
def test_requests_to_super_resolution(tiny_enlarger):
    figures = measure_generation(
        MeasurementArguments(saved_model=str(tiny_enlarger), generate_batch_size=2, repeats=10)
    )
    assert (figures["from_pixels"], figures["to_pixels"]) == (32, 64)
    assert describe_generation(figures).endswith(" ms, 32 to 64 px")
