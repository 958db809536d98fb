"""Every datatype in JSON, in typed fields and as raw bytes, and what is refused."""

import math
import types

import grpc
import numpy as np
import pytest
import tensorflow as tf

from tfcxr.server import open_inference_tensors as tensors
from tfcxr.server.open_inference_messages import MESSAGES
from tfcxr.server.serving_error import ServingError

WHOLE = [f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)]


def header(datatype, shape):
    return types.SimpleNamespace(name="x", datatype=datatype, shape=shape)


def extremes(datatype):
    """A [2,2] tensor of the datatype with the ends of its range."""
    dtype = tensors.DTYPES[datatype]
    if datatype == "BOOL":
        return np.array([[True, False], [False, True]])
    if datatype == "BYTES":
        return np.array([[b"", b"\x00\xff"], [b"PNG", "ä".encode()]], object)
    if datatype in WHOLE:
        limits = np.iinfo(dtype)
        return np.array([[limits.min, limits.max], [0, 1]], dtype)
    return np.array([[-1.5, math.inf], [math.nan, 2.0**-14]], dtype)


def refused(call, match):
    with pytest.raises(ServingError, match=match) as error:
        call()
    assert error.value.code is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("datatype", tensors.DTYPES)
def test_every_datatype_survives_raw_bytes_and_json(datatype):
    array = extremes(datatype)
    assert tensors.datatype_of(array.dtype) == datatype
    raw = tensors.from_raw(header(datatype, [2, 2]), tensors.to_raw(array))
    data, is_base64 = tensors.to_json(array)
    assert len(data) == 4 and is_base64 is (datatype == "BYTES")
    for found in (raw, tensors.from_json(header(datatype, [2, 2]), data, is_base64)):
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(*(one.astype("f8") if datatype == "BF16" else one for one in (found, array)))


@pytest.mark.parametrize("datatype", sorted(set(tensors.DTYPES) - {"FP16", "BF16"}))
def test_every_datatype_with_a_field_survives_typed_contents(datatype):
    array, contents = extremes(datatype), MESSAGES["InferTensorContents"]()
    assert tensors.has_contents(array)
    tensors.to_contents(array, contents)
    sent = MESSAGES["InferTensorContents"].FromString(contents.SerializeToString())
    found = tensors.from_contents(header(datatype, [2, 2]), sent)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_raw_bytes_are_as_published():
    assert tensors.to_raw(np.array([1, -2], np.int16)) == b"\x01\x00\xfe\xff"
    assert tensors.to_raw(np.array([True, False])) == b"\x01\x00"
    assert tensors.to_raw(np.array([b"ab", b""], object)) == b"\x02\x00\x00\x00ab\x00\x00\x00\x00"
    assert tensors.to_raw(np.array([[1, 2], [3, 4]], np.uint8).T) == b"\x01\x03\x02\x04"
    assert tensors.to_raw(np.array([1.0], np.float16)) == b"\x00\x3c"
    assert tensors.to_raw(np.array([1.0], tf.bfloat16.as_numpy_dtype)) == b"\x80\x3f"


def test_json_is_flat_or_nested_and_scalars_are_one_value():
    expected = np.array([[1, 2], [4, 5]], np.int32)
    for data in ([1, 2, 4, 5], [[1, 2], [4, 5]]):
        np.testing.assert_array_equal(tensors.from_json(header("INT32", [2, 2]), data), expected)
    assert tensors.from_json(header("FP32", []), [1]) == np.float32(1.0)
    assert tensors.from_json(header("FP32", [0, 3]), []).shape == (0, 3)
    assert tensors.from_json(header("BYTES", [1]), ["ä"]).tolist() == ["ä".encode()]
    assert tensors.to_json(np.array([b"a", "ä".encode()], object)) == (["a", "ä"], False)


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "match"),
    [
        ("FLOAT", [1], [1], "input x has the unknown datatype 'FLOAT'; expected one of BOOL, UINT8"),
        ("INT64", [1], [1.5], "input x of INT64 takes values of type int; got float"),
        ("INT64", [1], [True], "takes values of type int; got bool"),
        ("INT64", [1], [math.nan], "takes values of type int; got float"),
        ("BOOL", [1], [1], "takes values of type bool; got int"),
        ("FP32", [2], ["1", None], "takes values of type float or int; got NoneType or str"),
        ("FP32", [1], [{"b64": ""}], "got dict"),
        ("BYTES", [1], [1], "takes values of type str; got int"),
        ("INT32", [2, 2], [[1, 2], [3]], "takes values of type int; got list"),
        ("INT32", [2, 2], [[1, 2, 3, 4]], r"the shape \[2, 2\], but its data are nested as \(1, 4\)"),
        ("INT32", [3], [1, 2], r"input x has the shape \[3\], but 2 values were sent"),
        ("INT32", [-1], [1], r"input x has the shape \[-1\], but 1 values were sent"),
        ("INT32", [2**62, 2**62, 0], [], "more or longer axes than a tensor can have: 3"),
        ("INT32", [1] * 300, [1], "more or longer axes than a tensor can have: 300"),
        ("UINT8", [1], [256], "input x of UINT8 takes 0 to 255"),
        ("INT8", [1], [-129], "input x of INT8 takes -128 to 127"),
        ("UINT64", [2], [1, 2**64], "takes 0 to 18446744073709551615"),
        ("FP32", [1], [1e39], "input x holds a number beyond the range of FP32"),
        ("FP64", [1], [10**400], "input x holds a number beyond the range of FP64"),
        ("FP16", [1], [70000], "input x holds a number beyond the range of FP16"),
    ],
)
def test_json_that_does_not_fit(datatype, shape, data, match):
    refused(lambda: tensors.from_json(header(datatype, shape), data), match)


def test_base64_that_is_none():
    for data in ("a", "ä", "_-8="):
        refused(lambda data=data: tensors.from_json(header("BYTES", [1]), [data], is_base64=True), "x is not base64: ")


@pytest.mark.parametrize(
    ("datatype", "shape", "contents", "match"),
    [
        ("FP16", [1], {}, "input x of FP16 has no typed contents; send raw_input_contents"),
        ("FP32", [1], {"fp64_contents": [1]}, "input x of FP32 belongs in fp32_contents, got fp64_contents"),
        ("INT8", [1], {"int_contents": [128]}, "input x of INT8 takes -128 to 127"),
        ("UINT16", [1], {"uint_contents": [2**16]}, "input x of UINT16 takes 0 to 65535"),
        ("INT64", [2], {"int64_contents": [1]}, r"input x has the shape \[2\], but 1 values were sent"),
        ("STRING", [1], {"bytes_contents": [b""]}, "unknown datatype 'STRING'"),
    ],
)
def test_contents_that_do_not_fit(datatype, shape, contents, match):
    refused(lambda: tensors.from_contents(header(datatype, shape), MESSAGES["InferTensorContents"](**contents)), match)


@pytest.mark.parametrize(
    ("datatype", "shape", "raw", "match"),
    [
        ("INT32", [1], b"\x00" * 5, "input x of INT32 takes 4 bytes a value, got 5"),
        ("INT32", [1], b"\x00" * 8, r"input x has the shape \[1\], but 2 values were sent"),
        ("BYTES", [1], b"\x03\x00\x00\x00ab", "element 0 ends at byte 7, but only 6 were sent"),
        ("BYTES", [1], b"\x01\x00\x00\x00a\x00", "element 1 ends at byte 9, but only 6 were sent"),
        ("BYTES", [1], b"\xff\xff\xff\xff", "element 0 ends at byte 4294967299, but only 4 were sent"),
        ("BYTES", [2], b"\x01\x00\x00\x00a", r"the shape \[2\], but 1 values were sent"),
        ("FLOAT", [0], b"", "unknown datatype 'FLOAT'"),
    ],
)
def test_raw_bytes_that_do_not_fit(datatype, shape, raw, match):
    refused(lambda: tensors.from_raw(header(datatype, shape), raw), match)


@pytest.mark.parametrize("dtype", [tf.complex64, tf.qint8, tf.resource, tf.variant])
def test_dtypes_that_the_protocol_lacks(dtype):
    with pytest.raises(ServingError, match=f"no datatype for {dtype.name}; use TensorFlow Serving's protocol") as error:
        tensors.datatype_of(dtype)
    assert error.value.code is grpc.StatusCode.UNIMPLEMENTED
