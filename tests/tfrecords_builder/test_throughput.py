"""The builder's benchmark: what it returns; its figures are for a quiet machine and many images."""

import math

from tfrecords_builder import throughput


def test_rates_and_ratios(monkeypatch):
    for name, value in (("FEW", 40), ("MANY", 200), ("PER_SHARD", 100), ("DRAWN", 8)):
        monkeypatch.setattr(throughput, name, value)
    figures = throughput.measure_builder(workers=1, repeats=1)
    assert set(figures) == {
        *("bare", "one_worker", "one_worker_png", "images_per_second", "ratio_to_bare", "ratio_to_bare_png"),
        *("ratio_to_one_worker", "workers", "worker_memory_mib"),
    }
    assert figures["bare"] > 0 and all(math.isfinite(value) for value in figures.values())
    assert figures["ratio_to_bare"] == figures["one_worker"] / figures["bare"]
