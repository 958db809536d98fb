"""A server in a process of its own is timed and loaded; its figures read as sentences."""

import math

import pytest

from tfcxr.benchmarks.measurement import MeasurementArguments
from tfcxr.benchmarks.server_process import MODEL, running_server
from tfcxr.benchmarks.serving import describe_serving, measure_serving
from tfcxr.serving import Client


@pytest.mark.thorough
def test_a_server_is_timed_and_loaded(tiny_export):
    arguments = MeasurementArguments(
        saved_model=str(tiny_export), generate_batch_size=4, repeats=10, clients=6, seconds=3.0
    )
    figures = measure_serving(arguments)
    rates = figures["grpc_images_per_second"], figures["generate_images_per_second"]
    assert figures["ratio"] == pytest.approx(rates[0] / rates[1]) and min(rates) > 0
    assert figures["timed_requests"] == 30
    for times in figures["single_image_milliseconds"].values():
        assert 0 < times["p50"] <= times["p95"]
    load = figures["load"]
    assert load["answers"]["OK"] > 6 and set(load["answers"]) <= {"OK", "RESOURCE_EXHAUSTED"}
    assert load["milliseconds"]["p50"] <= load["milliseconds"]["p99"]
    assert min(load["server_memory_mib"].values()) > 100
    shown = describe_serving(figures)
    assert "serving tiny/1: " in shown and "a single image over http: p50" in shown and "6 clients for 3 s: " in shown


@pytest.mark.thorough
def test_a_server_runs_only_meanwhile(tiny_export):
    with running_server(tiny_export) as server, Client(server.rest_address) as client:
        assert client.status(MODEL)[1].state == "AVAILABLE" and client.models() == [MODEL]
    assert server.process.poll() == 0


@pytest.mark.thorough
def test_a_server_that_does_not_start_shows_why(tmp_path):
    version = tmp_path / "damaged" / "1"
    version.mkdir(parents=True)
    (version / "saved_model.pb").write_bytes(b"no SavedModel")
    with pytest.raises(ChildProcessError, match="its last lines:\n(.|\n)*is not served"), running_server(version):
        pass


def test_super_resolution_generates_nothing(tiny_enlarger):
    with pytest.raises(ValueError, match="needs a generator or cascade, .* is a super_resolution"):
        measure_serving(MeasurementArguments(saved_model=str(tiny_enlarger), repeats=10))


def test_figures_read_as_sentences():
    figures = {
        "saved_model": "acgan/1", "batch_size": 64, "grpc_images_per_second": 95.0, "generate_images_per_second": 100.0,
        "ratio": 0.95, "single_image_milliseconds": {"grpc": {"p50": 20.04, "p95": math.nan}},
    }  # fmt: skip
    assert describe_serving(figures).splitlines() == [
        "serving acgan/1: 95.0 images/s over gRPC in batches of 64, 100.0 without a server, ratio 0.95",
        "a single image over grpc: p50 20.0 ms, p95 nan ms",
    ]
