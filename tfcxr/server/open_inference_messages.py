"""The messages of Open Inference Protocol V2's gRPC service, built from a table of their fields.

`kserve/open-inference-protocol` publishes them as `open_inference_grpc.proto`, package `inference`. They live in a
descriptor pool of their own, so that another program's generated classes can be in the same process.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "inference"
SERVICE = f"{_PACKAGE}.GRPCInferenceService"

_TENSOR = {"name": "string", "datatype": "string", "shape": "repeated int64"}
_TENSOR_WITH_CONTENTS = {**_TENSOR, "parameters": "map InferParameter", "contents": "InferTensorContents"}
# message -> its fields; a field's number is its place, a message after a dot is nested in the one before it
_FIELDS: dict[str, dict[str, str]] = {
    "ServerLiveRequest": {},
    "ServerLiveResponse": {"live": "bool"},
    "ServerReadyRequest": {},
    "ServerReadyResponse": {"ready": "bool"},
    "ModelReadyRequest": {"name": "string", "version": "string"},
    "ModelReadyResponse": {"ready": "bool"},
    "ServerMetadataRequest": {},
    "ServerMetadataResponse": {"name": "string", "version": "string", "extensions": "repeated string"},
    "ModelMetadataRequest": {"name": "string", "version": "string"},
    "ModelMetadataResponse": {
        "name": "string",
        "versions": "repeated string",
        "platform": "string",
        "inputs": "repeated ModelMetadataResponse.TensorMetadata",
        "outputs": "repeated ModelMetadataResponse.TensorMetadata",
    },
    "ModelMetadataResponse.TensorMetadata": _TENSOR,
    "InferParameter": {
        "bool_param": "one bool",
        "int64_param": "one int64",
        "string_param": "one string",
        "double_param": "one double",
        "uint64_param": "one uint64",
    },
    "InferTensorContents": {
        "bool_contents": "repeated bool",
        "int_contents": "repeated int32",
        "int64_contents": "repeated int64",
        "uint_contents": "repeated uint32",
        "uint64_contents": "repeated uint64",
        "fp32_contents": "repeated float",
        "fp64_contents": "repeated double",
        "bytes_contents": "repeated bytes",
    },
    "ModelInferRequest": {
        "model_name": "string",
        "model_version": "string",
        "id": "string",
        "parameters": "map InferParameter",
        "inputs": "repeated ModelInferRequest.InferInputTensor",
        "outputs": "repeated ModelInferRequest.InferRequestedOutputTensor",
        "raw_input_contents": "repeated bytes",
    },
    "ModelInferRequest.InferInputTensor": _TENSOR_WITH_CONTENTS,
    "ModelInferRequest.InferRequestedOutputTensor": {"name": "string", "parameters": "map InferParameter"},
    "ModelInferResponse": {
        "model_name": "string",
        "model_version": "string",
        "id": "string",
        "parameters": "map InferParameter",
        "outputs": "repeated ModelInferResponse.InferOutputTensor",
        "raw_output_contents": "repeated bytes",
    },
    "ModelInferResponse.InferOutputTensor": _TENSOR_WITH_CONTENTS,
}


def _define_messages() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="open_inference_grpc.proto", package=_PACKAGE, syntax="proto3")
    defined: dict[str, Any] = {}
    for path, fields in _FIELDS.items():
        outer, _, name = path.rpartition(".")
        siblings = defined[outer].nested_type if outer else file.message_type
        message = defined[path] = siblings.add(name=name)
        if any(kind.startswith("one ") for kind in fields.values()):
            message.oneof_decl.add(name="parameter_choice")
        for number, (field, kind) in enumerate(fields.items(), start=1):
            _add_field(message, path, number, field, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = [path for path in _FIELDS if "." not in path]
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in names}


def _add_field(message: Any, path: str, number: int, name: str, kind: str) -> None:
    """`kind` is a type, or "repeated", "one" (of a oneof) or "map" and a type; maps have strings as keys."""
    rule, _, type_name = kind.rpartition(" ")
    if rule == "map":
        entry = message.nested_type.add(name=f"{name.title()}Entry")
        entry.options.map_entry = True
        _add_field(entry, f"{path}.{entry.name}", 1, "key", "string")
        _add_field(entry, f"{path}.{entry.name}", 2, "value", type_name)
        rule, type_name = "repeated", f"{path}.{entry.name}"
    field = message.field.add(name=name, number=number)
    field.label = _Field.LABEL_REPEATED if rule == "repeated" else _Field.LABEL_OPTIONAL
    if type_name[0].isupper():
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{type_name}"
    else:
        field.type = _Field.Type.Value(f"TYPE_{type_name.upper()}")
    if rule == "one":
        field.oneof_index = 0


MESSAGES: dict[str, Any] = _define_messages()  # name -> class
