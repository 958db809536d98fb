"""The command python -m tfcxr.benchmark."""

import json

import pytest

from tfcxr import benchmark as command
from tfcxr.benchmark import BenchmarkArguments, benchmark
from tfcxr.benchmarks import MEASUREMENTS
from tfcxr.benchmarks.measurement import Measurement
from tfcxr.command_line import help_text

TINY = {
    "image_size": 32,
    "batch_size": 4,
    "generate_batch_size": 8,
    "repeats": 10,
    "pipeline_seconds": 0.2,
    "settings": ("generator_filters=16", "discriminator_filters=4", "latent_size=4"),
}


@pytest.mark.thorough
def test_the_command_prints_a_table_and_writes_json(tmp_path, capsys):
    path = tmp_path / "figures.json"
    benchmark(BenchmarkArguments(json=str(path), **TINY))
    report, shown = json.loads(path.read_text()), capsys.readouterr().out
    for name in ("train", "pipeline", "generate"):
        rate = report[name]["images_per_second"]
        assert rate > 0 and f"{rate:.1f}" in shown
    assert report["train"]["mfu"] > 0 and report["train"]["operations_of_unknown_shape"] == []
    assert report["settings"]["generator_filters"] == 16
    assert report["machine"]["peak_memory_mib"] > 100
    assert "load" in shown


def test_all_models_are_measured_one_after_the_other(tmp_path, monkeypatch, capsys):
    def measured(name, function, arguments):
        assert (arguments.model, function) == (name, command.measure_all)
        return {"machine": command.describe_machine() | {"load_at_end": 0.0, "peak_memory_mib": 7.0}}

    monkeypatch.setattr(command, "in_own_process", measured)
    monkeypatch.setattr(command, "MODELS", ["acgan", "cgan"])
    benchmark(BenchmarkArguments(model="all", json=str(tmp_path / "figures.json"), **TINY))
    assert list(json.loads((tmp_path / "figures.json").read_text())) == ["acgan", "cgan"]
    assert "cgan\npeak memory 7 MiB" in capsys.readouterr().out


def test_an_unknown_measurement_is_refused():
    with pytest.raises(ValueError, match="--measure=training is unknown; did you mean 'train'?"):
        benchmark(BenchmarkArguments(measure=("training",)))


def test_a_registered_measurement_is_measured_and_shown(monkeypatch, capsys):
    monkeypatch.setitem(
        MEASUREMENTS, "nothing", Measurement(lambda arguments: {"least": 0}, "{least} of all".format_map)
    )
    benchmark(BenchmarkArguments(measure=("nothing",), **TINY))
    assert "0 of all" in capsys.readouterr().out


def test_help_names_the_measurements_and_all_flags():
    text = " ".join(help_text(benchmark).split())
    assert ", ".join(MEASUREMENTS) in text and "--generate_batch_size" in text
