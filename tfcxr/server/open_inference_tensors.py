"""Tensors of Open Inference Protocol V2 <-> numpy: JSON values, typed protobuf fields and raw bytes.

BYTES are numpy arrays of dtype object that hold `bytes`. Raw bytes are little-endian, row-major and without gaps; a
BOOL is one byte, and each element of BYTES follows its length, a uint32.
"""

import base64
import binascii
import math
import struct
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import grpc
import numpy as np
import tensorflow as tf

from tfcxr.server.serving_error import ServingError, invalid

# datatype -> dtype
DTYPES: dict[str, np.dtype] = {
    "BOOL": np.dtype(np.bool_),
    **{f"UINT{bits}": np.dtype(f"uint{bits}") for bits in (8, 16, 32, 64)},
    **{f"INT{bits}": np.dtype(f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"float{bits}") for bits in (16, 32, 64)},
    "BF16": np.dtype(tf.bfloat16.as_numpy_dtype),
    "BYTES": np.dtype(np.object_),
}
_DATATYPES = {tf.as_dtype(dtype): datatype for datatype, dtype in DTYPES.items()}
# datatype -> field of InferTensorContents; FP16 and BF16 have none
_CONTENT_FIELDS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
# datatype -> Python's types of its JSON values
_TYPES_OF_KIND: dict[str, set[type]] = {"b": {bool}, "O": {str}, "i": {int}, "u": {int}}
_JSON_TYPES = {datatype: _TYPES_OF_KIND.get(dtype.kind, {int, float}) for datatype, dtype in DTYPES.items()}
_LENGTH = struct.Struct("<I")  # before each element of BYTES


class Header(Protocol):
    """What a request says of an input beside its values: a protobuf message, or a model of the REST interface."""

    name: str
    datatype: str

    @property
    def shape(self) -> Sequence[int]:
        """Of its values."""


def datatype_of(dtype: Any) -> str:
    """The protocol's name of a TensorFlow or numpy dtype, such as "FP32".

    Raises:
      ServingError: UNIMPLEMENTED, a dtype that the protocol lacks, such as complex64.
    """
    dtype = tf.as_dtype(dtype)
    if dtype not in _DATATYPES:
        message = f"Open Inference Protocol V2 has no datatype for {dtype.name}; use TensorFlow Serving's protocol"
        raise ServingError(grpc.StatusCode.UNIMPLEMENTED, message)
    return _DATATYPES[dtype]


def from_json(header: Header, data: list, is_base64: bool = False) -> np.ndarray:
    """The tensor of a JSON list, flat or nested as the shape is.

    Args:
      header: name, datatype and shape.
      data: numbers, booleans, or strings for BYTES.
      is_base64: whether the strings are base64, otherwise the text itself.

    Raises:
      ServingError: INVALID_ARGUMENT, an unknown datatype, or values of another type, range or number.
    """
    _check_datatype(header)
    array = np.array(data, dtype=np.object_)
    if array.ndim != 1 and list(array.shape) != list(header.shape):
        message = f"input {header.name} has the shape {list(header.shape)}, but its data are nested as {array.shape}"
        raise invalid(message)
    values = array.ravel().tolist()
    if wrong := set(map(type, values)) - _JSON_TYPES[header.datatype]:
        expected = _type_names(_JSON_TYPES[header.datatype])
        message = f"input {header.name} of {header.datatype} takes values of type {expected}; got {_type_names(wrong)}"
        raise invalid(message)
    if header.datatype == "BYTES":
        try:
            values = [base64.b64decode(value, validate=True) if is_base64 else value.encode() for value in values]
        except (binascii.Error, ValueError) as error:
            raise invalid(f"input {header.name} is not base64: {error}") from error
    return _tensor(header, values)


def to_json(array: np.ndarray) -> tuple[list, bool]:
    """The values of a tensor as a flat list, and whether they are base64.

    BYTES are base64 unless every element is UTF-8.
    """
    values = array.ravel().tolist()
    if array.dtype != np.object_:
        return values, False
    try:
        return [value.decode() for value in values], False
    except UnicodeDecodeError:
        return [base64.b64encode(value).decode() for value in values], True


def from_contents(header: Header, contents: Any) -> np.ndarray:
    """The tensor of an `InferTensorContents`.

    Raises:
      ServingError: INVALID_ARGUMENT, an unknown datatype or one without a field, or values of another range or number.
    """
    _check_datatype(header)
    field = _CONTENT_FIELDS.get(header.datatype)
    if field is None:
        raise invalid(f"input {header.name} of {header.datatype} has no typed contents; send raw_input_contents")
    if other := [found.name for found, _ in contents.ListFields() if found.name != field]:
        raise invalid(f"input {header.name} of {header.datatype} belongs in {field}, got {', '.join(other)}")
    return _tensor(header, list(getattr(contents, field)))


def has_contents(array: np.ndarray) -> bool:
    """Whether `InferTensorContents` has a field for this dtype."""
    return datatype_of(array.dtype) in _CONTENT_FIELDS


def to_contents(array: np.ndarray, contents: Any) -> None:
    """Fills an `InferTensorContents` with the values of a tensor of which `has_contents` is true."""
    getattr(contents, _CONTENT_FIELDS[datatype_of(array.dtype)]).extend(array.ravel().tolist())


def from_raw(header: Header, raw: bytes) -> np.ndarray:
    """The tensor of raw bytes.

    Raises:
      ServingError: INVALID_ARGUMENT, an unknown datatype, or bytes of another number than shape and datatype need.
    """
    _check_datatype(header)
    if header.datatype == "BYTES":
        return _tensor(header, _split_elements(header, raw))
    dtype = DTYPES[header.datatype]
    if len(raw) % dtype.itemsize:
        raise invalid(f"input {header.name} of {header.datatype} takes {dtype.itemsize} bytes a value, got {len(raw)}")
    if header.datatype == "BOOL":
        return _shaped(header, np.frombuffer(raw, np.uint8) != 0)
    return _shaped(header, np.frombuffer(raw, dtype))


def to_raw(array: np.ndarray) -> bytes:
    """The raw bytes of a tensor."""
    if array.dtype == np.object_:
        return b"".join(_LENGTH.pack(len(value)) + value for value in array.ravel().tolist())
    return array.tobytes()


def _check_datatype(header: Header) -> None:
    if header.datatype not in DTYPES:
        expected = ", ".join(DTYPES)
        raise invalid(f"input {header.name} has the unknown datatype {header.datatype!r}; expected one of {expected}")


def _type_names(types: Iterable[type]) -> str:
    return " or ".join(sorted(one.__name__ for one in types))


def _split_elements(header: Header, raw: bytes) -> list[bytes]:
    """The elements of raw BYTES."""
    elements: list[bytes] = []
    offset = 0
    while offset < len(raw):
        start = offset + _LENGTH.size
        end = start + _LENGTH.unpack_from(raw, offset)[0] if start <= len(raw) else start
        if end > len(raw):
            message = f"input {header.name}: element {len(elements)} ends at byte {end}, but only {len(raw)} were sent"
            raise invalid(message)
        elements.append(raw[start:end])
        offset = end
    return elements


def _tensor(header: Header, values: list) -> np.ndarray:
    """Python values as an array of the datatype; refuses those outside its range."""
    datatype, dtype = header.datatype, DTYPES[header.datatype]
    if datatype == "BYTES":
        array = np.empty(len(values), np.object_)
        array[:] = values
    elif datatype.startswith(("FP", "BF")):
        try:
            wide = np.array(values, np.float64)
        except OverflowError as error:
            raise invalid(f"input {header.name} holds a number beyond the range of {datatype}") from error
        with np.errstate(over="ignore"):
            array = wide.astype(dtype)
        if (np.isfinite(wide) & ~np.isfinite(array)).any():
            raise invalid(f"input {header.name} holds a number beyond the range of {datatype}")
    elif datatype == "BOOL":
        array = np.array(values, dtype)
    else:
        limits = np.iinfo(dtype)
        if values and (min(values) < limits.min or max(values) > limits.max):
            raise invalid(f"input {header.name} of {datatype} takes {limits.min} to {limits.max}")
        array = np.array(values, dtype)
    return _shaped(header, array)


def _shaped(header: Header, values: np.ndarray) -> np.ndarray:
    shape = list(header.shape)
    if min(shape, default=0) < 0 or math.prod(shape) != values.size:
        raise invalid(f"input {header.name} has the shape {shape}, but {values.size} values were sent")
    try:
        return values.reshape(shape)
    except (ValueError, OverflowError) as error:
        raise invalid(f"input {header.name} has more or longer axes than a tensor can have: {len(shape)}") from error
