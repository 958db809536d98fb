"""Classify and regress requests in JSON -> `tf.train.Example` messages, and their answers in JSON."""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorflow_serving.apis import classification_pb2, input_pb2, regression_pb2

from tfcxr.server.serving_error import invalid

EXAMPLES, CONTEXT = "examples", "context"
JSON_TYPES = {
    dict: "Object", list: "Array", str: "String", int: "Number", float: "Number", bool: "Boolean", type(None): "Null"
}  # fmt: skip


def read_examples(document: Mapping[str, Any]) -> input_pb2.Input:
    """The `Input` of a request with "examples" and perhaps a "context" that they share.

    Raises:
      ServingError: INVALID_ARGUMENT, no list of objects, a feature in both places, or values of different types.
    """
    examples, context = document.get(EXAMPLES), document.get(CONTEXT)
    if not isinstance(examples, list):
        raise invalid(f"Expecting '{EXAMPLES}' value to be an list/array of objects")
    if not examples:
        raise invalid(f"key '{EXAMPLES}' is an empty list")
    if context is not None and not isinstance(context, dict):
        raise invalid(f"Example must be JSON object but got JSON {JSON_TYPES[type(context)]} as '{CONTEXT}'")
    given = input_pb2.Input()
    holder = given.example_list if context is None else given.example_list_with_context
    if context is not None:
        _fill(holder.context, context)
    for example in examples:
        if not isinstance(example, dict):
            raise invalid(f"Example must be JSON object but got JSON {JSON_TYPES[type(example)]}")
        if twice := sorted(set(example) & set(context or {})):
            raise invalid(f"feature {twice[0]} is in the context and in an example; give it once")
        _fill(holder.examples.add(), example)
    return given


def write_classifications(result: classification_pb2.ClassificationResult) -> str:
    """The text of a classify answer: label and score pairs of each example."""
    rows = [[[one.label, _short(one.score)] for one in found.classes] for found in result.classifications]
    return json.dumps({"results": rows})


def write_regressions(result: regression_pb2.RegressionResult) -> str:
    """The text of a regress answer: a value of each example."""
    return json.dumps({"results": [_short(found.value) for found in result.regressions]})


def _short(value: float) -> float:
    """A float32 with as few digits as name it."""
    return float(str(np.float32(value)))


def _fill(example: Any, features: Mapping[str, Any]) -> None:
    for name, content in features.items():
        values = content if isinstance(content, list) else [content]
        feature = example.features.feature[name]
        kinds = {_kind(name, value) for value in values}
        if len(kinds) > 1:
            first = _kind(name, values[0]).removesuffix("_list")
            raise invalid(f"Unexpected element type in feature: {name} expecting type: {first}")
        for kind in kinds:
            try:
                getattr(feature, kind).value.extend(_value(name, value, kind) for value in values)
            except (ValueError, OverflowError):
                raise invalid(f"Feature: {name} has a number out of range. Only int64_t is supported.") from None


def _kind(name: str, value: Any) -> str:
    if isinstance(value, bool | int):
        return "int64_list"
    if isinstance(value, float):
        return "float_list"
    if isinstance(value, str) or isinstance(value, dict) and set(value) == {"b64"}:
        return "bytes_list"
    raise invalid(f"Feature: {name} has element with unexpected JSON type: {JSON_TYPES[type(value)]}")


def _value(name: str, value: Any, kind: str) -> Any:
    if kind == "float_list":
        return float(value)
    if kind == "int64_list":
        return int(value)
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise invalid(f"feature {name}: Unable to base64 decode") from None
