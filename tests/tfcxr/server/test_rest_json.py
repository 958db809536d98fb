"""Tensors and examples in JSON, by TensorFlow Serving's published REST page and the behaviour it shows."""

import json
import math

import grpc
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import classification_pb2, regression_pb2

from tfcxr.server import examples_json, rest_json
from tfcxr.server.serving_error import ServingError

SignatureDef = tf.compat.v1.MetaGraphDef().signature_def["any"].__class__


def signature(**dtypes):
    found = SignatureDef()
    for name, dtype in dtypes.items():
        found.inputs[name].dtype = dtype.as_datatype_enum
    return found


ONE = signature(default=tf.int32)
FOUR = signature(i=tf.int32, s=tf.string, f=tf.float32, d=tf.float64)


def read(text, dtypes=ONE):
    return rest_json.read_inputs(rest_json.parse_body(text.encode()), dtypes)


@pytest.mark.parametrize(
    ("text", "dtypes", "expected"),
    [
        ('{"instances": [[1,2],[3,4],[5,6]]}', ONE, {"default": [[1, 2], [3, 4], [5, 6]]}),
        ('{"instances": [{"default": 1}, {"default": 2}]}', ONE, {"default": [1, 2]}),
        ('{"instances": [[], []]}', ONE, {"default": np.zeros((2, 0))}),
        ('{"inputs": 7}', ONE, {"default": 7}),
        ('{"inputs": []}', ONE, {"default": []}),
        ('{"inputs": [[[1,2],[3,4]]]}', ONE, {"default": [[[1, 2], [3, 4]]]}),
        ('{"inputs": {"default": [[1, 2]]}}', ONE, {"default": [[1, 2]]}),
        ('{"instances": [{"i": [[1],[2]], "s": ["a", "b"], "f": [1.0, NaN], "d": [NaN]},'
         ' {"i": [[3],[4]], "s": ["c", "\\u00e9"], "f": [2, Infinity], "d": [-Infinity]}]}', FOUR,
         {"i": [[[1], [2]], [[3], [4]]], "s": [[b"a", b"b"], [b"c", "é".encode()]],
          "f": [[1, math.nan], [2, math.inf]], "d": [[math.nan], [-math.inf]]}),
        ('{"inputs": {"i": [[1]], "s": {"b64": "aGVsbG8="}, "f": 1e-3, "d": [0.662, 0]}}', FOUR,
         {"i": [[1]], "s": b"hello", "f": 1e-3, "d": [0.662, 0]}),
        ('{"instances": [{"b64": "aGVsbG8="}, {"b64": ""}]}', signature(x=tf.string), {"x": [b"hello", b""]}),
        ('{"instances": [[{"b64": "/w=="}], ["world"]]}', signature(x=tf.string), {"x": [[b"\xff"], [b"world"]]}),
        ('{"instances": [9223372036854775807, -9223372036854775808, 9007199254740993]}', signature(x=tf.int64),
         {"x": [2**63 - 1, -(2**63), 2**53 + 1]}),
        ('{"instances": [18446744073709551615]}', signature(x=tf.uint64), {"x": [2**64 - 1]}),
        ('{"instances": [0, 255]}', signature(x=tf.uint8), {"x": [0, 255]}),
        ('{"instances": [true, false]}', signature(x=tf.bool), {"x": [True, False]}),
        ('{"instances": [1435774380]}', signature(x=tf.float32), {"x": [1435774336.0]}),
        ('{"instances": [1e300, -1e300, 1e-60]}', signature(x=tf.float32), {"x": [math.inf, -math.inf, 0]}),
    ],
)  # fmt: skip
def test_rows_and_columns(text, dtypes, expected):
    inputs, is_row = read(text, dtypes)
    assert is_row == ("instances" in text) and inputs.keys() == expected.keys()
    for name, value in expected.items():
        dtype = tf.as_dtype(dtypes.inputs[name].dtype).as_numpy_dtype
        assert inputs[name].dtype == dtype
        wanted = np.array(value, dtype)
        assert inputs[name].shape == wanted.shape
        np.testing.assert_array_equal(inputs[name], wanted)


@pytest.mark.parametrize(
    ("text", "dtypes", "message"),
    [
        ("", ONE, "JSON Parse error: The document is empty"),
        (" \n", ONE, "The document is empty"),
        ("instances = [1]", ONE, "JSON Parse error"),
        ('{"instances": [1]', ONE, "JSON Parse error"),
        ('{"inputs": ' + "[" * 200_000, ONE, "JSON Parse error"),
        ('{"inputs": ' + "9" * 5000 + "}", ONE, "JSON Parse error"),
        ("[1]", ONE, "Is not object"),
        ('{"inputs": [1], "instances": [1]}', ONE, "expecting only one of 'inputs' or 'instances'"),
        ("{}", ONE, "Missing 'inputs' or 'instances' key"),
        ('{"instances": 5}', ONE, "Expecting 'instances' to be an list/array"),
        ('{"instances": {"default": [1]}}', ONE, "to be an list/array"),
        ('{"instances": []}', ONE, "No values in 'instances' array"),
        ('{"instances": [[1,2],[3,4],[5,6,7]]}', ONE, "Expecting tensor size: 2 but got: 3"),
        ('{"instances": [[1,2],[3,4],[[5,6]]]}', ONE, "Expecting tensor size: 2 but got: 1|Expecting shape"),
        ('{"instances": [[1,2],[3,[4]]]}', ONE, "Expecting shape"),
        ('{"instances": [1, [1]]}', ONE, "Expecting shape"),
        ('{"instances": [[1], 1]}', ONE, "Expecting shape"),
        ('{"instances": [[1,2],["a","b"]]}', ONE, 'JSON Value: "a" is not of expected type: int32'),
        ('{"instances": [null]}', ONE, "JSON Value: null is not of expected type"),
        ('{"instances": [1.5]}', ONE, "1.5 is not of expected type: int32"),
        ('{"instances": [1.0]}', ONE, "not of expected type"),
        ('{"instances": [true]}', ONE, "true is not of expected type"),
        ('{"instances": [2147483648]}', ONE, "2147483648 is not of expected type"),
        ('{"instances": [{"b64": "aGVsbG8="}]}', ONE, "not of expected type: int32"),
        ('{"instances": [256]}', signature(x=tf.uint8), "256 is not of expected type: uint8"),
        ('{"instances": [-1]}', signature(x=tf.uint64), "-1 is not of expected type: uint64"),
        ('{"instances": [9223372036854775808]}', signature(x=tf.int64), "not of expected type: int64"),
        ('{"instances": [1]}', signature(x=tf.bool), "not of expected type: bool"),
        ('{"instances": ["NaN"]}', signature(x=tf.float32), "not of expected type: float32"),
        ('{"instances": [1' + "0" * 400 + "]}", signature(x=tf.float64), "too large for type float64"),
        ('{"instances": [1]}', signature(x=tf.string), "not of expected type: string"),
        ('{"instances": [{"b64": "a*b"}]}', signature(x=tf.string), "Unable to base64 decode"),
        ('{"inputs": {"x": {"b64": 5}}}', signature(x=tf.string), "not of expected type"),
        ('{"instances": [1]}', signature(x=tf.complex64), "cannot hold values of type complex64"),
        ('{"instances": ' + "[" * 40 + "1" + "]" * 40 + "}", ONE, "nested 32 times at most"),
        ('{"instances": [{"i": 1}, [2]]}', ONE, "Expecting object but got list at item 1|no input"),
        ('{"instances": [[2], {"default": 1}]}', ONE, "Expecting value/list but got object at item 1"),
        ('{"instances": [{"default": 1}, [2]]}', ONE, "Expecting object but got list at item 1 of input list"),
        ('{"instances": [{"default": 1, "other": 2}]}', ONE, "no input 'other'"),
        ('{"instances": [{"i": 1, "s": "a", "f": 1, "d": 1}, {"i": 1}]}', FOUR, "keys must be equal to: d,f,i,s"),
        ('{"instances": [{"i": 1}]}', FOUR, "does not have named input: d"),
        ('{"instances": [1]}', FOUR, "instances is a plain list, but expecting named values"),
        ('{"inputs": [1]}', FOUR, "inputs is a plain value/list, but expecting named values"),
        ('{"inputs": {"i": 1, "s": "a", "f": 1}}', FOUR, "Missing named input: d"),
        ('{"inputs": {"default": 1, "seeed": 2}}', ONE, "no input 'seeed'; it has default"),
        ('{"inputs": {}}', ONE, "Missing named input: default"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(text, dtypes, message):
    with pytest.raises(ServingError, match=message) as raised:
        read(text, dtypes)
    assert raised.value.code is grpc.StatusCode.INVALID_ARGUMENT and len(raised.value.message) < 700


def test_an_input_with_a_default_may_be_left_out():
    found = signature(seed=tf.int32, truncation=tf.float32)
    found.defaults["truncation"].CopyFrom(tf.make_tensor_proto(1.0))
    assert read('{"instances": [7, 8]}', found)[0]["seed"].tolist() == [7, 8]
    assert read('{"instances": [{"seed": 7}]}', found)[0].keys() == {"seed"}
    assert read('{"inputs": {"seed": [7], "truncation": 0.5}}', found)[0]["truncation"] == 0.5


def test_the_signature_s_name():
    assert rest_json.signature_name({"signature_name": "x"}) == "x" and rest_json.signature_name({}) == ""
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    for name in (5, ["x"], None, deep):
        with pytest.raises(ServingError, match="'signature_name' key must be a string value"):
            rest_json.signature_name({"signature_name": name})


def write(is_row, **outputs):
    return json.loads(rest_json.write_outputs(outputs, is_row))


def test_outputs_in_rows_and_columns():
    whole = np.array([[1, 2], [3, 4]], np.int32)
    assert write(True, y=whole) == {"predictions": [[1, 2], [3, 4]]}
    assert write(False, y=whole) == {"outputs": [[1, 2], [3, 4]]}
    text = np.array([b"foo", b"b\xff"], object)
    assert write(True, y=whole, s=text) == {"predictions": [{"y": [1, 2], "s": "foo"}, {"y": [3, 4], "s": "b\ufffd"}]}
    assert write(False, y=whole, s_bytes=text) == {
        "outputs": {"y": [[1, 2], [3, 4]], "s_bytes": [{"b64": "Zm9v"}, {"b64": "Yv8="}]}
    }
    assert write(True, y=np.zeros((0, 2), np.float32)) == {"predictions": []}
    assert write(True, y=np.zeros((0, 2), np.float32), s=text[:0]) == {"predictions": []}
    assert write(False, y=np.float32(3)) == {"outputs": 3.0}
    assert write(False, y=np.array(b"foo", object)) == {"outputs": "foo"}
    assert write(True, y=np.array([2**63 - 1, -(2**53) - 1])) == {"predictions": [2**63 - 1, -(2**53) - 1]}
    assert write(True, y=np.array([2**64 - 1], np.uint64)) == {"predictions": [2**64 - 1]}
    assert write(True, y=np.array([True, False])) == {"predictions": [True, False]}


def test_floats_have_as_few_digits_as_name_them():
    values = [0.2, 1 / 3, 1e10, -0.0, math.nan, math.inf, -math.inf]
    expected = '{"predictions": [0.2, 0.33333334, 10000000000.0, -0.0, NaN, Infinity, -Infinity]}'
    assert rest_json.write_outputs({"y": np.array(values, np.float32)}, True) == expected
    assert write(True, y=np.array([1 / 3]))["predictions"] == [1 / 3]
    assert write(True, y=np.array([0.5, 0.1], ml_dtypes.bfloat16)) == {"predictions": [0.5, 0.100097656]}
    drawn = np.random.default_rng(1).standard_normal(1000).astype(np.float32)
    np.testing.assert_array_equal(np.array(write(True, y=drawn)["predictions"], np.float32), drawn)


def test_outputs_that_json_or_rows_cannot_hold():
    with pytest.raises(ServingError, match="no common number of rows .y 2, s 3."):
        write(True, y=np.zeros(2), s=np.zeros(3))
    with pytest.raises(ServingError, match="no common number of rows"):
        write(True, y=np.float32(2))
    with pytest.raises(ServingError, match="tensor type: complex64 of output y"):
        write(False, y=np.zeros(2, np.complex64))


def examples(text):
    return examples_json.read_examples(rest_json.parse_body(text.encode()))


def features(example):
    return {name: list(getattr(one, one.WhichOneof("kind")).value) for name, one in example.features.feature.items()}


def test_examples_and_their_context():
    (first, second) = examples(
        '{"examples": [{"names": ["foo", "bar"], "ratings": [8.0, NaN, -Infinity], "age": 20},'
        ' {"names": ["baz", {"b64": "aGVsbG8="}], "ratings": 6.5, "mix": [1, true, false]}]}'
    ).example_list.examples
    found = features(first)
    assert found["names"] == [b"foo", b"bar"] and found["age"] == [20]
    np.testing.assert_array_equal(found["ratings"], [8.0, math.nan, -math.inf])
    assert features(second) == {"names": [b"baz", b"hello"], "ratings": [6.5], "mix": [1, 1, 0]}
    shared = examples('{"context": {"query": "pizza"}, "examples": [{"x": 1}]}').example_list_with_context
    assert features(shared.context) == {"query": [b"pizza"]} and features(shared.examples[0]) == {"x": [1]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "Expecting 'examples' value to be an list/array"),
        ('{"examples": {"x": 1}}', "list/array"),
        ('{"examples": []}', "empty list"),
        ('{"examples": [[{"x": 1}]]}', "Example must be JSON object but got JSON Array"),
        ('{"context": [1], "examples": [{"x": 1}]}', "Example must be JSON object but got JSON Array"),
        ('{"context": {"x": 1}, "examples": [{"x": 1}]}', "feature x is in the context and in an example"),
        ('{"examples": [{"x": [10, null]}]}', "x has element with unexpected JSON type: Null"),
        ('{"examples": [{"x": [10, {"test": 10}]}]}', "x has element with unexpected JSON type: Object"),
        ('{"examples": [{"x": [[10], 20]}]}', "x has element with unexpected JSON type: Array"),
        ('{"examples": [{"x": [10, 10.0]}]}', "feature: x expecting type: int64"),
        ('{"examples": [{"x": ["a", 1]}]}', "feature: x expecting type: bytes"),
        ('{"examples": [{"x": [20, 18446744073709551603]}]}', "Only int64_t is supported"),
        ('{"examples": [{"x": {"b64": "*"}}]}', "Unable to base64 decode"),
        ('{"examples": [{"x": {"b64": 5}}]}', "Unable to base64 decode"),
    ],
)
def test_examples_that_are_none(text, message):
    with pytest.raises(ServingError, match=message):
        examples(text)


def test_answers_of_classify_and_regress():
    result = classification_pb2.ClassificationResult()
    for row in ([("car", 0.2), ("", 0.7)], [("bus", math.nan)]):
        classes = result.classifications.add().classes
        for label, score in row:
            classes.add(label=label, score=score)
    expected = '{"results": [[["car", 0.2], ["", 0.7]], [["bus", NaN]]]}'
    assert examples_json.write_classifications(result) == expected
    values = [0.2, 1.0, math.inf, -math.inf, math.nan]
    found = regression_pb2.RegressionResult(regressions=[{"value": value} for value in values])
    assert examples_json.write_regressions(found) == '{"results": [0.2, 1.0, Infinity, -Infinity, NaN]}'
