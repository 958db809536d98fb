"""Liveness, readiness, and golden pictures."""

import json
import shutil

import grpc
import httpx
import pytest

from tfcxr.server.served_models import ServedModel, models_in
from tfcxr.server.server import Server, ServerOptions


def test_a_running_server_is_live_ready_and_well(rest):
    assert rest.get("/livez").json() == {"status": "live"}
    assert rest.get("/readyz").json() == {"status": "ready"}
    found = rest.get("/healthz")
    assert found.status_code == 200 and found.json()["status"] == "ok"
    assert found.json()["models"]["tiny"]["state"] == "same"
    assert found.json()["models"]["half_plus_two"]["state"] == "unknown"


@pytest.mark.thorough
@pytest.mark.parametrize(("change", "state", "status"), [(0.4, "rounded", 200), (9.0, "differs", 503)])
def test_other_pictures_than_the_export_drew(tiny_export, tmp_path, change, state, status):
    shutil.copytree(tiny_export, tmp_path / "tiny" / "1")
    path = tmp_path / "tiny" / "1" / "model.json"
    description = json.loads(path.read_text())
    description["golden"][0]["sha256"] = "0" * 64
    description["golden"][0]["grey"][0][0] += change
    path.write_text(json.dumps(description))
    with Server(ServerOptions(models=lambda: models_in(tmp_path), grpc_port=None)) as server:
        found = httpx.get(f"http://{server.rest_address}/healthz")
    assert found.status_code == status and found.json()["models"]["tiny"]["state"] == state
    assert "grey levels" in found.json()["models"]["tiny"]["sentence"]


@pytest.mark.thorough
def test_an_address_of_version_6(half_plus_two):
    models = [ServedModel("half", half_plus_two.parent)]
    with Server(ServerOptions(models=lambda: models, host="::1")) as server:
        assert httpx.get(f"http://{server.rest_address}/readyz").status_code == 200
        with grpc.insecure_channel(server.grpc_address) as channel:
            grpc.channel_ready_future(channel).result(10)
    assert server.rest_address.startswith("[::1]:")


def test_without_a_model_it_is_live_and_not_ready(tmp_path):
    with Server(ServerOptions(models=lambda: models_in(tmp_path), grpc_port=None)) as server:
        address = f"http://{server.rest_address}"
        assert httpx.get(f"{address}/livez").status_code == 200
        assert httpx.get(f"{address}/readyz").status_code == 503
        assert httpx.get(f"{address}/healthz").status_code == 503
