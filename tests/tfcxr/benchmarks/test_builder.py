"""The builder's benchmark: that it runs and what it returns; its figures are for a quiet machine and many images."""

import math

import pytest

from tfcxr.benchmarks import builder
from tfcxr.benchmarks.measurement import MeasurementArguments
from tfcxr.data.records import read_dataset_info


@pytest.mark.slow
def test_both_sides_of_the_comparison_do_the_work(monkeypatch, tmp_path):
    monkeypatch.setattr(builder, "DRAWN", 4)
    raw_dir = builder._write_raw(tmp_path / "raw", 10)
    assert len(list((raw_dir / "all").iterdir())) == 10
    assert builder._bare_seconds(raw_dir) > 0
    assert builder._build_seconds(raw_dir, tmp_path / "out", 1, "png") > 0
    info = read_dataset_info(tmp_path / "out" / "128")
    assert info.images_written == 10 and info.encoding == "png" and info.preprocessing["clahe"]
    with pytest.raises(ChildProcessError, match=r"(?s)the builder failed: .*already holds a data set"):
        builder._build_seconds(raw_dir, tmp_path / "out", 1, "png")


@pytest.mark.slow
def test_rates_and_ratios(monkeypatch):
    for name, value in (("FEW", 40), ("MANY", 2000), ("PER_SHARD", 100), ("DRAWN", 8)):
        monkeypatch.setattr(builder, name, value)
    figures = builder.measure_builder(MeasurementArguments(builder_repeats=1))
    assert set(figures) == {
        *("bare", "one_worker", "one_worker_png", "images_per_second", "ratio_to_bare", "ratio_to_bare_png"),
        *("ratio_to_one_worker", "workers", "worker_memory_mib"),
    }
    assert figures["bare"] > 0 and all(math.isfinite(value) for value in figures.values())
    assert "2 workers" in builder.describe_builder(figures)
    assert figures["ratio_to_bare"] == figures["one_worker"] / figures["bare"]
