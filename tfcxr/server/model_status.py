"""Status and metadata of models, and new configurations, on TensorFlow Serving's messages."""

import json
import pathlib
from typing import Any

import grpc
from google.protobuf import json_format, wrappers_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_management_pb2

from tfcxr.server.model_manager import ModelManager, VersionState
from tfcxr.server.prediction import PredictionService
from tfcxr.server.servable import Servable
from tfcxr.server.served_models import models_of_message
from tfcxr.server.serving_error import ServingError, invalid

SIGNATURE_FIELD = "signature_def"
DESCRIPTION_FIELD = "description"  # beyond TensorFlow Serving: what a client must know to ask for labels by name
_State = get_model_status_pb2.ModelVersionStatus.State


def model_status(
    manager: ModelManager, request: get_model_status_pb2.GetModelStatusRequest
) -> get_model_status_pb2.GetModelStatusResponse:
    """The state of every version of a model, or of one, the highest number first.

    Raises:
      ServingError: INVALID_ARGUMENT, no model is named, or an unknown label; NOT_FOUND, no such model or version.
    """
    spec = request.model_spec
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    states = manager.states(spec.name)
    version = spec.version.value if spec.HasField("version") else None
    if spec.version_label:
        version = manager.version_of(spec.name, spec.version_label)
    if version is not None:
        if version not in states:
            message = f"Could not find version {version} of model {spec.name}"
            raise ServingError(grpc.StatusCode.NOT_FOUND, message)
        states = {version: states[version]}
    if not states:
        raise ServingError(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {spec.name}")
    response = get_model_status_pb2.GetModelStatusResponse()
    for number, state in states.items():
        response.model_version_status.add(version=number, state=_State.Value(state.state), status=_status(state))
    return response


def model_metadata(
    service: PredictionService, request: get_model_metadata_pb2.GetModelMetadataRequest
) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """The signatures of a version, and its description where it is asked for.

    Raises:
      ServingError: INVALID_ARGUMENT, no model, another field than "signature_def" and "description", or a description
        of a SavedModel that has none; NOT_FOUND, no such model.
    """
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    if not request.metadata_field:
        raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
    if unknown := [field for field in request.metadata_field if field not in (SIGNATURE_FIELD, DESCRIPTION_FIELD)]:
        raise invalid(f"Metadata field {unknown[0]} is not supported")
    signatures = get_model_metadata_pb2.SignatureDefMap()
    with service.use(request.model_spec) as servable:
        for name, signature in servable.signature_defs.items():
            signatures.signature_def[name].CopyFrom(signature)
        spec = {"name": servable.name, "version": {"value": servable.version}}
        description = _description(servable) if DESCRIPTION_FIELD in request.metadata_field else ""
    response = get_model_metadata_pb2.GetModelMetadataResponse(model_spec=spec)
    response.metadata[SIGNATURE_FIELD].Pack(signatures)
    if description:
        response.metadata[DESCRIPTION_FIELD].Pack(wrappers_pb2.StringValue(value=description))
    return response


def metadata_document(response: get_model_metadata_pb2.GetModelMetadataResponse) -> dict[str, Any]:
    """What REST answers of `model_metadata`: every field, also those that are empty."""
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata[SIGNATURE_FIELD].Unpack(signatures)
    spec, metadata = response.model_spec, {SIGNATURE_FIELD: as_document(signatures)}
    if DESCRIPTION_FIELD in response.metadata:
        text = wrappers_pb2.StringValue()
        response.metadata[DESCRIPTION_FIELD].Unpack(text)
        metadata[DESCRIPTION_FIELD] = text.value
    return {
        "model_spec": {"name": spec.name, "signature_name": "", "version": str(spec.version.value)},
        "metadata": metadata,
    }


def as_document(message: Any) -> dict[str, Any]:
    """A message as JSON has it, with the proto's field names and every field."""
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def reload_config(
    manager: ModelManager, request: model_management_pb2.ReloadConfigRequest, root: pathlib.Path | None
) -> model_management_pb2.ReloadConfigResponse:
    """Serves the models of a new configuration, and answers when they are loaded.

    Args:
      root: the folder that the models must be in; None for any.

    Raises:
      ServingError: INVALID_ARGUMENT, a configuration that cannot be served; PERMISSION_DENIED, a model outside `root`;
        FAILED_PRECONDITION, a label of a version that is not available.
    """
    if request.config.WhichOneof("config") is None:  # would unload everything
        raise invalid("the configuration is empty; expected a model_config_list")
    try:
        models = models_of_message(request.config)
    except ValueError as error:
        raise invalid(str(error)) from None
    for model in models:
        if root is not None and root.resolve() not in model.base_path.resolve().parents:
            message = f"{model.name} is outside the folder that this server was started with (--saved_models)"
            raise ServingError(grpc.StatusCode.PERMISSION_DENIED, message)
    manager.apply(models)
    return model_management_pb2.ReloadConfigResponse()


def _description(servable: Servable) -> str:
    """What a client needs of `model.json`, as JSON."""
    found = servable.description
    if found is None:
        raise invalid(f"{servable.name} was not exported by tfcxr, so nothing describes it")
    names = ("kind", "label_names", "is_single_label", "condition_names", "image_size", "weights_sha256")
    return json.dumps({"is_synthetic": True} | {name: getattr(found, name) for name in names})


def _status(state: VersionState) -> dict[str, Any]:
    code = grpc.StatusCode[state.error_code].value[0]
    return {"error_code": code, "error_message": state.error_message}
