"""Arrays <-> `TensorProto`, without TensorFlow; strings are object arrays of bytes."""

import math
from typing import Any

import numpy as np

from tfcxr.serving.protocol_messages import DATA_TYPES, MESSAGES

# number of the type -> numpy's, and the field that lists its values
NUMPY_TYPES: dict[int, tuple[Any, str]] = {
    DATA_TYPES[name]: (np.dtype(kind), field)
    for name, kind, field in (
        ("DT_FLOAT", "float32", "float_val"),
        ("DT_DOUBLE", "float64", "double_val"),
        ("DT_INT32", "int32", "int_val"),
        ("DT_UINT8", "uint8", "int_val"),
        ("DT_INT16", "int16", "int_val"),
        ("DT_INT8", "int8", "int_val"),
        ("DT_STRING", "object", "string_val"),
        ("DT_INT64", "int64", "int64_val"),
        ("DT_BOOL", "bool", "bool_val"),
        ("DT_UINT16", "uint16", "int_val"),
        ("DT_HALF", "float16", "half_val"),
        ("DT_UINT32", "uint32", "uint32_val"),
        ("DT_UINT64", "uint64", "uint64_val"),
    )
}
_NUMBERS = {kind: number for number, (kind, _) in NUMPY_TYPES.items()}


def numpy_type(number: int) -> np.dtype:
    """Of a number of TensorFlow's `DataType`; raises ValueError for types that numpy has not, such as bfloat16."""
    if number not in NUMPY_TYPES:
        raise ValueError(f"numpy has no type for TensorFlow's type {number}; call the model in TensorFlow")
    return NUMPY_TYPES[number][0]


def tensor_message(array: np.ndarray) -> Any:
    """The message of an array; raises ValueError for a type that TensorFlow has not."""
    kind = np.dtype(object) if array.dtype.kind in "OSU" else array.dtype.newbyteorder("=")
    if kind not in _NUMBERS:
        raise ValueError(f"a server takes no values of type {array.dtype}; give numbers or bytes")
    message = MESSAGES["TensorProto"](dtype=_NUMBERS[kind])
    for side in array.shape:
        message.tensor_shape.dim.add(size=side)
    if kind.hasobject:
        values = array.reshape(-1).tolist()
        message.string_val.extend(value if isinstance(value, bytes) else str(value).encode() for value in values)
    else:
        message.tensor_content = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return message


def array_of(message: Any) -> np.ndarray:
    """The array of a message; the last of listed values stands for those that are left out.

    Raises:
      ValueError: a type that numpy has not, or values that do not fill the shape.
    """
    kind = numpy_type(message.dtype)
    field = NUMPY_TYPES[message.dtype][1]
    shape = [side.size for side in message.tensor_shape.dim]
    if message.tensor_content:
        return np.frombuffer(message.tensor_content, kind.newbyteorder("<")).astype(kind).reshape(shape)
    listed, size = list(getattr(message, field)), math.prod(shape)
    if size and not listed:
        return np.zeros(shape, kind)  # as TensorFlow reads it
    if kind == np.float16:
        flat = np.array(listed, np.uint16).view(np.float16)
    else:
        flat = np.empty(len(listed), kind)
        flat[:] = listed
    if 0 < len(flat) < size:
        flat = np.concatenate([flat, np.repeat(flat[-1:], size - len(flat))])
    return flat.reshape(shape)


def typed_array(key: str, value: Any, info: Any) -> np.ndarray:
    """The array of an input with its signature's dtype.

    Args:
      key: name of the input.
      value: array, list or number.
      info: the signature's `TensorInfo`; None for an unknown input, which is the server's to refuse.

    Raises:
      ValueError: values that the dtype does not hold.
    """
    if info is None:
        return np.asarray(value)
    kind = numpy_type(info.dtype)
    array = np.asarray(value, object if kind.hasobject else None)
    with np.errstate(invalid="ignore"):  # NaN as a whole number
        typed = array.astype(kind)
    is_exact = kind.kind not in "iu" or np.array_equal(typed, array)
    if not is_exact or not (kind.kind in "iu" or np.can_cast(array.dtype, kind, "same_kind")):
        raise ValueError(f"input {key} takes values of type {kind}, got {array.dtype} values that do not fit")
    return typed
