"""The gRPC side of a running server: PredictionService on TensorFlow Serving's messages."""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from tfcxr.server.prediction import MAX_REPEATED, tensor_of
from tfcxr.server.serving_error import ServingError

TensorProto = tf.make_tensor_proto(1).__class__
INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
FAILED_PRECONDITION, UNIMPLEMENTED = grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.UNIMPLEMENTED


@pytest.fixture(scope="module")
def stub(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def request_of(signature="", model="half_plus_two", output_filter=(), spec=None, **inputs):
    asked = predict_pb2.PredictRequest(
        model_spec={"name": model, "signature_name": signature} | (spec or {}), output_filter=output_filter
    )
    for name, value in inputs.items():
        asked.inputs[name].CopyFrom(value if isinstance(value, TensorProto) else tf.make_tensor_proto(value))
    return asked


def refusal(call, request, code):
    with pytest.raises(grpc.RpcError) as raised:
        call(request, timeout=60)
    details = raised.value.details()
    assert raised.value.code() is code, details
    assert details and "Traceback" not in details and "node" not in details
    return details


def floats(*values):
    return np.array(values, np.float32)


def test_predict(stub):
    for signature in ("", "serving_default"):
        for spec in ({}, {"version": {"value": 123}}):
            answer = stub.Predict(request_of(signature, x=floats(1, 2, 5), spec=spec))
            assert tf.make_ndarray(answer.outputs["y"]).tolist() == [2.5, 3, 4.5]
            assert list(answer.outputs["y"].float_val) == [2.5, 3, 4.5]  # what many clients read
            found = answer.model_spec
            assert (found.name, found.version.value, found.signature_name) == ("half_plus_two", 123, "serving_default")


def test_every_type_of_input_and_output(stub):
    whole = np.array([[2**62, 1], [-1, 1]])
    answer = stub.Predict(request_of("types", whole=whole, truth=[True, False], text=[b"\xff", "é".encode()])).outputs
    assert answer["sum"].int64_val == [2**62 + 1, 0] and answer["not"].bool_val == [False, True]
    assert answer["text"].string_val == [b"\xff", "é".encode()]
    answer = stub.Predict(request_of("total", x=floats(1, 2))).outputs
    assert answer["sum"].float_val == [3] and not answer["sum"].tensor_shape.dim


def test_the_outputs_of_output_filter_alone(stub):
    x = floats(1)
    assert list(stub.Predict(request_of("total", output_filter=["sum"], x=x)).outputs) == ["sum"]
    assert set(stub.Predict(request_of("total", output_filter=["x", "sum"], x=x)).outputs) == {"sum", "x"}
    said = refusal(stub.Predict, request_of("total", output_filter=["z"], x=x), INVALID)
    assert said == "output tensor alias not found in signature: z Outputs expected to be in the set {sum,x}."
    said = refusal(stub.Predict, request_of("total", output_filter=["x", "x"], x=x), INVALID)
    assert said == "duplicate output tensor alias: x"


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        (request_of(model="foo", x=floats(1)), NOT_FOUND, "Servable not found for request: Latest(foo)"),
        (request_of(x=floats(1), spec={"version": {"value": 9}}), NOT_FOUND, "Specific(half_plus_two, 9)"),
        (request_of(x=floats(1), spec={"version_label": "l"}), INVALID, "Unrecognized servable version label: l"),
        (request_of(model="", x=floats(1)), INVALID, "ModelSpec has no name specified."),
        (request_of(model="f" * 100_000, x=floats(1)), NOT_FOUND, "Servable not found for request: Latest(fff"),
        (request_of("none", x=floats(1)), FAILED_PRECONDITION, 'Serving signature key "none" not found.'),
        (request_of(), INVALID, "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. "
         "Missing but required: {x}."),
        (request_of(x=floats(1), z=floats(1)), INVALID, "2!=1 len({x,z}) != len({x}). Sent extra: {z}."),
        (request_of(x=np.array([1.0])), INVALID, "input x must be of dtype float32, got float64"),
        (request_of(x=["1"]), INVALID, "input x must be of dtype float32, got string"),
        (request_of("fail", x=floats(-1)), INVALID, "x must be above 0, got"),
        (request_of(x=floats(*[0] * 257)), grpc.StatusCode.RESOURCE_EXHAUSTED, "256 rows at most, got 257"),
        (request_of(model="tiny", seed=np.array([7]), label=floats(1, 0)), INVALID, "label must have the shape"),
        (request_of(model="tiny", seed=np.array([7], np.int32), label=floats([1, 0])), INVALID, "dtype int64"),
        (request_of(model="tiny", seed=np.array([7]), label=floats([1, np.nan])), INVALID, "label"),
    ],
)  # fmt: skip
def test_predict_refuses(stub, request_, code, message):
    assert message in refusal(stub.Predict, request_, code)


def proto(text):
    return text_format.Parse(text, TensorProto())


THREE = "tensor_shape { dim { size: 3 } }"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"dtype: DT_FLOAT {THREE} float_val: 1 float_val: 2 float_val: 3", floats(1, 2, 3)),
        (f"dtype: DT_FLOAT {THREE} float_val: 1 float_val: 2", floats(1, 2, 2)),  # the last one is repeated
        (f"dtype: DT_FLOAT {THREE} float_val: 7", floats(7, 7, 7)),
        ('dtype: DT_FLOAT tensor_shape { dim { size: 1 } } tensor_content: "\\000\\000\\200\\077"', floats(1)),
        ("dtype: DT_FLOAT float_val: 4", np.float32(4)),
        ("dtype: DT_FLOAT tensor_shape { dim { size: 0 } dim { size: 2 } }", np.zeros((0, 2), np.float32)),
        (f"dtype: DT_UINT8 {THREE} int_val: 0 int_val: 128 int_val: 255", np.array([0, 128, 255], np.uint8)),
        (f"dtype: DT_HALF {THREE} half_val: 15360", np.array([1, 1, 1], np.float16)),
        ("dtype: DT_STRING tensor_shape { dim { size: 1 } } string_val: '\\377'", np.array([b"\xff"], object)),
    ],
)
def test_forms_of_a_tensor(text, expected):
    found = tensor_of("x", proto(text))
    assert found.dtype == expected.dtype and found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "float_val: 1",
        "dtype: DT_FLOAT",
        f"dtype: DT_FLOAT {THREE}",
        f"dtype: DT_FLOAT {THREE} " + "float_val: 1 " * 4,
        f"dtype: DT_FLOAT {THREE} int_val: 1",
        f"dtype: DT_FLOAT {THREE} tensor_content: '1234567'",
        f"dtype: DT_FLOAT {THREE} tensor_content: '12345678'",
        f"dtype: DT_STRING {THREE} tensor_content: '123456789012345678901234'",
        f"dtype: DT_UINT8 {THREE} int_val: 256",
        f"dtype: DT_RESOURCE {THREE} float_val: 1",
        f"dtype: DT_VARIANT {THREE} tensor_content: '123'",
        "dtype: DT_FLOAT tensor_shape { dim { size: -1 } } float_val: 1",
        "dtype: DT_FLOAT tensor_shape { dim { size: -2 } dim { size: -2 } } float_val: 1",
        "dtype: DT_FLOAT tensor_shape { unknown_rank: true } float_val: 1",
        "dtype: DT_FLOAT tensor_shape { dim { size: 9223372036854775807 } dim { size: 4 } } float_val: 1",
        "dtype: DT_FLOAT tensor_shape { dim { size: 0 } dim { size: 9223372036854775807 } }",
        "dtype: DT_FLOAT tensor_shape { " + "dim { size: 1 } " * 300 + "} float_val: 1",
        f"dtype: DT_FLOAT tensor_shape {{ dim {{ size: {MAX_REPEATED + 1} }} }} float_val: 1",
    ],
)
def test_tensors_that_are_none(text):
    with pytest.raises(ServingError, match="input x is no whole tensor: ...") as raised:
        tensor_of("x", proto(text))
    assert raised.value.code is INVALID


def test_a_dtype_that_there_is_none(stub):
    for dtype in (99, 200, -1):
        said = refusal(stub.Predict, request_of(x=TensorProto(dtype=dtype, float_val=[1])), INVALID)
        assert "input x is no whole tensor" in said


def example(**features):
    found = tf.train.Example()
    for name, value in features.items():
        found.features.feature[name].float_list.value.append(value)
    return found.SerializeToString()


def asked_of(message, signature, *values, model="half_plus_two"):
    asked = message(model_spec={"name": model, "signature_name": signature})
    for value in values:
        asked.input.example_list.examples.add().MergeFromString(example(x=value))
    return asked


def test_classify_and_regress(stub):
    found = stub.Classify(asked_of(classification_pb2.ClassificationRequest, "classify_x_to_y", 20, 0))
    first, second = found.result.classifications
    assert [(one.label, one.score) for one in first.classes] == [("low", -11), ("high", 12)]
    assert [one.score for one in second.classes] == [-1, 2] and found.model_spec.version.value == 123
    found = stub.Regress(asked_of(regression_pb2.RegressionRequest, "regress_x_to_y", 80, 0))
    assert [one.value for one in found.result.regressions] == [42, 2]
    asked = regression_pb2.RegressionRequest(model_spec={"name": "half_plus_two", "signature_name": "regress_x_to_y"})
    shared = asked.input.example_list_with_context
    shared.context.MergeFromString(example(x=80))
    shared.examples.add()
    shared.examples.add().MergeFromString(example(x=0))
    assert [one.value for one in stub.Regress(asked).result.regressions] == [42, 2]


@pytest.mark.parametrize(
    ("signature", "values", "code", "message"),
    [
        ("", [1], INVALID, "Expected {} signature method_name to be tensorflow/serving/"),
        ("none", [1], INVALID, "No signature was found with the name: none"),
        ("total", [1], INVALID, "Expected {} signature method_name to be"),
        ("{other}", [1], INVALID, "Expected {} signature method_name to be"),
        ("{own}", [], INVALID, "Input is empty."),
    ],
)
@pytest.mark.parametrize("method", ["Classify", "Regress"])
def test_classify_and_regress_refuse(stub, method, signature, values, code, message):
    request_class, what, own, other = {
        "Classify": (classification_pb2.ClassificationRequest, "classification", "classify_x_to_y", "regress_x_to_y"),
        "Regress": (regression_pb2.RegressionRequest, "regression", "regress_x_to_y", "classify_x_to_y"),
    }[method]
    asked = asked_of(request_class, signature.format(own=own, other=other), *values)
    assert message.format(what) in refusal(getattr(stub, method), asked, code)
    missing = asked_of(request_class, own, 1, model="foo")
    assert refusal(getattr(stub, method), missing, NOT_FOUND) == "Servable not found for request: Latest(foo)"


CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


def multi(*tasks, values=(20.0,)):
    asked = inference_pb2.MultiInferenceRequest()
    for model, signature, method in tasks:
        asked.tasks.add(model_spec={"name": model, "signature_name": signature}, method_name=method)
    for value in values:
        asked.input.example_list.examples.add().MergeFromString(example(x=value))
    return asked


def test_multi_inference(stub):
    both = [("half_plus_two", "regress_x_to_y", REGRESS), ("half_plus_two", "classify_x_to_y", CLASSIFY)]
    first, second = stub.MultiInference(multi(*both)).results
    assert first.regression_result.regressions[0].value == 12 and first.model_spec.signature_name == "regress_x_to_y"
    assert [one.score for one in second.classification_result.classifications[0].classes] == [-11, 12]


@pytest.mark.parametrize(
    ("tasks", "code", "message"),
    [
        ([], INVALID, "MultiInferenceRequest has no tasks."),
        ([("", "regress_x_to_y", REGRESS)], INVALID, "Found ModelSpec with an empty model name."),
        ([("half_plus_two", "regress_x_to_y", REGRESS), ("tiny", "png", CLASSIFY)], INVALID,
         "All ModelSpecs in a MultiInferenceRequest must access the same model name."),
        ([("half_plus_two", "regress_x_to_y", REGRESS)] * 2, INVALID, "Duplicate evaluation of signature: regress_x"),
        ([("half_plus_two", "none", REGRESS)], INVALID, "Requested signature not found in model graph: none"),
        ([("half_plus_two", "regress_x_to_y", "x")], UNIMPLEMENTED, "Unsupported signature method_name: x"),
        ([("half_plus_two", "regress_x_to_y", CLASSIFY)], INVALID, "Expected classification signature method_name"),
        ([("foo", "regress_x_to_y", REGRESS)], NOT_FOUND, "Servable not found for request: Latest(foo)"),
    ],
)  # fmt: skip
def test_multi_inference_refuses(stub, tasks, code, message):
    assert message in refusal(stub.MultiInference, multi(*tasks), code)


def test_messages_that_are_none_and_too_large_ones(channel, stub):
    raw = channel.unary_unary("/tensorflow.serving.PredictionService/Predict", lambda sent: sent, lambda got: got)
    refusal(raw, b"\xff\xff\xff", grpc.StatusCode.INTERNAL)
    with pytest.raises(grpc.RpcError, match="larger than max"):
        stub.Predict(request_of(x=np.zeros(2**24 + 1, np.float32)), timeout=60)
    other = channel.unary_unary("/tensorflow.serving.PredictionService/Draw", lambda sent: sent, lambda got: got)
    refusal(other, b"", UNIMPLEMENTED)


def test_the_health_service(channel):
    call = health_pb2_grpc.HealthStub(channel).Check
    assert call(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as raised:
        call(health_pb2.HealthCheckRequest(service="x"))
    assert raised.value.code() is NOT_FOUND
