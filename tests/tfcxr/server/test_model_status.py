"""Status, metadata and new configurations, over gRPC and REST."""

import shutil

import grpc
import httpx
import pytest
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tfcxr.server.served_models import models_in
from tfcxr.server.server import Server, ServerOptions

HALF = "/v1/models/half_plus_two"
AVAILABLE = {
    "model_version_status": [
        {"version": "123", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    ]
}


def status_request(name="", version=None):
    spec = model_pb2.ModelSpec(name=name)
    if version is not None:
        spec.version.value = version
    return get_model_status_pb2.GetModelStatusRequest(model_spec=spec)


def refused(call, request, code):
    with pytest.raises(grpc.RpcError) as raised:
        call(request, timeout=30)
    assert raised.value.code() is code, raised.value.details()
    assert raised.value.details()
    return raised.value.details()


def test_status(rest, channel):
    assert rest.get(HALF).json() == AVAILABLE and rest.get(f"{HALF}/versions/123").json() == AVAILABLE
    call = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus
    for version in (None, 123):
        (found,) = call(status_request("half_plus_two", version)).model_version_status
        assert (found.version, found.state, found.status.error_code) == (123, found.AVAILABLE, 0)
    missing = "Could not find any versions of model foo"
    assert refused(call, status_request("foo"), grpc.StatusCode.NOT_FOUND) == missing
    assert rest.get("/v1/models/foo").json() == {"error": missing} and rest.get("/v1/models/foo").status_code == 404
    other = "Could not find version 5 of model half_plus_two"
    assert refused(call, status_request("half_plus_two", 5), grpc.StatusCode.NOT_FOUND) == other
    assert rest.get(f"{HALF}/versions/5").json() == {"error": other}
    assert rest.get(f"{HALF}/labels/none").status_code == 400
    empty = get_model_status_pb2.GetModelStatusRequest()
    assert refused(call, empty, grpc.StatusCode.INVALID_ARGUMENT) == "Missing ModelSpec"


def metadata_request(name, *fields):
    return get_model_metadata_pb2.GetModelMetadataRequest(model_spec={"name": name}, metadata_field=fields)


def test_metadata(rest, channel):
    call = prediction_service_pb2_grpc.PredictionServiceStub(channel).GetModelMetadata
    found = call(metadata_request("half_plus_two", "signature_def"))
    assert found.model_spec.name == "half_plus_two" and found.model_spec.version.value == 123
    assert list(found.metadata) == ["signature_def"]
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert found.metadata["signature_def"].Unpack(signatures)
    assert signatures.signature_def["serving_default"].method_name == "tensorflow/serving/predict"
    assert "x" in signatures.signature_def["serving_default"].inputs
    for path in (f"{HALF}/metadata", f"{HALF}/versions/123/metadata"):
        document = rest.get(path).json()
        assert document["model_spec"] == {"name": "half_plus_two", "signature_name": "", "version": "123"}
        of_x = document["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]["x"]
        assert of_x["dtype"] == "DT_FLOAT"
        assert of_x["tensor_shape"] == {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    assert "at least one metadata_field" in refused(call, metadata_request("half_plus_two"), invalid)
    assert "Metadata field x is not supported" in refused(call, metadata_request("half_plus_two", "x"), invalid)
    assert refused(call, get_model_metadata_pb2.GetModelMetadataRequest(), invalid) == "Missing ModelSpec"
    missing = "Servable not found for request: Latest(foo)"
    assert refused(call, metadata_request("foo", "signature_def"), grpc.StatusCode.NOT_FOUND) == missing
    assert rest.get("/v1/models/foo/metadata").json() == {"error": missing}


def reload_request(*models):
    request = model_management_pb2.ReloadConfigRequest()
    for model in models:
        request.config.model_config_list.config.add(**model)
    return request


@pytest.mark.thorough
def test_a_new_configuration(half_plus_two, tmp_path):
    for version in ("123", "124"):
        shutil.copytree(half_plus_two, tmp_path / "half_plus_two" / version)
    options = ServerOptions(models=lambda: models_in(tmp_path), reload_root=tmp_path, poll_seconds=0)
    with Server(options) as server, grpc.insecure_channel(server.grpc_address) as channel:
        call = model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        model = {"name": "renamed", "base_path": str(tmp_path / "half_plus_two"), "model_platform": "tensorflow"}
        both = {"all": {}}

        request = reload_request(model | {"model_version_policy": both, "version_labels": {"stable": 123}})
        assert call(request).status.error_code == 0

        def version_of(**spec):
            asked = predict_pb2.PredictRequest(model_spec={"name": "renamed", **spec})
            asked.inputs["x"].CopyFrom(one())
            return predict(asked, timeout=30).model_spec.version.value

        assert version_of() == 124 and version_of(version_label="stable") == 123
        with httpx.Client(base_url=f"http://{server.rest_address}") as rest:
            body = {"instances": [1.0]}
            assert rest.post("/v1/models/renamed/labels/stable:predict", json=body).json() == {"predictions": [2.5]}
            assert rest.get("/v1/models/renamed/labels/stable").json() == AVAILABLE
            assert rest.get("/v1/models/half_plus_two").status_code == 404

        invalid = grpc.StatusCode.INVALID_ARGUMENT
        unavailable = reload_request(model | {"version_labels": {"stable": 5}})
        said = refused(call, unavailable, grpc.StatusCode.FAILED_PRECONDITION)
        assert "version 5 of model renamed, which is not currently available" in said
        outside = model | {"base_path": str(half_plus_two.parent)}
        said = refused(call, reload_request(outside), grpc.StatusCode.PERMISSION_DENIED)
        assert "renamed is outside the folder" in said and str(half_plus_two.parent) not in said
        climbing = model | {"base_path": str(tmp_path / "half_plus_two" / ".." / ".." / "x")}
        refused(call, reload_request(climbing), grpc.StatusCode.PERMISSION_DENIED)
        assert "must be absolute" in refused(call, reload_request(model | {"base_path": "half_plus_two"}), invalid)
        assert "listed twice" in refused(call, reload_request(model, model), invalid)
        assert "only 'tensorflow' is served" in refused(
            call, reload_request(model | {"model_platform": "caffe"}), invalid
        )
        assert version_of() == 124  # what was refused changed nothing
        specific = reload_request(model | {"model_version_policy": {"specific": {"versions": [123]}}})
        call(specific)
        assert version_of() == 123
        assert "the configuration is empty" in refused(call, model_management_pb2.ReloadConfigRequest(), invalid)
        assert version_of() == 123


def one():
    return (
        predict_pb2.PredictRequest()
        .inputs["x"]
        .__class__(dtype=1, float_val=[1.0], tensor_shape={"dim": [{"size": 1}]})
    )
