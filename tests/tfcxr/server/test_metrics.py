"""What Prometheus reads from a server."""

import contextlib
import re
import types

import httpx
import pytest

from tfcxr.server.batching import BatchingOptions
from tfcxr.server.metrics import ServerMetrics, time_request
from tfcxr.server.served_models import models_in
from tfcxr.server.server import Server, ServerOptions
from tfcxr.server.serving_error import invalid


class Models:
    """A manager of `tiny`, which is available, and `broken`, which is not."""

    def names(self):
        return ["broken", "tiny"]

    def use(self, name):
        if name == "broken":
            raise invalid("no version is available")
        return contextlib.nullcontext(types.SimpleNamespace(signature_defs={"serving_default": None, "png": None}))


@pytest.fixture
def core():
    """Manager, batcher and their metrics."""
    manager, batcher = Models(), types.SimpleNamespace(waiting=3)
    return types.SimpleNamespace(manager=manager, batcher=batcher, metrics=ServerMetrics(manager, batcher))


def values(metrics, name):
    """Values of the labels, in the order of their names -> value of a metric."""
    lines = re.findall(rf"(?m)^{name}(?:{{(.*)}})? (\S+)$", metrics.page()[0].decode())
    return {tuple(re.findall(r'"([^"]*)"', labels)): float(value) for labels, value in lines}


def test_requests_by_protocol_model_signature_and_status(core):
    observe = core.metrics.observe_request
    observe("grpc", "tiny", "", "OK", 0.02)
    observe("grpc", "tiny", "serving_default", "OK", 0.02)
    observe("v2_rest", "tiny", "png", "RESOURCE_EXHAUSTED", 0.001)
    assert values(core.metrics, "tfcxr_requests_total") == {
        ("tiny", "grpc", "serving_default", "OK"): 2,
        ("tiny", "v2_rest", "png", "RESOURCE_EXHAUSTED"): 1,
    }
    assert values(core.metrics, "tfcxr_request_seconds_count")["tiny", "grpc", "serving_default"] == 2
    total = values(core.metrics, "tfcxr_request_seconds_sum")["tiny", "grpc", "serving_default"]
    assert total == pytest.approx(0.04)


def test_names_from_clients_are_no_labels(core):
    for number in range(20):
        for model in (f"model_{number}", "tiny", "broken"):
            core.metrics.observe_request("grpc", model, f"signature_{number}", "NOT_FOUND", 0.001)
    assert values(core.metrics, "tfcxr_requests_total") == {
        (model, "grpc", "unknown", "NOT_FOUND"): 20 for model in ("unknown", "tiny", "broken")
    }


def test_versions_that_come_and_go(core):
    core.manager.on_loaded("tiny", 1, 2.5)
    core.manager.on_loaded("tiny", 2, 3.5)
    core.manager.on_unloaded("tiny", 1)
    assert values(core.metrics, "tfcxr_version_loaded") == {("tiny", "2"): 1}
    assert values(core.metrics, "tfcxr_version_load_seconds") == {("tiny", "2"): 3.5}


def test_queue_refusals_and_copies(core):
    core.batcher.on_refused("queue")
    core.metrics.observe_copies("tiny", 3)
    assert values(core.metrics, "tfcxr_requests_refused_total") == {("queue",): 1}
    assert values(core.metrics, "tfcxr_copies_refused_total") == {("tiny",): 3}
    assert values(core.metrics, "tfcxr_queue_length") == {(): 3}
    core.batcher.waiting = 4
    assert values(core.metrics, "tfcxr_queue_length") == {(): 4}


def test_batches_and_images(core, server):
    rows = {("tiny", "png"): 3, ("tiny", "score"): 5, ("half_plus_two", "serving_default"): 4}
    for (model, signature), count in rows.items():
        with server.manager.use(model) as servable:
            core.batcher.on_batch(servable, signature, count, 2)
    assert values(core.metrics, "tfcxr_batch_rows_sum") == rows
    assert values(core.metrics, "tfcxr_batch_requests_sum") == dict.fromkeys(rows, 2)
    assert values(core.metrics, "tfcxr_images_generated_total") == {("tiny",): 3}


def test_requests_over_a_limit_are_counted(saved_models):
    options = ServerOptions(
        models=lambda: [model for model in models_in(saved_models) if model.name == "half_plus_two"],
        grpc_port=None,
        max_request_bytes=1000,
        batching=BatchingOptions(max_request_rows=3),
    )
    with Server(options) as server, httpx.Client(base_url=f"http://{server.rest_address}", timeout=60) as client:
        for count in (4, 1000):
            tensor = {"name": "x", "shape": [count], "datatype": "FP32", "data": [1] * count}
            assert client.post("/v2/models/half_plus_two/infer", json={"inputs": [tensor]}).status_code == 429
        assert values(server.metrics, "tfcxr_requests_refused_total") == {("rows",): 1, ("request_bytes",): 1}


def test_time_request_tells_how_it_ended():
    calls = []

    def on_request(*call):
        calls.append(call)

    with time_request("rest", "tiny", "png", on_request):
        pass
    for error in (invalid("no"), RuntimeError("no")):
        with pytest.raises(type(error)), time_request("rest", "tiny", "png", on_request):
            raise error
    assert [call[:4] for call in calls] == [
        ("rest", "tiny", "png", status) for status in ("OK", "INVALID_ARGUMENT", "INTERNAL")
    ]
    assert all(0 <= call[4] < 60 for call in calls)


def test_the_page_of_a_server(rest):
    tensor = {"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}
    assert rest.post("/v2/models/half_plus_two/infer", json={"inputs": [tensor]}).status_code == 200
    response = rest.get("/metrics")
    labels = '{model="half_plus_two",protocol="v2_rest",signature="serving_default",status="OK"}'
    assert f"tfcxr_requests_total{labels}" in response.text and "process_resident_memory_bytes" in response.text
    assert 'tfcxr_version_loaded{model="tiny",version="1"} 1.0' in response.text
    assert response.headers["content-type"].startswith("text/plain; version=")
    open_metrics = rest.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert open_metrics.headers["content-type"].startswith("application/openmetrics-text")
    assert open_metrics.text.endswith("# EOF\n")
