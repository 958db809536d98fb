"""What Prometheus reads from a server."""

import re
import types

import numpy as np
import pytest

from tfcxr.server.metrics import ServerMetrics, time_request
from tfcxr.server.serving_error import invalid


class Models:
    """A manager of `tiny`, which is available, and `broken`, which is not."""

    def names(self):
        return ["broken", "tiny"]

    def use(self, name):
        if name == "broken":
            raise invalid("no version is available")
        return types.SimpleNamespace(signature_defs={"serving_default": None, "png": None})


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
    core.metrics.count_refusal("queue")
    core.metrics.count_copies("tiny", 3)
    assert values(core.metrics, "tfcxr_requests_refused_total") == {("queue",): 1}
    assert values(core.metrics, "tfcxr_copies_refused_total") == {("tiny",): 3}
    assert values(core.metrics, "tfcxr_queue_length") == {(): 3}
    core.batcher.waiting = 4
    assert values(core.metrics, "tfcxr_queue_length") == {(): 4}


def test_batches_and_images_of_a_server(server):
    label = np.eye(2, dtype=np.float32)[[0, 1, 1]]
    inputs = {
        ("tiny", "png"): {"seed": np.arange(3), "label": label},
        ("tiny", "score"): {"image": np.zeros([5, 32, 32, 1], np.uint8)},
        ("half_plus_two", "serving_default"): {"x": np.zeros(4, np.float32)},
    }
    for (model, signature), given in inputs.items():
        with server.manager.use(model) as servable:
            server.metrics.observe_batch(servable, signature, 0, 0)  # so that there is a count before
            before = {
                name: values(server.metrics, name) for name in ("tfcxr_batch_rows_sum", "tfcxr_batch_requests_sum")
            }
            images = values(server.metrics, "tfcxr_images_generated_total")[("tiny",)]
            server.batcher.submit(servable, signature, given).result()
            rows = len(next(iter(given.values())))
            server.metrics.observe_batch(servable, signature, 0, 0)
        for name, added in (("tfcxr_batch_rows_sum", rows), ("tfcxr_batch_requests_sum", 1)):
            assert values(server.metrics, name)[model, signature] == before[name][model, signature] + added
        made = values(server.metrics, "tfcxr_images_generated_total")[("tiny",)] - images
        assert made == (rows if signature == "png" else 0)
    assert set(values(server.metrics, "tfcxr_images_generated_total")) == {("tiny",)}


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
