"""Inference requests and answers of Open Inference Protocol V2 in JSON, and raw tensors after it.

- Numbers that JSON lacks are the words NaN, Infinity and -Infinity, as in TensorFlow Serving's REST API.
- BYTES that are not UTF-8, such as PNG files, are base64 and have the parameter `"content_type": "base64"`.
- Raw tensors (the extension `binary_tensor_data`) follow the JSON, whose length is in the header
  `Inference-Header-Content-Length`. An input has the parameter `binary_data_size`; a requested output has the parameter
  `binary_data`, or the request has `binary_data_output` for all outputs.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import pydantic

from tfcxr.server.open_inference_tensors import datatype_of, from_json, from_raw, to_json, to_raw
from tfcxr.server.serving_error import invalid

BINARY_SIZE, BINARY_OUTPUT, ALL_BINARY = "binary_data_size", "binary_data", "binary_data_output"
CONTENT_TYPE, BASE64 = "content_type", "base64"
_MAX_PROBLEMS = 3  # that a message names

Parameters = dict[str, bool | int | float | str]
_VALUES = {"type": "array", "items": {}, "description": "values in row-major order, flat or nested as the shape is"}
TensorData = Annotated[list[Any], pydantic.WithJsonSchema(_VALUES)]


class _Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True, protected_namespaces=())


class InferInput(_Model):
    """A tensor of a request; `data` is left out where its bytes follow the JSON."""

    name: str
    shape: list[Annotated[int, pydantic.Field(ge=0)]]
    datatype: str
    parameters: Parameters = {}
    data: TensorData | None = None


class RequestedOutput(_Model):
    """An output that is wanted."""

    name: str
    parameters: Parameters = {}


class InferRequest(_Model):
    """What is asked of a model; all outputs where none is named."""

    id: str = ""
    parameters: Parameters = {}
    inputs: list[InferInput]
    outputs: list[RequestedOutput] = []


class InferOutput(_Model):
    """A tensor of an answer."""

    name: str
    shape: list[int]
    datatype: str
    parameters: Parameters = {}
    data: TensorData | None = None


class InferResponse(_Model):
    """What a model answers; `"synthetic": true` among the parameters marks synthetic images."""

    model_name: str
    model_version: str
    id: str = ""
    parameters: Parameters = {}
    outputs: list[InferOutput]


def read_request(body: bytes, json_length: str | None) -> tuple[InferRequest, dict[str, np.ndarray]]:
    """A request, and its inputs by name.

    Args:
      body: the JSON, and raw tensors after it.
      json_length: the header `Inference-Header-Content-Length`; None where the body is JSON alone.

    Raises:
      ServingError: INVALID_ARGUMENT, no such JSON, an input given twice, values that do not fit their datatype and
        shape, or bytes that do not add up.
    """
    length = len(body)
    if json_length is not None:
        if not (json_length.isascii() and json_length.isdecimal() and int(json_length) <= len(body)):
            raise invalid(f"Inference-Header-Content-Length must be from 0 to {len(body)}, got {json_length[:20]!r}")
        length = int(json_length)
    try:
        request = InferRequest.model_validate_json(body[:length])
    except pydantic.ValidationError as error:
        problems = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:_MAX_PROBLEMS]]
        raise invalid(f"the request is no inference request: {'; '.join(problems)}") from error
    inputs: dict[str, np.ndarray] = {}
    offset = length
    for tensor in request.inputs:
        if tensor.name in inputs:
            raise invalid(f"input {tensor.name} is given twice")
        size = tensor.parameters.get(BINARY_SIZE)
        if size is None:
            inputs[tensor.name] = _from_json(tensor)
            continue
        if type(size) is not int or not 0 <= size <= len(body) - offset or tensor.data is not None:
            raise invalid(
                f"input {tensor.name}: {BINARY_SIZE} needs a whole number of bytes that follow the JSON and no data; "
                f"got {size!r}, where {len(body) - offset} follow"
            )
        inputs[tensor.name] = from_raw(tensor, body[offset : offset + size])
        offset += size
    if offset < len(body):
        raise invalid(f"{len(body) - offset} bytes follow the JSON that are no input's; check {BINARY_SIZE}")
    return request, inputs


def write_answer(request: InferRequest, outputs: Mapping[str, np.ndarray], **facts: Any) -> tuple[bytes, int | None]:
    """The body of an answer, and the length of its JSON where raw tensors follow.

    Args:
      request: that is answered.
      outputs: by name.
      **facts: `model_name`, `model_version` and `parameters`.
    """
    asked = {output.name: output.parameters for output in request.outputs}
    tensors, raws = [], []
    for name, array in outputs.items():
        tensor: dict[str, Any] = {"name": name, "shape": list(array.shape), "datatype": datatype_of(array.dtype)}
        if asked.get(name, {}).get(BINARY_OUTPUT, request.parameters.get(ALL_BINARY, False)):
            raws.append(to_raw(array))
            tensor["parameters"] = {BINARY_SIZE: len(raws[-1])}
        else:
            tensor["data"], is_base64 = to_json(array)
            if is_base64:
                tensor["parameters"] = {CONTENT_TYPE: BASE64}
        tensors.append(tensor)
    given = {"id": request.id} if "id" in request.model_fields_set else {}
    text = json.dumps({**facts, **given, "outputs": tensors}).encode()
    return b"".join([text, *raws]), len(text) if raws else None


def _from_json(tensor: InferInput) -> np.ndarray:
    if tensor.data is None:
        raise invalid(f"input {tensor.name} has neither data nor {BINARY_SIZE}")
    return from_json(tensor, tensor.data, tensor.parameters.get(CONTENT_TYPE) == BASE64)
