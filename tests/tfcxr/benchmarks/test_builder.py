"""The builder's benchmark: that it runs and what it returns; its figures are for a quiet machine and many images."""

import math
import shutil

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
    assert builder._build_seconds(raw_dir, tmp_path / "out", 1, "png", "local") > 0
    info = read_dataset_info(tmp_path / "out" / "128")
    assert info.images_written == 10 and info.encoding == "png" and info.preprocessing["clahe"]
    with pytest.raises(ChildProcessError, match=r"(?s)the builder failed: .*already holds a data set"):
        builder._build_seconds(raw_dir, tmp_path / "out", 1, "png", "local")


def test_other_bytes_than_before_are_an_error(disc_records, write_records, tmp_path):
    builder._keep_if_equal(shutil.copytree(disc_records, tmp_path / "new"), tmp_path / "out")
    assert not (tmp_path / "new").exists() and read_dataset_info(tmp_path / "out").images_written == 80
    builder._keep_if_equal(disc_records, tmp_path / "out")
    write_records(tmp_path / "new", {"train": 4})
    with pytest.raises(ChildProcessError, match="new holds other records than .*out, expected the same bytes"):
        builder._keep_if_equal(tmp_path / "new", tmp_path / "out")


@pytest.mark.slow
def test_rates_and_ratios(monkeypatch):
    pytest.importorskip("apache_beam", reason="the extra `beam` is not installed")
    for name, value in (("FEW", 40), ("MANY", 2000), ("PER_SHARD", 100), ("DRAWN", 8)):
        monkeypatch.setattr(builder, name, value)
    figures = builder.measure_builder(MeasurementArguments(builder_repeats=1))
    assert set(figures) == {
        *("bare", "one_worker", "one_worker_png", "images_per_second", "ratio_to_bare", "ratio_to_bare_png"),
        *("ratio_to_one_worker", "workers", "worker_memory_mib", "merge", "merge_one_worker", "merge_ratio"),
        *("beam", "beam_ratio"),
    }
    assert figures["bare"] > 0 and all(math.isfinite(value) for value in figures.values())
    assert "2 workers" in (text := builder.describe_builder(figures)) and "Beam" in text and "merge" in text
    assert "Beam" not in builder.describe_builder({name: figures[name] for name in figures if name != "beam"})
    assert figures["ratio_to_bare"] == figures["one_worker"] / figures["bare"]
