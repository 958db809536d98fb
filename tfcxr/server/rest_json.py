"""Tensors in JSON as TensorFlow Serving's REST API has them: rows ("instances") or columns ("inputs").

Bytes are `{"b64": "..."}`. NaN, Infinity and -Infinity are accepted and written, although JSON has no such words.
An input with a default may be left out here, which TensorFlow Serving's own REST server does not allow.
"""

import base64
import binascii
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfcxr.server.serving_error import invalid

SIGNATURE, INSTANCES, INPUTS, B64 = "signature_name", "instances", "inputs", "b64"
BYTES_SUFFIX = "_bytes"  # outputs so named are binary
MAX_SHOWN = 80  # characters of a value in a message
MAX_RANK = 32


def parse_body(body: bytes) -> dict[str, Any]:
    """The object of a request's body.

    Raises:
      ServingError: INVALID_ARGUMENT, no JSON object.
    """
    if not body.strip():
        raise invalid("JSON Parse error: The document is empty")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid(f"JSON Parse error: {str(error)[:200]}") from None
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {_shown(document)} Is not object")
    return document


def signature_name(document: Mapping[str, Any]) -> str:
    """The signature that a request names, "" for the default one."""
    name = document.get(SIGNATURE, "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {_shown(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name


def read_inputs(document: Mapping[str, Any], signature: Any) -> tuple[dict[str, np.ndarray], bool]:
    """The inputs of a predict request, and whether it has rows.

    Args:
      document: the request.
      signature: `SignatureDef` that says the inputs' dtypes.

    Raises:
      ServingError: INVALID_ARGUMENT, both formats or none, a missing or unknown input, or values that do not fit.
    """
    if (INSTANCES in document) == (INPUTS in document):
        if INSTANCES in document:
            raise invalid("Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist")
        raise invalid("Missing 'inputs' or 'instances' key")
    dtypes = {name: tf.as_dtype(info.dtype) for name, info in signature.inputs.items()}
    is_row = INSTANCES in document
    read = _from_rows if is_row else _from_columns
    columns = read(document[INSTANCES if is_row else INPUTS], list(dtypes), set(signature.defaults))
    return {name: tensor(name, value, dtypes[name]) for name, value in columns.items()}, is_row


def write_outputs(outputs: Mapping[str, np.ndarray], is_row: bool) -> str:
    """The text of a predict answer.

    Raises:
      ServingError: INVALID_ARGUMENT, rows were asked for and outputs differ in their number of rows.
    """
    values = {name: listed(name, value) for name, value in outputs.items()}
    single = next(iter(values.values())) if len(values) == 1 else None
    if not is_row:
        return json.dumps({"outputs": values if single is None else single})
    sizes = {name: value.shape[0] if value.ndim else None for name, value in outputs.items()}
    if None in sizes.values() or len(set(sizes.values())) > 1:
        text = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise invalid(
            f"outputs have no common number of rows ({text}), so the row format cannot hold them; use 'inputs'"
        )
    if single is not None:
        return json.dumps({"predictions": single})
    rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    return json.dumps({"predictions": rows})


def listed(name: str, value: np.ndarray) -> Any:
    """Nested lists of an output, or its only value."""
    if value.dtype.kind in "OSU":
        return _strings(value.tolist(), name.endswith(BYTES_SUFFIX))
    dtype = tf.as_dtype(value.dtype)
    if not (dtype.is_floating or dtype.is_integer or dtype.is_bool):
        raise invalid(f"Failed to write JSON value for tensor type: {dtype.name} of output {name}; use gRPC")
    if dtype.is_floating and dtype.size < 8:  # 0.2, not 0.20000000298023224
        return value.astype(np.float32).astype(str).astype(np.float64).tolist()
    return value.tolist()


def tensor(name: str, value: Any, dtype: tf.DType) -> np.ndarray:
    """The array of nested lists.

    Raises:
      ServingError: INVALID_ARGUMENT, lists of different lengths beside each other, or a value of another type.
    """
    shape: list[int] = []
    level = [value]
    while level and isinstance(level[0], list):
        if len(shape) == MAX_RANK:
            raise invalid(f"input {name}: lists may be nested {MAX_RANK} times at most")
        sizes = [len(part) if isinstance(part, list) else None for part in level]
        if len(set(sizes)) > 1:
            other = next(size for size in sizes if size != sizes[0])
            what = "shape: a list and a value are" if other is None else f"tensor size: {sizes[0]} but got: {other}"
            raise invalid(f"input {name}: Expecting {what} side by side at level {len(shape)}")
        shape.append(len(level[0]))
        level = list(itertools.chain.from_iterable(level))
    if any(isinstance(part, list) for part in level):
        raise invalid(f"input {name}: Expecting shape {shape}, but a list is beside a value at level {len(shape)}")
    values = [_leaf(name, leaf, dtype) for leaf in level] if dtype == tf.string else _numbers(name, level, dtype)
    with np.errstate(over="ignore"):  # what is too large for float32 is infinite
        array = np.empty(len(level), object) if dtype == tf.string else np.array(values, dtype.as_numpy_dtype)
    if dtype == tf.string:
        array[:] = values
    return array.reshape(shape)


def _from_rows(rows: Any, names: Sequence[str], optional: set[str]) -> dict[str, list[Any]]:
    if not isinstance(rows, list):
        raise invalid("Expecting 'instances' to be an list/array")
    if not rows:
        raise invalid("No values in 'instances' array")
    if not _is_named(rows[0]):
        if wrong := [number for number, row in enumerate(rows) if _is_named(row)]:
            raise invalid(f"Expecting value/list but got object at item {wrong[0]} of input list")
        return {_only(names, optional, "instances is a plain list"): rows}
    first = set(rows[0])
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise invalid(f"Expecting object but got list at item {number} of input list")
        if set(row) != first:
            keys = ",".join(sorted(first))
            raise invalid(f"Failed to process element: {number} of 'instances' list. keys must be equal to: {keys}")
    _check_names(first, names, optional)
    return {name: [row[name] for row in rows] for name in rows[0]}


def _from_columns(columns: Any, names: Sequence[str], optional: set[str]) -> dict[str, Any]:
    if not _is_named(columns):
        return {_only(names, optional, "inputs is a plain value/list"): columns}
    _check_names(set(columns), names, optional)
    return columns


def _only(names: Sequence[str], optional: set[str], what: str) -> str:
    needed = [name for name in names if name not in optional] or list(names)
    if len(needed) != 1:
        raise invalid(
            f"{what}, but expecting named values as the signature has several inputs: {', '.join(sorted(needed))}"
        )
    return needed[0]


def _check_names(given: set[str], names: Sequence[str], optional: set[str]) -> None:
    if unknown := sorted(given - set(names)):
        raise invalid(f"the signature has no input {unknown[0]!r}; it has {', '.join(sorted(names))}")
    if missing := sorted(set(names) - given - optional):
        raise invalid(f"Missing named input: {missing[0]}; JSON object: does not have named input: {missing[0]}")


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not _is_bytes(value)


def _is_bytes(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {B64} and isinstance(value[B64], str)


def _leaf(name: str, value: Any, dtype: tf.DType) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if not _is_bytes(value):
        raise _wrong_type(name, value, dtype)
    try:
        return base64.b64decode(value[B64], validate=True)
    except (binascii.Error, ValueError):
        raise invalid(f"input {name}: Unable to base64 decode") from None


def _numbers(name: str, values: list[Any], dtype: tf.DType) -> list[Any]:
    """The values, checked as rapidjson checks them: no fraction for a whole number, no number for a truth value."""
    if not (dtype.is_floating or dtype.is_integer or dtype.is_bool):
        raise invalid(f"input {name}: JSON cannot hold values of type {dtype.name}; use gRPC")
    allowed = {int, float} if dtype.is_floating else {bool} if dtype.is_bool else {int}
    if wrong := set(map(type, values)) - allowed:
        raise _wrong_type(name, next(value for value in values if type(value) in wrong), dtype)
    if dtype.is_integer and values and not (dtype.min <= min(values) and max(values) <= dtype.max):
        raise _wrong_type(name, min(values) if min(values) < dtype.min else max(values), dtype)
    if dtype.is_floating:
        try:
            return list(map(float, values))
        except OverflowError:
            raise invalid(f"input {name}: a whole number is too large for type {dtype.name}") from None
    return values


def _wrong_type(name: str, value: Any, dtype: tf.DType) -> Exception:
    return invalid(f"input {name}: JSON Value: {_shown(value)} is not of expected type: {dtype.name}")


def _strings(value: Any, is_binary: bool) -> Any:
    if isinstance(value, list):
        return [_strings(part, is_binary) for part in value]
    content = value if isinstance(value, bytes) else str(value).encode()
    return {B64: base64.b64encode(content).decode()} if is_binary else content.decode("utf-8", "replace")


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, default=str)
    except RecursionError:
        text = "lists in lists"
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
